"""Links between the pages lead somewhere."""

import re
from pathlib import Path

import pytest

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
