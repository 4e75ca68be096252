"""Arrows point down: import-linter's contracts in pyproject.toml hold, and cover every package."""

from pathlib import Path
from typing import Any

import pytest
from importlinter.api import read_configuration
from importlinter.application.use_cases import lint_imports


def _contract(root: Path, name: str) -> dict[str, Any]:
    contracts = read_configuration(str(root / "pyproject.toml"))["contracts_options"]
    (found,) = (contract for contract in contracts if contract["id"] == name)
    return found


@pytest.mark.parametrize("name", ["layers", "node", "pure", "sql"])
def test_the_contract_is_kept(root: Path, name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(root)
    assert lint_imports(config_filename="pyproject.toml", limit_to_contracts=(name,), cache_dir=None, no_logo=True)


def test_every_package_but_the_store_is_kept_from_sql(root: Path, package: Path) -> None:
    packages = {f"edumeet_recording.{init.parent.name}" for init in package.glob("*/__init__.py")}
    assert set(_contract(root, "sql")["source_modules"]) == packages - {"edumeet_recording.store"}
