"""The commands that README, CONTRIBUTING and CI name exist."""

import re
import subprocess
from pathlib import Path

import pytest

PAGES = ["README.md", "CONTRIBUTING.md", "CHANGELOG.md", ".ci/run", "docs/design.md", "docs/operate.md"]
COMMANDS = {"demo", "up", "test", "check", "bench", "format", "help"}


def _targets(root: Path) -> set[str]:
    database = subprocess.run(
        ["make", "--print-data-base", "--question", "--no-builtin-rules", "help"],
        cwd=root,
        capture_output=True,
        text=True,
        check=False,
    ).stdout
    return set(re.findall(r"^([a-z][\w-]*):", database, re.MULTILINE))


def test_the_commands_everybody_expects_are_there(root: Path) -> None:
    assert _targets(root) >= COMMANDS


@pytest.mark.parametrize("page", PAGES)
def test_every_make_target_a_page_names_exists(root: Path, page: str) -> None:
    named = re.findall(r"(?:^|`|&& |\$ )make ([a-z][\w-]*)", (root / page).read_text(), re.MULTILINE)
    assert set(named) <= _targets(root)


def test_help_lists_the_commands(root: Path) -> None:
    shown = subprocess.run(["make", "help"], cwd=root, capture_output=True, text=True, check=True).stdout
    assert {line.split()[0] for line in shown.splitlines()} >= COMMANDS


def test_the_bootstrap_changes_no_environment_but_its_own(root: Path) -> None:
    script = (root / "tools/bootstrap").read_text()
    uses = re.findall(r'"\$uv" pip .*', script)
    assert uses
    assert [use for use in uses if "--python .venv/bin/python" not in use] == []
