"""Nodes as containers of one Docker (or Podman) host, on the host's network, as FFmpeg nodes always are.

The engine keeps them running (`unless-stopped`), also while no orchestrator does. A node's tape is in an anonymous
volume that lives as long as its container. All regions that are asked for are on this one host.
"""

import asyncio
from collections.abc import AsyncGenerator, Mapping, Sequence
from contextlib import asynccontextmanager
from typing import Any

import aiohttp
import structlog
from aiodocker import Docker, DockerError
from aiodocker.containers import DockerContainer

from edumeet_recording.config import OrchestratorSettings
from edumeet_recording.providers.base import (
    Instance,
    InstanceState,
    ProviderRefused,
    ProviderUnreachable,
    check_node_id,
)
from edumeet_recording.providers.launch import secrets_of_node, settings_of_node

STATE_DIR = "/var/lib/edumeet-recording"
"""The image's volume (docker/Dockerfile)."""
REQUEST_TIMEOUT_S = 15.0
FLEET, NODE, REGION = (f"edumeet-recording.{name}" for name in ("fleet", "node", "region"))
"""Labels of our containers."""

_STATES = {
    "created": InstanceState.STARTING,
    "initialized": InstanceState.STARTING,
    "running": InstanceState.RUNNING,
    "stopping": InstanceState.STOPPING,
    "removing": InstanceState.STOPPING,
}
"""Of Docker and of Podman; all others are failures: restarting, exited, dead, paused."""

_CANNOT_CONNECT = 900
"""aiodocker's own, beside those of HTTP."""

log = structlog.get_logger()


class DockerProvider:
    """A `Provider` of containers; `tasks` owns what waits for them to end."""

    name = "docker"

    def __init__(self, settings: OrchestratorSettings, orchestrator_url: str, tasks: asyncio.TaskGroup) -> None:
        self._settings = settings
        self._orchestrator_url = orchestrator_url
        self._tasks = tasks
        self._docker = Docker(settings.docker_url, timeout=aiohttp.ClientTimeout(total=REQUEST_TIMEOUT_S))
        self._stopping: set[str] = set()

    async def start(self, region: str, node_id: str, labels: Mapping[str, str]) -> None:
        """Make a container and start it. Raises `ProviderRefused` while one of that id ends."""
        check_node_id(node_id)
        if node_id in self._stopping:
            raise ProviderRefused(f"{node_id} is still ending")
        async with _mapped_errors():
            container = await self._find(node_id)
            if container is None:
                body = self._body(region, node_id, labels)
                container = await self._docker.containers.create(body, name=self._container_name(node_id))
            await container.start()

    async def stop(self, node_id: str) -> None:
        """Have it drain, or killed after its grace, and remove it with its volume."""
        async with _mapped_errors():
            container = await self._find(node_id)
        if container is not None and node_id not in self._stopping:
            self._stopping.add(node_id)
            self._tasks.create_task(self._remove(node_id, container))

    async def instances(self) -> Sequence[Instance]:
        """The containers that carry our labels, whatever state they are in."""
        async with _mapped_errors():
            containers = await self._docker.containers.list(
                all="true", filters=f'{{"label": ["{FLEET}={self._settings.autoscale_fleet}"]}}'
            )
        return [self._instance(container) for container in containers]

    async def aclose(self) -> None:
        """Close the connection; the containers go on."""
        await self._docker.close()

    async def _find(self, node_id: str) -> DockerContainer | None:
        try:
            return await self._docker.containers.get(self._container_name(node_id))
        except DockerError as error:
            if error.status == 404:
                return None
            raise

    async def _remove(self, node_id: str, container: DockerContainer) -> None:
        try:
            async with _mapped_errors():
                await container.stop(t=round(self._settings.autoscale_stop_grace_s))
                await container.delete(force=True, v=True)
        except (ProviderUnreachable, ProviderRefused) as error:
            log.warning("node_not_removed", node_id=node_id, reason=error.message, hint="it is tried again when asked")
        finally:
            self._stopping.discard(node_id)

    def _instance(self, container: DockerContainer) -> Instance:
        labels = container["Labels"]
        node_id = labels[NODE]
        state = _STATES.get(container["State"], InstanceState.FAILED)
        if node_id in self._stopping:
            state = InstanceState.STOPPING
        return Instance(node_id, labels[REGION], state, container["Status"])

    def _container_name(self, node_id: str) -> str:
        return f"{self._settings.autoscale_fleet}-{node_id}"

    def _body(self, region: str, node_id: str, labels: Mapping[str, str]) -> dict[str, Any]:
        settings = self._settings
        variables = (
            secrets_of_node(settings)
            | {"STATE_DIR": STATE_DIR}
            | settings_of_node(settings, self._orchestrator_url, region, node_id)
        )
        return {
            "Image": settings.autoscale_node_image,
            "Cmd": ["node"],
            "Env": [f"{name}={value}" for name, value in variables.items()],
            "Labels": {**labels, FLEET: settings.autoscale_fleet, NODE: node_id, REGION: region},
            "StopTimeout": round(settings.autoscale_stop_grace_s),
            "Volumes": {STATE_DIR: {}},
            # the image's asks at a port that nodes on one host cannot all have
            "Healthcheck": {"Test": ["NONE"]},
            "HostConfig": {
                "NetworkMode": "host",
                "Init": True,
                "RestartPolicy": {"Name": "unless-stopped"},
                "NanoCpus": round(settings.autoscale_node_cpus * 1e9),
                "Memory": settings.autoscale_node_memory_mb * 1024 * 1024,
                "Binds": list(settings.docker_binds),
                "CapDrop": ["ALL"],
                "SecurityOpt": ["no-new-privileges"],
            },
        }


@asynccontextmanager
async def _mapped_errors() -> AsyncGenerator[None]:
    """Raises `ProviderUnreachable` and `ProviderRefused` in place of the library's errors."""
    try:
        yield
    except DockerError as error:
        if error.status == _CANNOT_CONNECT:
            raise ProviderUnreachable(error.message) from error
        raise ProviderRefused(f"Docker answered {error.status}: {error.message}") from error
    except (aiohttp.ClientError, TimeoutError, OSError) as error:
        raise ProviderUnreachable(f"Docker does not answer: {error or type(error).__name__}") from error
