"""The provider that the settings name; Docker and Kubernetes are extras, imported only where they are named."""

import asyncio
from collections.abc import Generator
from contextlib import contextmanager

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
        case "docker" as extra:
            with _installed(extra):
                from edumeet_recording.providers.docker import DockerProvider
            return DockerProvider(settings, orchestrator_url, tasks)
        case "kubernetes" as extra:
            with _installed(extra):
                from edumeet_recording.providers.kubernetes import KubernetesProvider
            return await KubernetesProvider.open(settings, orchestrator_url)


@contextmanager
def _installed(extra: str) -> Generator[None]:
    try:
        yield
    except ImportError as error:
        message = f"AUTOSCALE_PROVIDER={extra} needs the extra: edumeet-recording[{extra}] ({error})"
        raise InvalidRequest(message) from error
