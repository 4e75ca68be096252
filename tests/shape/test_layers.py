"""Arrows point down: import-linter's contracts in pyproject.toml hold, and would notice a breach."""

from pathlib import Path

import pytest
from importlinter.api import read_configuration
from importlinter.application.use_cases import lint_imports


def test_every_contract_is_kept(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(root)
    assert lint_imports(config_filename="pyproject.toml", cache_dir=None, no_logo=True)


def test_every_package_but_the_store_is_kept_from_sql(root: Path, package: Path) -> None:
    contracts = read_configuration(str(root / "pyproject.toml"))["contracts_options"]
    (sql,) = (contract for contract in contracts if contract["name"] == "Only the store speaks SQL")
    packages = {f"edumeet_recording.{init.parent.name}" for init in package.glob("*/__init__.py")}
    assert set(sql["source_modules"]) == packages - {"edumeet_recording.store"}
