"""What the autoscaler sees of a large fleet, and decisions in the order in which watchers are told of them."""

import asyncio
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
from tests.waiting import eventually

from edumeet_recording.domain.price import USUAL
from edumeet_recording.domain.scaling import FleetNode, FleetSums, RequestState, summed
from edumeet_recording.store import scaling, views
from edumeet_recording.store.db import Connection, Pool

NOON = datetime(2026, 11, 22, 12, tzinfo=UTC)
WAITING = (
    "SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND NOT granted "
    "AND database = (SELECT oid FROM pg_database WHERE datname = current_database())"
)


async def note(conn: Connection, action: str) -> None:
    await scaling.note(conn, region="eu", action=action, reason="demand", data={}, now=NOON)


async def test_a_watcher_that_has_seen_an_event_has_seen_all_before_it(db_pool: Pool) -> None:
    """The loops of autoscaling and of alerts write at the same time."""
    async with (
        db_pool.acquire() as one,
        db_pool.acquire() as other,
        db_pool.acquire() as watcher,
        asyncio.TaskGroup() as tasks,
        one.transaction(),
    ):
        await note(one, "start")
        later = tasks.create_task(note(other, "alert"))
        await eventually(lambda: watcher.fetchval(WAITING), 3)
        assert not later.done()
        assert await views.scaling_events_after(watcher, 0, most=10) == []
    async with db_pool.acquire() as watcher:
        assert [each.action for each in await views.scaling_events_after(watcher, 0, most=10)] == ["start", "alert"]


NODE = FleetNode("", 1600, 0, is_usable=True, is_empty=False)
CARRIED = 400
"""Milli-cores that a network carries, by usual recordings."""
INSERT = """
INSERT INTO ffmpeg_nodes (
    id, url, region, token_sha256, registered_at, capacity_mcpu, load_mcpu, capacity_bytes_per_s, load_bytes_per_s,
    is_healthy, accepts_captures, quarantined_until, deregistered_at)
VALUES ($1, '', $2, '', $3, $4, $5, $6, $7, true, $8, $9, $10)
"""


async def insert(
    conn: Connection,
    node: FleetNode,
    region: str = "eu",
    quarantined_until: datetime | None = None,
    deregistered_at: datetime | None = None,
) -> None:
    await conn.execute(
        INSERT,
        node.id,
        region,
        NOON,
        node.capacity_mcpu,
        node.load_mcpu,
        node.capacity_bytes_per_s,
        node.load_bytes_per_s,
        node.is_usable or quarantined_until is not None,
        quarantined_until,
        deregistered_at,
    )


@pytest.mark.parametrize("load_mcpu", [0, 37])
async def test_the_sums_of_sql_are_those_of_python(db_pool: Pool, load_mcpu: int) -> None:
    narrow = USUAL.bytes_per_s * CARRIED // USUAL.mcpu
    busy = replace(NODE, load_mcpu=load_mcpu, load_bytes_per_s=load_mcpu * 1013)
    fleet = [
        replace(busy, id="unmeasured"),
        replace(busy, id="narrow", capacity_bytes_per_s=narrow),
        replace(NODE, id="wide", capacity_bytes_per_s=10**12),
        replace(NODE, id="cut-off", capacity_bytes_per_s=0),
        replace(busy, id="closed", is_usable=False),
        replace(busy, id="aside", is_usable=False),
    ]
    async with db_pool.acquire() as conn:
        for node in fleet:
            aside = NOON + timedelta(minutes=1) if node.id == "aside" else None
            await insert(conn, node, quarantined_until=aside)
        await insert(conn, replace(NODE, id="gone"), deregistered_at=NOON)
        await insert(conn, replace(NODE, id="elsewhere"), "us", quarantined_until=NOON)
        sums = await scaling.fleet_sums(conn, NOON)
    assert sums == {"eu": summed(fleet), "us": FleetSums(usable=1, sized=1, capacity_mcpu=1600)}
    if not load_mcpu:
        assert sums["eu"].capacity_mcpu == 2 * 1600 + CARRIED


async def test_of_nodes_at_work_only_the_emptiest_are_looked_at(db_pool: Pool, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(scaling, "CANDIDATES", 2)
    async with db_pool.acquire() as conn:
        ids = [f"n{number}" for number in range(45)]
        states = {"n0": RequestState.ASKED, "n1": RequestState.DRAINING}
        for number, node_id in enumerate(ids):
            await insert(conn, replace(NODE, id=node_id, load_mcpu=number, is_usable=node_id != "n5"))
        await insert(conn, replace(NODE, id="astray"), "us")
        for node_id in (*ids, "astray", "never-came"):
            await scaling.ask(conn, [node_id], region="eu", provider="mine", reason="", last_asked_at=NOON, now=NOON)
            after = states.get(node_id, RequestState.SEEN)
            await scaling.advance(conn, node_id, RequestState.ASKED, after, NOON)
        await conn.execute("UPDATE ffmpeg_nodes SET is_healthy = false WHERE id = 'n44'")
        (noted,) = (await scaling.requests_of_note(conn, "mine", NOON)).values()
        assert await scaling.requests_of_note(conn, "another", NOON) == {}
    nodes = {"n0", "n1", "n2", "n3", "n4", "n6", "n44"}
    """Those that come, leave or are lost; and a tenth of the 41 that are at work, for that is more than two."""
    assert {each.id for each in noted.nodes} == nodes
    assert {each.node_id for each in noted.requests} == nodes | {"astray", "never-came"}
    assert [each.id for each in noted.nodes if each.is_empty] == ["n1"]
