"""The picture of the fleet in memory: what renews it, and that a stale one costs a look and no wrong promise."""

from collections.abc import Sequence
from datetime import datetime

import pytest
from tests.integration.control.conftest import Service

from edumeet_recording.control import fleet
from edumeet_recording.control.fleet import TICKS_A_ROUND
from edumeet_recording.domain.errors import Unavailable
from edumeet_recording.domain.fleet import NodeSnapshot
from edumeet_recording.domain.job import JobStatus
from edumeet_recording.domain.price import Price
from edumeet_recording.store import nodes
from edumeet_recording.store.db import Connection

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


async def test_a_node_whose_hint_was_lost_is_found_within_a_round(known: Service) -> None:
    await known.pool.execute(
        "INSERT INTO ffmpeg_nodes (id, url, region, token_sha256, registered_at, capacity_mcpu) "
        "VALUES ('node-3', '', 'eu', '', now(), 6400)"
    )
    for _ in range(TICKS_A_ROUND):
        await known.fleet.tick()
    assert known.fleet.domains_of(["node-3"])
    await known.pool.execute("UPDATE ffmpeg_nodes SET deregistered_at = now() WHERE id = 'node-3'")
    for _ in range(2 * TICKS_A_ROUND):
        await known.fleet.tick()
    assert not known.fleet.domains_of(["node-3"]), "and its going, within another"


async def test_so_many_nodes_are_read_at_a_time_and_each_in_its_turn(
    known: Service, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(fleet, "TICKS_A_ROUND", 1)
    monkeypatch.setattr(fleet, "MOST_A_TICK", 1)
    monkeypatch.setattr(fleet, "AT_ONCE", 1)
    read: list[list[str]] = []

    async def snapshots(conn: Connection, node_ids: Sequence[str], now: datetime) -> list[NodeSnapshot]:
        read.append(list(node_ids))
        return await snapshots_of_all(conn, node_ids, now)

    snapshots_of_all = nodes.snapshots
    monkeypatch.setattr(nodes, "snapshots", snapshots)
    for _ in range(4):
        await known.fleet.tick()
    assert sorted(read) == [["node-1"], ["node-1"], ["node-2"], ["node-2"]]
    known.fleet.changed("")
    await known.fleet.tick()
    assert read[4:] == [["node-1"], ["node-2"]]


async def test_what_could_not_be_read_is_read_again(known: Service, monkeypatch: pytest.MonkeyPatch) -> None:
    async def away(*_: object) -> list[NodeSnapshot]:
        raise Unavailable("gone for a moment")

    await known.pool.execute(AWAY, "node-1", False)
    known.fleet.changed_now("node-1")
    with monkeypatch.context() as patched:
        patched.setattr(nodes, "snapshots", away)
        with pytest.raises(Unavailable):
            await known.fleet.tick()
    await known.fleet.tick()
    assert await node_of(known, await known.start(peer_id="a")) == "node-2"


async def test_two_replicas_that_believe_the_same_sell_a_node_once(known: Service) -> None:
    async with known.pool.acquire() as conn:
        whole = Price(3200)
        assert [await nodes.claim_capacity(conn, "node-2", whole) for _ in range(2)] == [True, False]
        assert await nodes.claim_capacity(conn, "node-2", Price(0, 1, 1))
        await conn.execute("UPDATE ffmpeg_nodes SET capacity_bytes_per_s = 10 WHERE id = 'node-2'")
        assert [await nodes.claim_capacity(conn, "node-2", Price(0, 9, 9)) for _ in range(2)] == [True, False]
