"""openapi.json is what the API says of itself, and the pages name no endpoint that it lacks."""

import json
import re
from pathlib import Path

import pytest

from edumeet_recording.api.openapi import document

ENDPOINT = re.compile(r"`(GET|POST|PUT|DELETE) (/(?:api|health|metrics)[\w/{}.-]*)`")


def test_it_is_fresh(root: Path) -> None:
    assert (root / "openapi.json").read_text() == document(), "run: make generated"


@pytest.mark.parametrize("page", ["README.md", "docs/operate.md"])
def test_a_page_names_endpoints_that_exist(root: Path, page: str) -> None:
    paths = json.loads(document())["paths"]
    named = ENDPOINT.findall((root / page).read_text())
    assert named
    assert [(verb, path) for verb, path in named if verb.lower() not in paths.get(path, {})] == []


def test_readme_names_every_endpoint(root: Path) -> None:
    offered = {(verb.upper(), path) for path, verbs in json.loads(document())["paths"].items() for verb in verbs}
    named = set(ENDPOINT.findall((root / "README.md").read_text()))
    assert {(verb, path) for verb, path in offered - named if verb != "HEAD"} == set()
