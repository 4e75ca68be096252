"""Rules of the sources that no linter knows."""

import re
import subprocess
from pathlib import Path

import pytest

HOMELESS = {"utils", "util", "helpers", "helper", "common", "types", "misc"}
MACHINE_PATH = re.compile(r"(?<![\w.])/(?:home|root|work|Users)/\w")
UNEXPLAINED = re.compile(
    r"#\s*(?:noqa(?!: [A-Z]+\d+(?:, ?[A-Z]+\d+)* \S)|type: ignore(?!\[[\w-]+\] \S)|pyright: ignore(?!\[\w+\] \S))"
)
MODULE_LINES = 450
TEXT = {".py", ".sql", ".md", ".toml", ".yml", ".service", ".sh", ".c", ".example", ""}


def _tracked(root: Path) -> list[Path]:
    listed = subprocess.run(["git", "ls-files", "-z"], cwd=root, capture_output=True, text=True, check=True).stdout
    paths = [root / name for name in listed.split("\0") if name]
    return [path for path in paths if path.suffix in TEXT and path.is_file()]


def test_no_module_is_a_list_of_things_without_a_home(package: Path) -> None:
    assert [path for path in package.rglob("*.py") if path.stem.strip("_") in HOMELESS] == []


def test_nothing_names_a_path_of_one_machine(root: Path) -> None:
    assert [path for path in _tracked(root) if MACHINE_PATH.search(path.read_text())] == []


def test_modules_are_small(package: Path) -> None:
    lengths = {path.name: len(path.read_text().splitlines()) for path in package.rglob("*.py")}
    assert {name: length for name, length in lengths.items() if length > MODULE_LINES} == {}


def test_every_exception_from_a_rule_names_rule_and_reason(root: Path) -> None:
    sources = [path for path in _tracked(root) if path.suffix == ".py" and path != Path(__file__)]
    assert [path for path in sources if UNEXPLAINED.search(path.read_text())] == []


@pytest.mark.parametrize(
    ("line", "refused"),
    [
        ("x = 1  # noqa", True),
        ("x = 1  # noqa: S603", True),
        ("x = 1  # noqa: S603 - the arguments are ours", False),
        ("x = 1  # noqa: S603, S607 - the arguments are ours", False),
        ("x = 1  # type: ignore", True),
        ("x = 1  # type: ignore[attr-defined] untyped library", False),
        ("x = 1  # pyright: ignore[reportPrivateUsage]", True),
    ],
)
def test_what_counts_as_unexplained(line: str, refused: bool) -> None:
    assert bool(UNEXPLAINED.search(line)) is refused
