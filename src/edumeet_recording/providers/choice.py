"""The provider that the settings name; Docker and Kubernetes are extras, imported only where they are named."""

import asyncio

from edumeet_recording.config import OrchestratorSettings
from edumeet_recording.domain.errors import InvalidRequest
from edumeet_recording.providers.advisory import AdvisoryProvider
from edumeet_recording.providers.base import Provider
from edumeet_recording.providers.process import ProcessProvider


async def open_provider(settings: OrchestratorSettings, orchestrator_url: str, tasks: asyncio.TaskGroup) -> Provider:
    """The provider of `AUTOSCALE_PROVIDER`, for nodes that reach the orchestrator at `orchestrator_url`.

    `tasks` owns what it does beside its calls. Raises `InvalidRequest` where an extra is not installed.
    """
    match settings.autoscale_provider:
        case "advisory":
            return AdvisoryProvider()
        case "process":
            return ProcessProvider(settings, orchestrator_url, tasks)
        case "docker" | "kubernetes" as name:
            raise InvalidRequest(f"AUTOSCALE_PROVIDER={name} needs the extra: edumeet-recording[{name}]")
