"""The API's reference as a page for people, made of the OpenAPI document; it asks for nothing else, and runs no script.

FastAPI's own page loads a program from a CDN: nothing on a network without Internet, elsewhere somebody else's code.
"""

import json
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from edumeet_recording.media.markup import Markup, element, joined

SECURITY_POLICY = "default-src 'none'; style-src 'unsafe-inline'; base-uri 'none'; form-action 'none'"
"""What the page needs of its browser, as a Content-Security-Policy."""

_STYLE = Markup("""
:root{color-scheme:light dark;--line:#8884;--soft:#8882}
body{font:15px/1.5 system-ui,sans-serif;max-width:70rem;margin:2rem auto;padding:0 1rem}
h1{font-size:1.5rem}h2{font-size:1.2rem;margin:2rem 0 .5rem}h3{font-size:1rem;margin:1.5rem 0 .3rem}
nav a{margin-right:1rem}details{border-bottom:1px solid var(--line);padding:.3rem 0}summary{cursor:pointer}
details>div{margin:.5rem 0 1rem 1.2rem}b{display:inline-block;min-width:4.5rem}.soft{opacity:.7}
p{margin:.3rem 0;white-space:pre-line}table{border-collapse:collapse;width:100%;margin:.5rem 0}
th,td{padding:.2rem .5rem;text-align:left;vertical-align:top;border-bottom:1px solid var(--line)}
th{background:var(--soft)}
td{overflow-wrap:anywhere}section:target h3{background:var(--soft)}
""")
_BOUNDS = {
    "minimum": "at least {:g}",
    "exclusiveMinimum": "more than {:g}",
    "maximum": "at most {:g}",
    "minLength": "at least {:g} characters",
    "maxLength": "at most {:g} characters",
    "minItems": "at least {:g} items",
    "maxItems": "at most {:g} items",
    "pattern": "like {}",
}


def page(document: Mapping[str, Any]) -> str:
    """The whole page. `document`: OpenAPI 3.1, as `api.app.openapi_of` makes it."""
    info = document["info"]
    title = f"{info['title']} {info['version']}"
    tags = _by_tag(document)
    body = [
        element("h1", title),
        element("p", info["description"]),
        element("p", "The same for programs: ", element("a", "openapi.json", href="openapi.json"), "."),
        element("nav", *(element("a", tag, href=f"#{tag}") for tag in (*tags, "schemas"))),
    ]
    for tag, operations in tags.items():
        body += [element("h2", tag, id=tag), *operations]
    body.append(element("h2", "schemas", id="schemas"))
    body += [_schema(name, schema) for name, schema in sorted(document["components"]["schemas"].items())]
    head = (element("meta", charset="utf-8"), element("title", title), element("style", _STYLE))
    return "<!doctype html>" + element("html", element("head", *head), element("body", *body), lang="en")


def _by_tag(document: Mapping[str, Any]) -> dict[str, list[Markup]]:
    found: dict[str, list[Markup]] = {}
    for path, methods in document["paths"].items():
        for method, operation in methods.items():
            for tag in operation["tags"]:
                found.setdefault(tag, []).append(_operation(method.upper(), path, operation))
    return found


def _operation(method: str, path: str, operation: Mapping[str, Any]) -> Markup:
    first, _, rest = operation["description"].partition("\n\n")
    summary = element(
        "summary", element("b", method), element("code", path), " ", element("span", first, class_="soft")
    )
    inside: list[Markup] = [element("p", rest)] if rest else []
    if not operation.get("security"):
        inside.append(element("p", "Needs no token."))
    rows = [
        (element("code", each["name"]), each["in"], *_constraints(each["schema"], required=each.get("required", False)))
        for each in operation.get("parameters", ())
    ]
    inside += _table(("parameter", "in", "type", ""), rows)
    if body := operation.get("requestBody"):
        inside.append(element("p", "Body: ", _content(body)))
    for status, answer in operation["responses"].items():
        words = (f"{status}: ", answer["description"])
        inside.append(element("p", *words, ", as " if "content" in answer else "", _content(answer)))
    return element("details", summary, element("div", *inside))


def _content(of: Mapping[str, Any]) -> Markup:
    """What a body or an answer is: its schema where it is JSON, else what kinds of file."""
    kinds: Mapping[str, Any] = of.get("content", {})
    schemas = [kind["schema"] for kind in kinds.values() if "schema" in kind]
    return type_of(schemas[0]) if schemas else joined(", ".join(kinds))


def _schema(name: str, schema: Mapping[str, Any]) -> Markup:
    required: Sequence[str] = schema.get("required", ())
    rows = [
        (element("code", field), *_constraints(kind, required=field in required))
        for field, kind in schema.get("properties", {}).items()
    ]
    what = [] if rows else [element("p", type_of(schema))]
    described = [element("p", schema["description"])] if "description" in schema else []
    return element(
        "section", element("h3", name), *described, *what, *_table(("field", "type", ""), rows), id=f"schema-{name}"
    )


def type_of(schema: Mapping[str, Any]) -> Markup:
    """A type in words; a named one is a link to where it is explained."""
    if "$ref" in schema:
        name = schema["$ref"].rpartition("/")[2]
        return element("a", name, href=f"#schema-{name}")
    if "anyOf" in schema:
        return _listed([type_of(each) for each in schema["anyOf"]])
    if "enum" in schema or "const" in schema:
        return _listed([element("code", value) for value in schema.get("enum", (schema.get("const"),))])
    match schema.get("type"):
        case "array":
            return joined("list of ", type_of(schema.get("items", {})))
        case "object" if isinstance(values := schema.get("additionalProperties"), Mapping):
            return joined("object of ", type_of(values))
        case named:
            return joined(schema.get("format", named or "anything"))


def _listed(options: Sequence[Markup]) -> Markup:
    return joined(options[0], *(joined(" or ", option) for option in options[1:]))


def _constraints(schema: Mapping[str, Any], *, required: bool) -> tuple[Markup, str]:
    """The type, and in words what else must hold."""
    return type_of(schema), "; ".join(_words(schema, required=required))


def _words(schema: Mapping[str, Any], *, required: bool) -> Iterator[str]:
    if required:
        yield "required"
    elif schema.get("default") not in (None, "", [], {}):
        yield f"default {json.dumps(schema['default'])}"
    # what is optional is one of two types, and its bounds are the first one's
    bounded = schema.get("anyOf", (schema,))[0]
    yield from (words.format(bounded[key]) for key, words in _BOUNDS.items() if key in bounded)
    if "description" in schema:
        yield schema["description"]


def _table(columns: Sequence[str], rows: Sequence[Sequence[object]]) -> list[Markup]:
    if not rows:
        return []
    head = element("tr", *(element("th", name) for name in columns))
    return [element("table", head, *(element("tr", *(element("td", cell) for cell in row)) for row in rows))]
