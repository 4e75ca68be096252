"""The providers that the contract suite runs on, each with a way to see what it really runs."""

import asyncio
import os
import signal
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from edumeet_recording.config import OrchestratorSettings
from edumeet_recording.providers.base import Provider
from edumeet_recording.providers.choice import open_provider

RUNNING = ["process"]
NOWHERE = "http://127.0.0.1:9"
"""Where no orchestrator is: a node that runs tries to register for ever."""


@asynccontextmanager
async def opened(**values: Any) -> AsyncIterator[Provider]:
    """The provider of these settings, closed when the block is left."""
    settings = OrchestratorSettings(_env_file=None, **values)
    async with asyncio.TaskGroup() as tasks:
        provider = await open_provider(settings, NOWHERE, tasks)
        yield provider
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


@pytest.fixture
def advisory_kind() -> Kind:
    async def running() -> dict[str, str]:
        return {}

    return Kind({"autoscale_provider": "advisory"}, running, None)


@pytest.fixture(params=RUNNING)
def running_kind(request: pytest.FixtureRequest) -> Kind:
    return request.getfixturevalue(f"{request.param}_kind")


@pytest.fixture(params=[*RUNNING, "advisory"])
def kind(request: pytest.FixtureRequest) -> Kind:
    return request.getfixturevalue(f"{request.param}_kind")
