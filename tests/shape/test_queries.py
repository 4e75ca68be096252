"""Every named query is used, every use exists, and every query says in a sentence what it does."""

import re
from pathlib import Path

import pytest

NAMED = re.compile(r"^-- name: (\w+)(?:[\^$!#]|<!|\*!)?\s*\n(.*)$", re.MULTILINE)
LOADED = re.compile(r"^(\w+) = load_queries\(\"(\w+)\"\)", re.MULTILINE)


def _defined(package: Path) -> dict[str, set[str]]:
    files = sorted((package / "store/sql").glob("*.sql"))
    return {path.stem: {name for name, _ in NAMED.findall(path.read_text())} for path in files}


def _used(package: Path) -> dict[str, set[str]]:
    used: dict[str, set[str]] = {}
    for path in (package / "store").rglob("*.py"):
        text = path.read_text()
        for variable, noun in LOADED.findall(text):
            used.setdefault(noun, set()).update(re.findall(rf"\b{variable}\.(\w+)", text))
    return used


def test_queries_and_uses_are_the_same(package: Path) -> None:
    assert _used(package) == _defined(package)


def test_every_query_says_what_it_does(package: Path) -> None:
    silent = [
        f"{path.name}: {name}"
        for path in sorted((package / "store/sql").glob("*.sql"))
        for name, following in NAMED.findall(path.read_text())
        if not re.match(r"-- \S", following)
    ]
    assert silent == []


@pytest.mark.parametrize("operator", ["", "^", "$", "!", "<!", "*!", "#"])
def test_names_are_read_whatever_the_operator(operator: str) -> None:
    assert NAMED.findall(f"-- name: one{operator}\n-- Finds one.\nSELECT 1;\n") == [("one", "-- Finds one.")]
