"""Several replicas on one database: who was replaced as leader writes nothing, and links of the dead are forgotten."""

import asyncio
from dataclasses import dataclass, replace
from datetime import timedelta
from unittest.mock import AsyncMock, Mock

import asyncpg
import pytest
from tests.integration.control.conftest import Service
from tests.waiting import eventually

from edumeet_recording.control import replicas as control
from edumeet_recording.control.replicas import DEAD_S, Replicas
from edumeet_recording.domain.errors import Unavailable
from edumeet_recording.store import leases, nodes
from edumeet_recording.store.leases import Leadership
from edumeet_recording.store.transaction import Tx


@dataclass
class SomeLinks:
    """The links of a replica, of which those that are let go leave at once."""

    count: int = 0

    async def release(self, count: int) -> None:
        self.count -= count


async def test_a_leader_that_was_replaced_writes_nothing(service: Service, dsn: str) -> None:
    await service.node()
    first, second = Leadership(dsn, "one"), Leadership(dsn, "two")
    led = replace(service.commands.db, guard=first.guard)

    async def work(tx: Tx) -> None:
        await nodes.set_draining(tx.conn, "node-1", True)

    async with asyncio.timeout(20), asyncio.TaskGroup() as tasks:
        running = tasks.create_task(first.run())
        await eventually(lambda: first.leading)
        await led.run(work)
        running.cancel()
        await eventually(lambda: not first.leading)
        other = tasks.create_task(second.run())
        await eventually(lambda: second.leading, timeout=10)
        # as one that was frozen in the middle, and does not know yet
        first.leading = True
        await service.pool.execute("UPDATE ffmpeg_nodes SET is_draining = false")
        with pytest.raises(Unavailable, match="another replica leads"):
            await led.run(work)
        await replace(led, guard=second.guard).run(work)
        other.cancel()


async def test_a_leader_that_hangs_or_is_cut_off_is_followed_by_another(
    dsn: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nothing closes its connection, so that PostgreSQL must give it up."""
    monkeypatch.setattr(leases, "GIVEN_UP_S", 1.0)
    monkeypatch.setattr(leases, "CHECK_S", 1000.0)
    first, second = Leadership(dsn, "one"), Leadership(dsn, "two")
    async with asyncio.timeout(20), asyncio.TaskGroup() as tasks:
        running = tasks.create_task(first.run())
        await eventually(lambda: first.leading)
        monkeypatch.setattr(leases, "CHECK_S", 0.2)
        other = tasks.create_task(second.run())
        await eventually(lambda: second.leading, timeout=10)
        assert first.leading, "it does not know"
        running.cancel()
        other.cancel()


async def test_a_connection_that_is_cut_between_an_error_and_its_end_costs_the_lead_only(
    dsn: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """PostgreSQL gives up a leader that was too busy to say a word, and asyncpg has read only half of that."""
    monkeypatch.setattr(leases, "CHECK_S", 0.1)
    cut = AsyncMock(side_effect=asyncpg.InternalClientError("cannot switch to state 12"))
    monkeypatch.setattr(leases, "_sql", Mock(wraps=leases._sql, still_there=cut))
    leader = Leadership(dsn, "one")
    async with asyncio.timeout(20), asyncio.TaskGroup() as tasks:
        running = tasks.create_task(leader.run())
        await eventually(lambda: cut.await_count > 1 and leader.leading)
        running.cancel()


async def test_nobody_takes_the_lead_in_the_middle_of_a_leaders_transaction(service: Service, dsn: str) -> None:
    leader, next_one = Leadership(dsn, "one"), Leadership(dsn, "two")
    led = replace(service.commands.db, guard=leader.guard)
    went_on, takes_over = asyncio.Event(), asyncio.Event()

    async def slow(_tx: Tx) -> bool:
        takes_over.set()
        await asyncio.wait_for(went_on.wait(), 10)
        return next_one.leading

    async with asyncio.timeout(30), asyncio.TaskGroup() as tasks:
        running = tasks.create_task(leader.run())
        await eventually(lambda: leader.leading)
        writing = tasks.create_task(led.run(slow))
        await takes_over.wait()
        running.cancel()
        other = tasks.create_task(next_one.run())
        await asyncio.sleep(0.5)
        went_on.set()
        assert not await writing
        await eventually(lambda: next_one.leading, timeout=10)
        other.cancel()


async def test_links_of_a_dead_replica_are_forgotten_unless_somebody_is_heard(service: Service) -> None:
    await service.room_server()
    await service.node("node-1")
    await service.node("node-2")
    db = service.commands.db
    replica = Replicas(db, "here", "http://here", {"ffmpeg-node": SomeLinks()}, SomeLinks())
    await replica.tick()
    for node_id, by in (("node-1", "dead"), ("node-2", "here")):
        await db.run(lambda tx, node_id=node_id, by=by: nodes.link(tx.conn, "ffmpeg-node", [node_id], by))
    await db.run(lambda tx: nodes.link(tx.conn, "room-server", ["room-server-1"], "dead"))
    await replica.forget_tick()
    linked = "SELECT id FROM ffmpeg_nodes WHERE linked_replica IS NOT NULL ORDER BY id"
    assert [row["id"] for row in await service.pool.fetch(linked)] == ["node-1", "node-2"], "it is heard still"
    long_ago = timedelta(seconds=DEAD_S + 1)
    await service.pool.execute("UPDATE ffmpeg_nodes SET last_heartbeat = last_heartbeat - $1::interval", long_ago)
    await replica.forget_tick()
    assert [row["id"] for row in await service.pool.fetch(linked)] == ["node-2"]
    assert await service.pool.fetchval("SELECT linked_replica FROM room_servers") is None


async def test_links_are_spread_once_for_each_that_joins(service: Service, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(control, "JOINED_S", 0.0)
    db, links, rooms, watchers = service.commands.db, SomeLinks(4), SomeLinks(2), SomeLinks(100)
    for number in range(4):
        await service.node(f"node-{number}")
        await db.run(lambda tx, number=number: nodes.link(tx.conn, "ffmpeg-node", [f"node-{number}"], "one"))
    for server_id in ("room-server-1", "room-server-2"):
        await service.room_server(server_id)
        await db.run(lambda tx, server_id=server_id: nodes.link(tx.conn, "room-server", [server_id], "one"))
    one = Replicas(db, "one", "http://one", {"ffmpeg-node": links, "room-server": rooms}, watchers)
    two = Replicas(db, "two", "http://two", {"ffmpeg-node": SomeLinks(), "room-server": SomeLinks()}, SomeLinks())
    await one.tick()
    await one.tick()
    assert links.count == 4
    await two.tick()
    for _ in range(6):
        await one.tick()
    assert (links.count, rooms.count, watchers.count) == (2, 1, 50)
    links.count = 4
    await one.tick()
    assert links.count == 4, "nodes that came back to it reach nobody else"
    await two.leave()
    await one.tick()
    assert links.count == 4
