"""What a node is started with: its settings, as the variables of its environment."""

import json

from pydantic import SecretStr

from edumeet_recording.config import CommonSettings, OrchestratorSettings

_ITS_OWN = ("state_dir", "ffmpeg_bin")
"""What the orchestrator's machine has says nothing of the node's."""


def settings_of_node(
    settings: OrchestratorSettings, orchestrator_url: str, region: str, node_id: str
) -> dict[str, str]:
    """Who the node is, where it finds us, and what AUTOSCALE_NODE_SETTINGS says; no secrets."""
    return {
        "ORCHESTRATOR_URL": settings.autoscale_orchestrator_url or orchestrator_url,
        "LOG_LEVEL": settings.log_level,
        "LOG_FORMAT": settings.log_format,
        **settings.autoscale_node_settings,
        "NODE_ID": node_id,
        "NODE_REGION": region,
    }


def secrets_of_node(settings: OrchestratorSettings) -> dict[str, str]:
    """The way to the storage, with keys, and the registration secret: for whoever is handed them by us."""
    shared = {
        name.upper(): _text(value)
        for name, value in settings
        if name in CommonSettings.model_fields and name not in _ITS_OWN
    }
    return shared | {
        "STORAGE_URL": settings.storage_location,
        "REGISTRATION_SECRET": settings.registration_secret.get_secret_value(),
    }


def _text(value: object) -> str:
    if isinstance(value, SecretStr):
        return value.get_secret_value()
    if isinstance(value, bool | dict | list):
        return json.dumps(value)
    return str(value)
