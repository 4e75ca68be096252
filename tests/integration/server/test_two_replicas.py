"""Two whole replicas on one database: whichever is asked, the node's link may be at the other."""

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from pathlib import Path
from urllib.parse import urlsplit

import pytest
from tests.integration.server.conftest import At, healthy, node, replica
from tests.waiting import eventually

from edumeet_recording.domain.job import JobStatus
from edumeet_recording.sim.faults.proxy import proxy
from edumeet_recording.sim.room_server import SimulatedRoomServer, SimulatorOptions
from edumeet_recording.store.db import Pool
from edumeet_recording.wire.http import RegisterRoomServer, StartRecording


def start_body(peer_id: str, forwarding: str = "client") -> StartRecording:
    stream = {"kind": "audio", "codecName": "opus", "payloadType": 111, "ssrc": 7, "port": 5004}
    body = {"roomServerId": "room-server-1", "roomId": "r", "peerId": peer_id, "rtpStreams": (stream,)}
    return StartRecording.model_validate(body | {"forwarding": forwarding})


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
        shown = [(each.url, each.leads, each.ffmpeg_nodes) for each in await one.replicas()]
        assert shown == [
            (at_one.url, (await one.ready()).leads, 0),
            (at_other.url, (await at_other.client.ready()).leads, 1),
        ]
        job_id = (await one.start(start_body("peer-1"))).job_id
        (capture,) = await eventually(lambda: linked.wanted, timeout=10)
        await linked.prepare(capture, first_packet_at=time.time())

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


async def test_a_room_server_is_sent_to_the_next_replica_and_asked_there(
    dsn: str, db_pool: Pool, tmp_path: Path
) -> None:
    async with AsyncExitStack() as outer:
        balancer = await outer.enter_async_context(proxy())
        options = SimulatorOptions(
            server_id="room-server-1", region="eu", orchestrator_url=balancer.url, use_link=True, room_id="r"
        )
        async with AsyncExitStack() as inner:
            one = await inner.enter_async_context(replica(dsn, tmp_path / "one"))
            other = await outer.enter_async_context(replica(dsn, tmp_path / "two"))
            balancer.targets = [urlsplit(one.url).port or 0]
            await outer.enter_async_context(SimulatedRoomServer(options))

            async def replica_of() -> str | None:
                return await db_pool.fetchval("SELECT linked_replica FROM room_servers")

            before = await eventually(replica_of, timeout=10)
            balancer.targets = [urlsplit(other.url).port or 0]

        async def moved() -> bool:
            return await replica_of() not in {None, before}

        await eventually(moved, timeout=10)
        linked = await outer.enter_async_context(node(other, "node-1"))
        await eventually(lambda: healthy(other.client, "node-1"), timeout=10)
        await other.client.start(start_body("peer-1", "room-server"))
        (capture,) = await eventually(lambda: linked.wanted, timeout=10)
        await linked.prepare(capture)
        await eventually(lambda: [each for each in linked.wanted if each.confirmed], timeout=10)
        assert await other.client.node_events("room-server-1") == (), "nobody suspected it"
