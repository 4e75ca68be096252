"""The picture of the fleet in memory: what renews it, and that a stale one costs a look and no wrong promise."""

import pytest
from tests.integration.control.conftest import Service

from edumeet_recording.control.fleet import TICKS_A_ROUND
from edumeet_recording.domain.job import JobStatus
from edumeet_recording.domain.price import Price
from edumeet_recording.store import nodes

AWAY = "UPDATE ffmpeg_nodes SET is_healthy = $2, health_reason = 'said by another replica' WHERE id = $1"


@pytest.fixture
async def known(service: Service) -> Service:
    """A replica that has decided once, between two nodes, of which node-1 is the emptier."""
    await service.room_server()
    await service.node("node-1", cores=8)
    await service.node("node-2", cores=4)
    job_id = await service.start(peer_id="first")
    await service.commands.cancel(job_id, None)
    await service.fleet.tick()
    return service


async def node_of(service: Service, job_id: str) -> str:
    return await service.pool.fetchval("SELECT ffmpeg_node_id FROM recording_jobs WHERE id = $1", job_id)


async def test_a_node_that_is_not_what_it_was_is_found_out_and_another_is_taken(known: Service) -> None:
    await known.pool.execute(AWAY, "node-1", False)
    assert await node_of(known, await known.start(peer_id="a")) == "node-2"


async def test_where_every_node_is_gone_the_recording_waits_and_says_why(known: Service) -> None:
    for node_id in ("node-1", "node-2"):
        await known.pool.execute(AWAY, node_id, False)
    job = await known.job(await known.start(peer_id="a"))
    assert job.status is JobStatus.PENDING
    assert "node-1: said by another replica" in (job.reason_detail or "")


async def test_a_lost_hint_is_made_good_within_a_round(known: Service) -> None:
    await known.pool.execute(AWAY, "node-1", False)
    for _ in range(TICKS_A_ROUND):
        await known.fleet.tick()
    await known.pool.execute(AWAY, "node-1", True)
    assert await node_of(known, await known.start(peer_id="a")) == "node-2", "it is believed to be away still"
    for _ in range(TICKS_A_ROUND):
        await known.fleet.tick()
    assert await node_of(known, await known.start(peer_id="b", room_id="another")) == "node-1"


async def test_two_replicas_that_believe_the_same_sell_a_node_once(known: Service) -> None:
    async with known.pool.acquire() as conn:
        whole = Price(3200)
        assert [await nodes.claim_capacity(conn, "node-2", whole) for _ in range(2)] == [True, False]
        assert await nodes.claim_capacity(conn, "node-2", Price(0, 1, 1))
        await conn.execute("UPDATE ffmpeg_nodes SET capacity_bytes_per_s = 10 WHERE id = 'node-2'")
        assert [await nodes.claim_capacity(conn, "node-2", Price(0, 9, 9)) for _ in range(2)] == [True, False]
