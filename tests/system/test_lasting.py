"""Recordings outlive their room server, and, made on two nodes at once, miss nothing when one of these is killed."""

import asyncio
import socket
import time
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

import pytest
import pytest_asyncio
from tests.system.conftest import QUICK, start_body
from tests.waiting import eventually

from edumeet_recording.api.auth import Scope, issue_token
from edumeet_recording.client import RecordingClient
from edumeet_recording.domain.capture import CaptureRole, CaptureState
from edumeet_recording.domain.codecs import Codec
from edumeet_recording.domain.job import FINAL, JobStatus
from edumeet_recording.sim.analyse import analyse
from edumeet_recording.sim.processes import OwnProcess, own_process
from edumeet_recording.sim.publisher import PeerMedia
from edumeet_recording.sim.room_server import SimulatedRoomServer, SimulatorOptions
from edumeet_recording.sim.verdict import Bounds, judge
from edumeet_recording.wire.views import JobEvent, Recording

JWT_KEY = "k" * 32
MEDIA = PeerMedia(audio=Codec.OPUS, video=Codec.VP8, index=0)
RACKS = {"node-1": "rack=a", "node-2": "rack=b"}


pytestmark = pytest.mark.asyncio(loop_scope="module")


@dataclass(slots=True)
class Deployment:
    """An orchestrator, two nodes in racks of their own, and a room server, which a test may replace."""

    client: RecordingClient
    nodes: dict[str, OwnProcess]
    options: SimulatorOptions
    rooms: SimulatedRoomServer

    async def until(self, job_id: str, *wanted: JobStatus) -> Recording:
        """The recording once it is in a wanted state, or in any final one."""
        goal = FINAL | set(wanted)

        async def look() -> Recording | None:
            found = await self.client.get(job_id)
            return found if found.status in goal else None

        return await eventually(look, timeout=40)

    async def told(self, job_id: str, event: str) -> list[JobEvent]:
        """The recording's events once there is one of this type."""

        async def look() -> list[JobEvent]:
            events = [each async for each in self.client.events(job_id)]
            return events if any(each.type == event for each in events) else []

        return await eventually(look, timeout=40)


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def deployment(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Deployment]:
    """Everything as processes, but for the room server."""
    folder = tmp_path_factory.mktemp("deployment")
    shared = {**QUICK, "STORAGE_URL": (folder / "storage").as_uri()}
    async with AsyncExitStack() as stack:
        settings = {**shared, "STATE_DIR": str(folder / "state"), "JWT_SECRET": JWT_KEY}
        orchestrator = await stack.enter_async_context(
            own_process("orchestrator", "orchestrator", "--json", settings=settings, folder=folder)
        )
        url = (await orchestrator.answer())["url"]
        nodes: dict[str, OwnProcess] = {}
        for name, rack in RACKS.items():
            settings = {
                **shared,
                "ORCHESTRATOR_URL": url,
                "STATE_DIR": str(folder / name),
                "NODE_ID": name,
                "NODE_FAILURE_DOMAIN": rack,
            }
            nodes[name] = await stack.enter_async_context(own_process(name, "node", settings=settings, folder=folder))
        options = SimulatorOptions(
            orchestrator_url=url, port=free_port(), use_link=True, room_id="room-1", peers={"alice": MEDIA}
        )
        token = issue_token(JWT_KEY, subject="t", scopes=tuple(Scope), tenant=None, ttl_s=3600, now=time.time())
        client = await stack.enter_async_context(RecordingClient(url, token))
        rooms = SimulatedRoomServer(options)
        await rooms.__aenter__()
        deployment = Deployment(client, nodes, options, rooms)

        async def ready() -> bool:
            known = {each.id for each in await client.nodes() if each.is_healthy}
            return known >= {*RACKS, options.server_id}

        try:
            await eventually(ready, timeout=30)
            yield deployment
        finally:
            await deployment.rooms.__aexit__(None, None, None)


def free_port() -> int:
    """One that a room server can have again after its end."""
    with socket.create_server(("127.0.0.1", 0)) as probe:
        return probe.getsockname()[1]


async def test_a_room_server_that_is_restarted_is_recorded_on(deployment: Deployment, tmp_path: Path) -> None:
    client = deployment.client
    job_id = (await client.start(start_body())).job_id
    assert (await deployment.until(job_id, JobStatus.RECORDING)).status is JobStatus.RECORDING
    await asyncio.sleep(3)
    killed_at = time.time()  # from here on it sends nothing, however long its end takes
    await deployment.rooms.kill()
    deployment.rooms = await SimulatedRoomServer(deployment.options).__aenter__()
    events = await deployment.told(job_id, "following")
    assert "interrupted" not in {each.type for each in events}

    async def followed() -> Recording | None:
        found = await client.get(job_id)
        states = [(each.epoch, each.state) for each in found.captures]
        return found if states == [(2, CaptureState.RECEIVING)] else None

    await eventually(followed, timeout=20)
    back_at = time.time()
    await asyncio.sleep(3)
    await client.stop(job_id)
    recording = await deployment.until(job_id)
    assert recording.status is JobStatus.COMPLETED, recording.reason_detail
    content = await asyncio.to_thread(analyse, await client.download(recording, tmp_path / "alice.webm"))
    assert content.audio is not None
    assert content.video is not None
    gap_s = back_at - killed_at
    for events_of_kind in (content.audio.beeps, content.video.flashes):
        gaps = [later - earlier for earlier, later in pairwise(events_of_kind)]
        assert len(events_of_kind) >= 4
        assert sorted(gaps)[-2] < 1.5, "there is one gap"
        assert max(gaps) < gap_s + 2


async def test_nothing_is_missing_when_one_of_two_nodes_is_killed(deployment: Deployment, tmp_path: Path) -> None:
    client, rooms = deployment.client, deployment.rooms
    body = start_body(options={"format": "webm", "redundancy": 2})
    job_id = (await client.start(body)).job_id

    async def both_receive() -> Recording | None:
        found = await client.get(job_id)
        return found if [each.state for each in found.captures] == [CaptureState.RECEIVING] * 2 else None

    twice = await eventually(both_receive, timeout=20)
    (primary,) = (each.node_id for each in twice.captures if each.role is CaptureRole.PRIMARY)
    await asyncio.sleep(4)
    await deployment.nodes[primary].kill()
    events = await deployment.told(job_id, "standby_missing")
    await asyncio.sleep(3)
    recording = await client.get(job_id)
    assert recording.status is JobStatus.RECORDING
    assert recording.node_id != primary
    await client.stop(job_id)
    plan = rooms.plan("room-1", "alice")
    recording = await deployment.until(job_id)
    assert recording.status is JobStatus.COMPLETED, recording.reason_detail
    assert any("twice" in warning for warning in recording.warnings)
    assert "interrupted" not in {each.type for each in events}
    path = await client.download(recording, tmp_path / "alice.webm")
    report = await client.report(job_id)
    verdict = await asyncio.to_thread(judge, recording, path, report, MEDIA, plan, bounds=Bounds(presence=1.0))
    assert verdict.failures == ()
