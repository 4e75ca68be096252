"""Links between the pages lead somewhere."""

import re
from pathlib import Path

import pytest

from edumeet_recording.domain.job import JobStatus, Reason

LINK = re.compile(r"(?<!!)\[[^\]]+\]\(([^)\s]+)\)")
FENCE = re.compile(r"^```.*?^```", re.MULTILINE | re.DOTALL)


def _pages() -> list[str]:
    root = Path(__file__).parents[2]
    return [str(path.relative_to(root)) for path in [*root.glob("*.md"), *root.glob("docs/*.md")]]


def _anchors(page: Path) -> set[str]:
    headings = re.findall(r"^#+ (.*)$", FENCE.sub("", page.read_text()), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


@pytest.mark.parametrize("page", _pages())
def test_every_link_resolves(root: Path, page: str) -> None:
    here = root / page
    for link in LINK.findall(FENCE.sub("", here.read_text())):
        if link.startswith(("https://", "http://")):
            continue
        name, _, anchor = link.partition("#")
        target = (here.parent / name).resolve() if name else here
        assert target.exists(), f"{page}: {link}"
        assert not anchor or anchor in _anchors(target), f"{page}: {link}"


def test_there_is_a_page_for_everything(root: Path) -> None:
    assert {
        "README.md",
        "CONTRIBUTING.md",
        "CHANGELOG.md",
        "docs/design.md",
        "docs/glossary.md",
        "docs/operate.md",
    } <= set(_pages())


def test_operators_find_every_reason(root: Path) -> None:
    explained = re.findall(r"`([a-z_]+)`", (root / "docs/operate.md").read_text())
    assert {reason.value for reason in Reason} - set(explained) == set()


def test_the_design_shows_every_status(root: Path) -> None:
    text = (root / "docs/design.md").read_text()
    shown = set(re.findall(r"`([a-z]+)`", text[text.index("## State machine") : text.index("## Media")]))
    assert {status.value for status in JobStatus} - shown == set()
