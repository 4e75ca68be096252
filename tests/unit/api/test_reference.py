"""The API's reference as a page: it says all that the OpenAPI document says, and needs nothing from anywhere else."""

import re
from typing import Any

import pytest

from edumeet_recording.api.app import bare_app, openapi_of
from edumeet_recording.api.reference import page, type_of


@pytest.fixture(scope="module")
def document() -> dict[str, Any]:
    return openapi_of(bare_app())


def test_every_operation_schema_and_field_is_there(document: dict[str, Any]) -> None:
    shown = page(document)
    for path, methods in document["paths"].items():
        for method in methods:
            assert f"<b>{method.upper()}</b><code>{path}</code>" in shown
    for name, schema in document["components"]["schemas"].items():
        _, _, section = shown.partition(f'<section id="schema-{name}">')
        section, _, _ = section.partition("</section>")
        assert section.startswith(f"<h3>{name}</h3>")
        assert re.findall("<tr><td><code>(.*?)</code>", section) == list(schema.get("properties", ()))


def test_every_link_leads_somewhere(document: dict[str, Any]) -> None:
    shown = page(document)
    targets = re.findall('href="(.*?)"', shown)
    assert {each for each in targets if not each.startswith("#")} == {"openapi.json"}
    ids = re.findall('id="(.*?)"', shown)
    assert {each[1:] for each in targets if each.startswith("#")} <= set(ids)
    assert len(ids) == len(set(ids))


def test_it_runs_no_script_and_loads_nothing(document: dict[str, Any]) -> None:
    shown = page(document)
    assert not re.search(r"<script|<link|<img|src=|url\(|@import", shown)


def test_what_is_described_cannot_become_markup(document: dict[str, Any]) -> None:
    hostile = document | {"info": document["info"] | {"description": "<b>bold</b>"}}
    assert "&lt;b&gt;bold&lt;/b&gt;" in page(hostile)


@pytest.mark.parametrize(
    ("schema", "shown"),
    [
        ({"type": "string"}, "string"),
        ({"type": "string", "format": "date-time"}, "date-time"),
        ({"anyOf": [{"type": "integer"}, {"type": "null"}]}, "integer or null"),
        ({"enum": ["a", "b"]}, "<code>a</code> or <code>b</code>"),
        ({"const": "a"}, "<code>a</code>"),
        ({"type": "array", "items": {"$ref": "#/components/schemas/X"}}, 'list of <a href="#schema-X">X</a>'),
        ({"type": "object", "additionalProperties": {"type": "number"}}, "object of number"),
        ({"type": "object", "additionalProperties": True}, "object"),
        ({}, "anything"),
    ],
)
def test_types(schema: dict[str, Any], shown: str) -> None:
    assert type_of(schema) == shown


def test_it_says_what_else_must_hold(document: dict[str, Any]) -> None:
    shown = page(document)
    assert "<code>limit</code></td><td>query</td><td>integer</td><td>default 50; at least 1; at most 200</td>" in shown
    assert "<code>priority</code></td><td>integer</td><td>default 0; at least 0; at most 9</td>" in shown
    assert "<code>allowParallel</code></td><td>boolean</td><td>default false</td>" in shown
    assert "Needs no token." in shown
