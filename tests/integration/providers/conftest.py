"""The providers that the contract suite runs on, each with a way to see what it really runs."""

import asyncio
import os
import signal
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pytest
from tests.kubernetes_api import KubernetesApi, kubernetes_api
from tests.podman import BINDS, IMAGE, Podman, podman

from edumeet_recording.config import OrchestratorSettings
from edumeet_recording.providers.base import Provider
from edumeet_recording.providers.choice import open_provider
from edumeet_recording.providers.docker import NODE

RUNNING = ["process", "docker", "kubernetes"]
NOWHERE = "http://127.0.0.1:9"
"""Where no orchestrator is: a node that runs tries to register for ever."""


@asynccontextmanager
async def opened(**values: Any) -> AsyncIterator[Provider]:
    """The provider of these settings, closed when the block is left."""
    settings = OrchestratorSettings(_env_file=None, **values)
    async with asyncio.TaskGroup() as tasks:
        provider = await open_provider(settings, NOWHERE, tasks)
        try:
            yield provider
        finally:
            await provider.aclose()


@dataclass(frozen=True, slots=True)
class Kind:
    """A kind of provider: what opens it, what really runs by id and incarnation, and how a node is killed."""

    settings: dict[str, Any]
    running: Callable[[], Awaitable[dict[str, str]]]
    kill: Callable[[str], Awaitable[None]] | None


def _processes(folder: Path) -> dict[str, str]:
    """Pids of nodes that run as processes with their state in `folder`, by id; only of the first of its session."""
    found: dict[str, str] = {}
    for directory in Path("/proc").glob("[0-9]*/cwd"):
        pid = int(directory.parent.name)
        with suppress(OSError):
            if directory.readlink().parent == folder and os.getsid(pid) == pid:
                found[directory.readlink().name] = str(pid)
    return found


@pytest.fixture
def process_kind(tmp_path: Path) -> Kind:
    async def running() -> dict[str, str]:
        return _processes(tmp_path / "fleet")

    async def kill(node_id: str) -> None:
        os.kill(int(_processes(tmp_path / "fleet")[node_id]), signal.SIGKILL)

    settings = {"autoscale_provider": "process", "state_dir": tmp_path, "autoscale_stop_grace_s": 20}
    return Kind(settings | {"autoscale_node_settings": {"CAPTURE_PROCESSES": "1"}}, running, kill)


@pytest.fixture(scope="session")
def podman_service() -> Iterator[Podman]:
    # podman takes no run root of more than 50 characters
    with TemporaryDirectory(prefix="podman-", ignore_cleanup_errors=True) as folder, podman(Path(folder)) as service:
        yield service


@pytest.fixture
def docker_kind(podman_service: Podman, tmp_path: Path) -> Iterator[Kind]:
    async def running() -> dict[str, str]:
        containers = await asyncio.to_thread(podman_service.containers)
        return {each["Labels"][NODE]: str(each["Pid"]) for each in containers if each["State"] == "running"}

    async def kill(node_id: str) -> None:
        os.kill(int((await running())[node_id]), signal.SIGKILL)

    settings: dict[str, Any] = {
        "autoscale_provider": "docker",
        "state_dir": tmp_path,
        "docker_url": podman_service.url,
        "docker_binds": BINDS,
        "autoscale_node_image": IMAGE,
        "autoscale_node_settings": {"CAPTURE_PROCESSES": "1"},
        "autoscale_node_cpus": 1,
        "autoscale_node_memory_mb": 512,
        "autoscale_stop_grace_s": 20,
    }
    yield Kind(settings, running, kill)
    podman_service("rm", "--all", "--force", "--volumes")


@pytest.fixture
async def cluster() -> AsyncIterator[KubernetesApi]:
    async with kubernetes_api() as api:
        yield api


@pytest.fixture
def kubernetes_kind(cluster: KubernetesApi, tmp_path: Path) -> Kind:
    async def running() -> dict[str, str]:
        return cluster.running()

    async def kill(node_id: str) -> None:
        cluster.crash(node_id)

    kubeconfig = str(cluster.kubeconfig(tmp_path / "kubeconfig"))
    settings = {"autoscale_provider": "kubernetes", "state_dir": tmp_path, "kubeconfig": kubeconfig}
    return Kind(settings, running, kill)


@pytest.fixture
def advisory_kind() -> Kind:
    async def running() -> dict[str, str]:
        return {}

    return Kind({"autoscale_provider": "advisory"}, running, None)


def _with_its_service(request: pytest.FixtureRequest) -> str:
    """The service comes before the test, so that it is not what a test leaves behind."""
    if request.param == "docker":
        request.getfixturevalue("podman_service")
    return request.param


@pytest.fixture(scope="session", params=RUNNING)
def running_name(request: pytest.FixtureRequest) -> str:
    return _with_its_service(request)


@pytest.fixture(scope="session", params=[*RUNNING, "advisory"])
def name(request: pytest.FixtureRequest) -> str:
    return _with_its_service(request)


@pytest.fixture
def running_kind(running_name: str, request: pytest.FixtureRequest) -> Kind:
    return request.getfixturevalue(f"{running_name}_kind")


@pytest.fixture
def kind(name: str, request: pytest.FixtureRequest) -> Kind:
    return request.getfixturevalue(f"{name}_kind")
