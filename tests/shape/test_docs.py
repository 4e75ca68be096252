"""Links between the pages lead somewhere, and the pages name what there is."""

import json
import re
from pathlib import Path

import pytest

from edumeet_recording.domain.alerting import Rule
from edumeet_recording.domain.job import JobStatus, Reason
from edumeet_recording.regional_settings import RegionScaling

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


def test_operators_find_every_reason_alert_and_field_of_the_scaling_policy(root: Path) -> None:
    explained = set(re.findall(r"`([A-Za-z_]+)`", (root / "docs/operate.md").read_text()))
    assert {reason.value for reason in Reason} - explained == set()
    assert {rule.value for rule in Rule} - explained == set()
    assert {field.alias for field in RegionScaling.model_fields.values()} - explained == set()


def test_the_readme_names_every_endpoint_and_what_a_start_may_say(root: Path) -> None:
    text = (root / "README.md").read_text()
    document = json.loads((root / "openapi.json").read_text())
    for path, methods in document["paths"].items():
        for method in methods:
            assert f"`{method.upper()} {path}`" in text
    schemas = document["components"]["schemas"]
    for name in ("StartRecording", "RecordingOptions"):
        assert [field for field in schemas[name]["properties"] if not re.search(rf"\b{field}\b", text)] == []


def test_the_design_shows_every_status(root: Path) -> None:
    text = (root / "docs/design.md").read_text()
    shown = set(re.findall(r"`([a-z]+)`", text[text.index("## State machine") : text.index("## Media")]))
    assert {status.value for status in JobStatus} - shown == set()
