"""Settings for commands: a wrong one is named by its variable, and where each came from can be shown."""

from typing import TypeVar

from pydantic import SecretStr, ValidationError
from pydantic_settings import BaseSettings

from edumeet_recording.config import ClientSettings, CommonSettings, NodeSettings, OrchestratorSettings, origins
from edumeet_recording.domain.errors import InvalidRequest

Settings = TypeVar("Settings", bound=BaseSettings)

SECTIONS: dict[str, type[BaseSettings]] = {
    "every process": CommonSettings,
    "orchestrator": OrchestratorSettings,
    "node": NodeSettings,
    "commands": ClientSettings,
}


class BadSettings(InvalidRequest):
    """A setting of the environment, or of `.env`, that cannot be used."""

    code = "bad_settings"


def load(kind: type[Settings], **given: object) -> Settings:
    """The settings, with `given` before the environment. Raises `BadSettings`, which names each wrong variable."""
    try:
        return kind.model_validate(given)
    except ValidationError as error:
        prefix = kind.model_config.get("env_prefix", "")
        wrong = (
            ": ".join(
                [*(f"{prefix}{name}".upper() for name in each["loc"][:1]), each["msg"].removeprefix("Value error, ")]
            )
            for each in error.errors()
        )
        raise BadSettings("; ".join(wrong)) from error


def in_force() -> list[tuple[str, str, str, str]]:
    """Section, variable, value and origin of every setting; of secrets only whether they are set."""
    rows: list[tuple[str, str, str, str]] = []
    shown: set[str] = set()
    for section, kind in SECTIONS.items():
        settings, came_from = load(kind), origins(kind)
        for name, value in settings:
            variable = f"{kind.model_config.get('env_prefix', '')}{name}".upper()
            if variable not in shown:
                shown.add(variable)
                rows.append((section, variable, _shown(value), came_from[name]))
    return rows


def _shown(value: object) -> str:
    if isinstance(value, SecretStr):
        return "(set)" if value.get_secret_value() else ""
    return str(value).lower() if isinstance(value, bool) else str(value)
