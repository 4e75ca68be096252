"""A peer is recorded on two nodes at once; one is killed, and nothing is missing from the file."""

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from dataclasses import dataclass
from pathlib import Path

import pytest_asyncio
from tests.system.conftest import QUICK, start_body
from tests.waiting import eventually

from edumeet_recording.api.auth import Scope, issue_token
from edumeet_recording.client import RecordingClient
from edumeet_recording.domain.capture import CaptureRole, CaptureState
from edumeet_recording.domain.codecs import Codec
from edumeet_recording.domain.job import FINAL, JobStatus
from edumeet_recording.sim.processes import OwnProcess, own_process
from edumeet_recording.sim.publisher import PeerMedia
from edumeet_recording.sim.room_server import SimulatedRoomServer, SimulatorOptions
from edumeet_recording.sim.verdict import Bounds, judge
from edumeet_recording.wire.views import Recording

JWT_KEY = "k" * 32
MEDIA = PeerMedia(audio=Codec.OPUS, video=Codec.VP8, index=0)
RACKS = {"node-1": "rack=a", "node-2": "rack=b"}


@dataclass(frozen=True, slots=True)
class Deployment:
    """An orchestrator, two nodes in racks of their own, and a room server."""

    client: RecordingClient
    nodes: dict[str, OwnProcess]
    rooms: SimulatedRoomServer


@pytest_asyncio.fixture
async def deployment(tmp_path: Path) -> AsyncIterator[Deployment]:
    """Everything as processes, but for the room server."""
    shared = {**QUICK, "STORAGE_URL": (tmp_path / "storage").as_uri()}
    async with AsyncExitStack() as stack:
        settings = {**shared, "STATE_DIR": str(tmp_path / "state"), "JWT_SECRET": JWT_KEY}
        orchestrator = await stack.enter_async_context(
            own_process("orchestrator", "orchestrator", "--json", settings=settings, folder=tmp_path)
        )
        url = (await orchestrator.answer())["url"]
        nodes: dict[str, OwnProcess] = {}
        for name, rack in RACKS.items():
            settings = {
                **shared,
                "ORCHESTRATOR_URL": url,
                "STATE_DIR": str(tmp_path / name),
                "NODE_ID": name,
                "NODE_FAILURE_DOMAIN": rack,
            }
            nodes[name] = await stack.enter_async_context(own_process(name, "node", settings=settings, folder=tmp_path))
        options = SimulatorOptions(orchestrator_url=url, room_id="room-1", peers={"alice": MEDIA})
        rooms = await stack.enter_async_context(SimulatedRoomServer(options))
        token = issue_token(JWT_KEY, subject="t", scopes=tuple(Scope), tenant=None, ttl_s=3600, now=time.time())
        client = await stack.enter_async_context(RecordingClient(url, token))

        async def ready() -> bool:
            known = {each.id for each in await client.nodes() if each.is_healthy}
            return known >= {*RACKS, options.server_id}

        await eventually(ready, timeout=30)
        yield Deployment(client, nodes, rooms)


async def test_nothing_is_missing_when_one_of_two_nodes_is_killed(deployment: Deployment, tmp_path: Path) -> None:
    client, rooms = deployment.client, deployment.rooms
    body = start_body(options={"format": "webm", "redundancy": 2})
    job_id = (await client.start(body)).job_id

    async def until(*wanted: JobStatus, timeout: float = 40) -> Recording:  # noqa: ASYNC109 - eventually's
        async def look() -> Recording | None:
            found = await client.get(job_id)
            return found if found.status in {*FINAL, *wanted} else None

        return await eventually(look, timeout)

    async def both_receive() -> Recording | None:
        found = await client.get(job_id)
        return found if [each.state for each in found.captures] == [CaptureState.RECEIVING] * 2 else None

    twice = await eventually(both_receive, timeout=20)
    (primary,) = (each.node_id for each in twice.captures if each.role is CaptureRole.PRIMARY)
    await asyncio.sleep(4)
    await deployment.nodes[primary].kill()
    await asyncio.sleep(5)
    recording = await client.get(job_id)
    assert recording.status is JobStatus.RECORDING
    assert recording.node_id != primary
    await client.stop(job_id)
    plan = rooms.plan("room-1", "alice")
    recording = await until()
    assert recording.status is JobStatus.COMPLETED, recording.reason_detail
    assert any("twice" in warning for warning in recording.warnings)
    events = [each.type async for each in client.events(job_id)]
    assert "interrupted" not in events
    path = await client.download(recording, tmp_path / "alice.webm")
    report = await client.report(job_id)
    verdict = await asyncio.to_thread(judge, recording, path, report, MEDIA, plan, bounds=Bounds(presence=1.0))
    assert verdict.failures == ()
