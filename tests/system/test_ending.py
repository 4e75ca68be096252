"""SIGINT ends clean and quick, SIGKILL is survived: what was accepted gets its file after a restart."""

import asyncio
import signal
import socket
import time
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest
from tests.system.conftest import QUICK, ROOM_SERVER, start_body
from tests.waiting import eventually

from edumeet_recording.api.auth import Scope, issue_token
from edumeet_recording.client import RecordingClient
from edumeet_recording.domain.job import FINAL, JobStatus
from edumeet_recording.sim.analyse import analyse
from edumeet_recording.sim.faults.part import stragglers
from edumeet_recording.sim.processes import OwnProcess, own_process
from edumeet_recording.sim.room_server import SimulatedRoomServer, SimulatorOptions
from edumeet_recording.wire.views import Recording

SIGNED_WITH = "what the tests sign their tokens with"
CLEAN_END_S = 5.0
RECORD_S = 3


@dataclass(frozen=True, slots=True)
class Machine:
    """A machine that can be switched off and on: what is in `folder` stays."""

    folder: Path
    port: int

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    @asynccontextmanager
    async def on(self) -> AsyncGenerator[tuple[OwnProcess, OwnProcess]]:
        """An orchestrator and a node."""
        storage = {**QUICK, "STORAGE_URL": (self.folder / "storage").as_uri()}
        server = {
            **storage,
            "PORT": str(self.port),
            "STATE_DIR": str(self.folder / "server"),
            "JWT_SECRET": SIGNED_WITH,
            "PROCESSING_LEASE_S": "5",
        }
        node = {**storage, "ORCHESTRATOR_URL": self.url, "STATE_DIR": str(self.folder / "node"), "NODE_ID": "node-1"}
        async with AsyncExitStack() as stack:
            started = own_process("orchestrator", "orchestrator", "--json", settings=server, folder=self.folder)
            orchestrator = await stack.enter_async_context(started)
            await orchestrator.answer()
            started = own_process("node", "node", settings=node, folder=self.folder)
            yield orchestrator, await stack.enter_async_context(started)


@pytest.fixture
def machine(tmp_path: Path) -> Machine:
    with socket.create_server(("127.0.0.1", 0)) as free:
        return Machine(tmp_path, free.getsockname()[1])


@pytest.fixture
async def client(machine: Machine) -> AsyncIterator[RecordingClient]:
    now = time.time_ns() / 1e9
    token = issue_token(SIGNED_WITH, subject="test", scopes=tuple(Scope), tenant=None, ttl_s=600, now=now)
    async with RecordingClient(machine.url, token) as made:
        yield made


@pytest.fixture
async def rooms(machine: Machine) -> AsyncIterator[SimulatedRoomServer]:
    """A room server elsewhere, which outlives what happens to the machine."""
    options = SimulatorOptions(server_id=ROOM_SERVER, orchestrator_url=machine.url)
    async with SimulatedRoomServer(options) as server:
        yield server


async def _until(client: RecordingClient, job_id: str, *wanted: JobStatus) -> Recording:
    async def look() -> Recording | None:
        found = await client.get(job_id)
        return found if found.status in (FINAL | set(wanted)) else None

    found = await eventually(look, timeout=40)
    assert found is not None
    return found


async def _recording(client: RecordingClient, rooms: SimulatedRoomServer) -> Recording:
    """A recording that has run for a while."""
    await rooms.registered()
    job = await client.start(start_body("peer-1"))
    found = await _until(client, job.job_id, JobStatus.RECORDING)
    assert found.status is JobStatus.RECORDING, found.reason_detail
    await asyncio.sleep(RECORD_S)
    return found


async def _file_is_whole(client: RecordingClient, job_id: str, folder: Path) -> None:
    """The recording goes on or is over; stopped, it gets a file with at least what was sent before the end."""
    await _until(client, job_id, JobStatus.RECORDING)
    await client.stop(job_id)
    ended = await _until(client, job_id)
    assert ended.status is JobStatus.COMPLETED, (ended.reason, ended.reason_detail)
    content = await asyncio.to_thread(analyse, await client.download(ended, folder / "file.webm"))
    assert content.decode_errors == 0
    assert content.audio is not None
    assert content.video is not None
    assert len(content.audio.beeps) >= RECORD_S - 1
    assert len(content.video.flashes) >= RECORD_S - 1


def _database_servers(folder: Path) -> list[str]:
    """PostgreSQL servers that work below a folder, not counting their helpers."""
    return [command for command in stragglers(folder).values() if "/postgres -D " in command]


async def test_all_in_one_may_be_killed_and_started_again(
    machine: Machine, client: RecordingClient, rooms: SimulatedRoomServer, tmp_path: Path
) -> None:
    """SIGKILL for `up` alone: what it has started finds out by itself."""
    settings = {
        **QUICK,
        "PORT": str(machine.port),
        "STATE_DIR": str(tmp_path / "state"),
        "JWT_SECRET": SIGNED_WITH,
        "PROCESSING_LEASE_S": "5",
    }
    async with own_process("up", "up", "--json", settings=settings, folder=tmp_path) as up:
        await up.answer()
        job = await _recording(client, rooms)
        up.signal(signal.SIGKILL)
        await up.process.wait()
    async with own_process("up", "up", "--json", settings=settings, folder=tmp_path) as up:
        await up.answer()
        await _file_is_whole(client, job.job_id, tmp_path)
        assert len(_database_servers(tmp_path)) == 1
        assert await up.end() == 0
    await eventually(lambda: not stragglers(tmp_path))


async def test_sigint_ends_both_in_time_and_a_restart_goes_on(
    machine: Machine, client: RecordingClient, rooms: SimulatedRoomServer, tmp_path: Path
) -> None:
    async with machine.on() as (orchestrator, node):
        job = await _recording(client, rooms)
        asked_at = time.monotonic()
        for process in (node, orchestrator):
            process.signal(signal.SIGINT)
        async with asyncio.timeout(CLEAN_END_S):
            codes = [await process.process.wait() for process in (node, orchestrator)]
        assert codes == [0, 0], f"{orchestrator.last_words()} {node.last_words()}"
        assert time.monotonic() - asked_at < CLEAN_END_S
    async with machine.on():
        await _file_is_whole(client, job.job_id, tmp_path)


async def test_a_power_failure_costs_no_recording(
    machine: Machine, client: RecordingClient, rooms: SimulatedRoomServer, tmp_path: Path
) -> None:
    async with machine.on() as (orchestrator, node):
        job = await _recording(client, rooms)
        for process in (orchestrator, node):
            await process.kill()
    async with machine.on():
        await _file_is_whole(client, job.job_id, tmp_path)
