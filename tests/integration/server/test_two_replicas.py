"""Two whole replicas on one database: whichever is asked, the node's link may be at the other."""

import asyncio
import secrets
import time
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

import pytest
from tests.waiting import eventually
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed

from edumeet_recording.api.auth import Scope, issue_token
from edumeet_recording.client import RecordingClient
from edumeet_recording.config import OrchestratorSettings
from edumeet_recording.domain.capture import CaptureState
from edumeet_recording.domain.job import JobStatus
from edumeet_recording.server.main import run_orchestrator
from edumeet_recording.wire.http import FFmpegNodeSpecs, RegisterFFmpegNode, RegisterRoomServer, StartRecording
from edumeet_recording.wire.node_link import (
    ORCHESTRATOR_MESSAGE,
    CaptureReport,
    Desired,
    DesiredCapture,
    Goaway,
    Heartbeat,
    Hello,
    NodeLoad,
    Port,
    Report,
)

JWT_KEY = secrets.token_urlsafe(32)


@dataclass(frozen=True, slots=True)
class At:
    """Where a replica is, and a client of it."""

    url: str
    client: RecordingClient


@asynccontextmanager
async def replica(dsn: str, folder: Path) -> AsyncIterator[At]:
    """A replica in this process."""
    settings = OrchestratorSettings.model_validate(
        {
            "port": 0,
            "database_url": dsn,
            "database_pool_size": 5,
            "jwt_secret": JWT_KEY,
            "state_dir": folder,
            "storage_url": (folder / "storage").as_uri(),
        }
    )
    stop, urls = asyncio.Event(), asyncio.Queue[str]()
    token = issue_token(JWT_KEY, subject="t", scopes=tuple(Scope), tenant=None, ttl_s=3600, now=time.time())
    async with asyncio.TaskGroup() as tasks:
        tasks.create_task(run_orchestrator(settings, stop, urls.put_nowait))
        try:
            async with asyncio.timeout(30):
                url = await urls.get()
            async with RecordingClient(url, token) as client:
                yield At(url, client)
        finally:
            stop.set()


class Node:
    """An FFmpeg node's end of its link."""

    def __init__(self, connection: ClientConnection) -> None:
        self.connection = connection
        self.wanted: tuple[DesiredCapture, ...] = ()
        self.sent_away = False

    async def listen(self) -> None:
        async for text in self.connection:
            match ORCHESTRATOR_MESSAGE.validate_json(text):
                case Desired() as desired:
                    self.wanted = desired.captures
                case Goaway():
                    self.sent_away = True
                case _:
                    pass

    async def beat(self) -> None:
        """Until the link closes."""
        with suppress(ConnectionClosed):
            while True:
                await self.connection.send(Heartbeat(load=NodeLoad()).to_json())
                await asyncio.sleep(0.3)


@asynccontextmanager
async def node(at: At, node_id: str) -> AsyncIterator[Node]:
    """A registered node with a link to this replica, and heartbeats."""
    specs = FFmpegNodeSpecs(cpu_cores=4, ram=1)
    new = RegisterFFmpegNode(url="http://127.0.0.1:9", region="eu", specs=specs, node_id=node_id)
    token = (await at.client.register_ffmpeg_node(new)).token
    url = f"{at.url.replace('http', 'ws', 1)}/api/nodes/ffmpeg-nodes/{node_id}/link"
    async with (
        asyncio.TaskGroup() as tasks,
        connect(url, additional_headers={"Authorization": f"Bearer {token}"}, proxy=None) as connection,
    ):
        linked = Node(connection)
        await connection.send(Hello(node_id=node_id, version="1").to_json())
        living = [tasks.create_task(linked.listen()), tasks.create_task(linked.beat())]
        yield linked
        for task in living:
            task.cancel()


def start_body(peer_id: str) -> StartRecording:
    streams = ({"kind": "audio", "codecName": "opus", "payloadType": 111},)
    return StartRecording.model_validate(
        {
            "roomServerId": "room-server-1",
            "roomId": "r",
            "peerId": peer_id,
            "rtpStreams": streams,
            "forwarding": "client",
        }
    )


async def healthy(client: RecordingClient, node_id: str) -> bool:
    return (await client.node(node_id)).is_healthy


@pytest.fixture
async def two(dsn: str, tmp_path: Path) -> AsyncIterator[tuple[At, At]]:
    """Two replicas, and a room server that both know."""
    async with AsyncExitStack() as stack:
        one = await stack.enter_async_context(replica(dsn, tmp_path / "one"))
        other = await stack.enter_async_context(replica(dsn, tmp_path / "two"))
        await one.client.register_room_server(
            RegisterRoomServer(server_id="room-server-1", url="http://127.0.0.1:9", region="eu", capacity=1)
        )
        yield one, other


async def test_started_at_one_recorded_by_the_others_node_seen_at_both(
    two: tuple[At, At],
) -> None:
    at_one, at_other = two
    one = at_one.client
    assert sorted([(await each.client.ready()).leads for each in two]) == [False, True]
    async with node(at_other, "node-1") as linked:
        await eventually(lambda: healthy(one, "node-1"), timeout=10)
        job_id = (await one.start(start_body("peer-1"))).job_id
        (capture,) = await eventually(lambda: linked.wanted, timeout=10)
        report = CaptureReport(
            capture_id=capture.capture_id,
            epoch=1,
            state=CaptureState.RECEIVING,
            ip="127.0.0.1",
            ports=(Port(index=0, port=40000, rtcp_port=40001),),
            first_packet_at=time.time(),
        )
        await linked.connection.send(Report(captures=(report,)).to_json())

        async def recording() -> bool:
            return (await one.get(job_id)).status is JobStatus.RECORDING

        await eventually(recording, timeout=10)
        await one.stop(job_id)
        await eventually(lambda: not linked.wanted, timeout=10)


async def test_one_idempotency_key_at_both_at_once_is_one_recording(
    two: tuple[At, At],
) -> None:
    async with asyncio.TaskGroup() as tasks:
        starts = [tasks.create_task(at.client.start(start_body("peer-1"), idempotency_key="k")) for at in (*two, *two)]
    assert len({start.result().job_id for start in starts}) == 1


async def test_the_next_leads_when_the_leader_ends_and_its_nodes_are_sent_to_it(dsn: str, tmp_path: Path) -> None:
    async with AsyncExitStack() as outer:
        async with AsyncExitStack() as inner:
            one = await inner.enter_async_context(replica(dsn, tmp_path / "one"))
            other = (await outer.enter_async_context(replica(dsn, tmp_path / "two"))).client
            assert (await one.client.ready()).leads
            linked = await outer.enter_async_context(node(one, "node-1"))
            await eventually(lambda: healthy(other, "node-1"), timeout=10)
        assert linked.sent_away

        async def leads() -> bool:
            return (await other.ready()).leads

        await eventually(leads, timeout=10)
        events = [each.type for each in await other.node_events("node-1")]
        assert "dead" not in events
