"""Prints .env.example: every setting of config.py with its description and default."""

import json
import sys
from collections.abc import Iterable
from textwrap import wrap

from pydantic import SecretStr
from pydantic.fields import FieldInfo
from pydantic_settings import BaseSettings

from edumeet_recording.config import ClientSettings, CommonSettings, NodeSettings, OrchestratorSettings

HEADER = """\
# Every setting with its default. Copy this file to .env and change what you need; an empty value means the default.
# Made by `make generated` from src/edumeet_recording/config.py.
"""


def render() -> str:
    """The whole text of .env.example."""
    common, orchestrator, node = (_settings(kind) for kind in (CommonSettings, OrchestratorSettings, NodeSettings))
    both = orchestrator.keys() & node.keys() - common.keys()
    sections = {
        "Every process": {name: [field] for name, field in common.items()},
        "Orchestrator and FFmpeg node": {name: [orchestrator[name], node[name]] for name in sorted(both)},
        "Orchestrator": {name: [field] for name, field in orchestrator.items() if name not in common.keys() | both},
        "FFmpeg node": {name: [field] for name, field in node.items() if name not in common.keys() | both},
        "Commands that speak to a running service": {
            name: [field] for name, field in _settings(ClientSettings).items() if name not in common
        },
    }
    return HEADER + "".join(_section(title, settings) for title, settings in sections.items())


def _settings(kind: type[BaseSettings]) -> dict[str, FieldInfo]:
    prefix = kind.model_config.get("env_prefix", "")
    return {f"{prefix}{name}".upper(): field for name, field in kind.model_fields.items()}


def _section(title: str, settings: dict[str, list[FieldInfo]]) -> str:
    return f"\n# --- {title} ---\n" + "".join(_setting(name, fields) for name, fields in settings.items())


def _setting(name: str, fields: Iterable[FieldInfo]) -> str:
    lines = [f"# {line}" for field in fields for line in wrap(field.description or "", 116)]
    return "\n".join(["", *lines, f"{name}={_default(next(iter(fields)))}", ""])


def _default(field: FieldInfo) -> str:
    value = field.get_default()
    if isinstance(value, SecretStr):
        return value.get_secret_value()
    # what a setting of several values is read as
    return json.dumps(value) if isinstance(value, bool | dict | tuple) else str(value)


if __name__ == "__main__":
    sys.stdout.write(render())
