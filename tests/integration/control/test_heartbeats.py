"""What heartbeats say is in the database: news at the next tick, measured numbers after some seconds, life always."""

import asyncio
from collections.abc import Callable
from contextlib import AsyncExitStack
from dataclasses import replace

import pytest
from tests.integration.control.conftest import Service
from tests.integration.control.test_links import linked
from tests.waiting import eventually

from edumeet_recording.control import heartbeats
from edumeet_recording.control.heartbeats import MEASURED_EACH, Heartbeats
from edumeet_recording.control.node_links import NodeLinks
from edumeet_recording.domain.capture import CaptureState
from edumeet_recording.domain.errors import Unavailable
from edumeet_recording.store.db import Connection, open_pool
from edumeet_recording.store.notify import Notifier
from edumeet_recording.store.transaction import Transactor
from edumeet_recording.wire.node_link import CaptureReport, Desired, Heartbeat, NodeLoad, StreamStats

WARNED = NodeLoad(warning="the spool's disk is 83 % full")


class Node:
    """`node-1`, which is heard, and what of it is in the database."""

    def __init__(self, service: Service, beats: Heartbeats) -> None:
        self._service = service
        self.beats = beats
        beats.begin("node-1")

    async def says(self, load: NodeLoad) -> None:
        self.beats.heard("node-1", Heartbeat(load=load))
        await self.beats.flush_tick()

    async def has(self, column: str) -> object:
        return await self._service.pool.fetchval(f"SELECT {column} FROM ffmpeg_nodes WHERE id = 'node-1'")  # noqa: S608 - the test's own

    async def is_changed(self, change: str) -> None:
        await self._service.pool.execute(f"UPDATE ffmpeg_nodes SET {change} WHERE id = 'node-1'")  # noqa: S608 - the test's own


@pytest.fixture
async def node(service: Service) -> Node:
    await service.node()
    return Node(service, Heartbeats(service.commands.db))


async def test_numbers_are_written_with_some_heartbeats_and_the_time_with_all(node: Node) -> None:
    written, times = set[object](), set[object]()
    for percent in range(1 + 2 * MEASURED_EACH):
        await node.says(NodeLoad(cpu_percent=percent))
        written.add(await node.has("load ->> 'cpuPercent'"))
        times.add(await node.has("last_heartbeat"))
    assert len(times) == 1 + 2 * MEASURED_EACH
    assert len(written) == 1 + 2


@pytest.mark.parametrize(
    "change",
    [
        {"accepts_captures": False, "refusal": "full"},
        {"warning": "hot"},
        {"leaving": True},
        {"sheds": True},
        {"captures": 1},
        {"finalizing": 1},
        {"spool_bytes": 1},
        {"capacity_bytes_per_s": 10**9},
    ],
)
async def test_news_is_written_at_once_both_ways(node: Node, change: dict[str, object]) -> None:
    for load in (NodeLoad(), NodeLoad().model_copy(update=change), NodeLoad()):
        await node.says(load)
        assert await node.has("load") == load.model_dump(mode="json", by_alias=True)


async def test_a_node_that_was_thought_dead_is_healthy_with_its_next_heartbeat(node: Node) -> None:
    for _ in range(1 + MEASURED_EACH):
        await node.says(WARNED)
        await node.is_changed("is_healthy = false, health_reason = 'dead: its heartbeats have stopped'")
        await node.says(WARNED)
        assert await node.has("is_healthy")
        assert await node.has("health_reason") == WARNED.warning
    assert await node.has("(SELECT count(*) FROM node_events WHERE type = 'returned')") == 1 + MEASURED_EACH


async def test_what_could_not_be_written_is_news_still(node: Node, service: Service) -> None:
    away = False

    async def guard(_conn: Connection) -> None:
        if away:
            raise Unavailable("the database is away")

    node = Node(service, Heartbeats(replace(service.commands.db, guard=guard)))
    await node.says(NodeLoad())
    away = True
    with pytest.raises(Unavailable):
        await node.says(WARNED)
    away = False
    await node.says(WARNED)
    assert await node.has("health_reason") == WARNED.warning


async def test_the_first_heartbeat_on_a_link_is_written_whole(node: Node) -> None:
    """Its node may have been registered anew, or been heard elsewhere."""
    for _ in range(MEASURED_EACH):
        await node.says(WARNED)
        await node.is_changed("health_reason = NULL")
        node.beats.begin("node-1")
        await node.says(WARNED)
        assert await node.has("health_reason") == WARNED.warning


async def test_a_node_that_is_gone_is_not_heard_any_more(node: Node) -> None:
    await node.says(NodeLoad())
    heard = await node.has("last_heartbeat")
    node.beats.heard("node-1", Heartbeat(load=NodeLoad()))
    node.beats.end("node-1")
    await node.beats.flush_tick()
    await node.is_changed("deregistered_at = last_heartbeat, is_healthy = false")
    for load in (NodeLoad(), NodeLoad()):
        await node.says(load)
    assert (await node.has("last_heartbeat"), await node.has("is_healthy")) == (heard, False)


async def test_many_nodes_are_written_in_portions(service: Service, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(heartbeats, "AT_ONCE", 2)
    ids = [f"node-{number}" for number in range(5)]
    beats = Heartbeats(service.commands.db)
    for node_id in ids:
        await service.node(node_id)
        beats.begin(node_id)
    loads: list[Callable[[int], NodeLoad]] = [
        lambda number: NodeLoad(captures=number),
        lambda number: NodeLoad(captures=number),
        lambda number: NodeLoad(captures=number, leaving=number % 2 == 0),
    ]
    for load in loads:
        before = await service.pool.fetchval("SELECT max(last_heartbeat) FROM ffmpeg_nodes")
        for number, node_id in enumerate(ids):
            beats.heard(node_id, Heartbeat(load=load(number)))
        await beats.flush_tick()
        rows = await service.pool.fetch("SELECT load, last_heartbeat FROM ffmpeg_nodes ORDER BY id")
        assert [row["load"] for row in rows] == [
            load(number).model_dump(mode="json", by_alias=True) for number in range(5)
        ]
        assert all(row["last_heartbeat"] > before for row in rows)


async def test_numbers_of_captures_wait_their_turn_unless_a_picture_is_broken(
    service: Service, node: Node, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(heartbeats, "AT_ONCE", 1)
    await service.room_server()
    waiting: list[CaptureReport] = []
    for number in range(3):
        await service.start(peer_id=f"peer-{number}")
        (new,) = {each.capture_id for each in (await service.desired()).captures} - {
            each.capture_id for each in waiting
        }
        await service.receive(only=new)
        stats = StreamStats(index=0, packets=1, key_frame_overdue=number == 2)
        waiting.append(CaptureReport(capture_id=new, epoch=1, state=CaptureState.RECEIVING, streams=(stats,)))
    node.beats.heard("node-1", Heartbeat(load=NodeLoad(), captures=tuple(waiting)))
    written: list[str] = []
    for _ in waiting:
        await node.beats.flush_tick()
        rows = await service.pool.fetch("SELECT id FROM captures WHERE stats <> '{}'")
        written += [row["id"] for row in rows if row["id"] not in written]
    first, second, third = (each.capture_id for each in waiting)
    assert written == [third, first, second]


async def test_heartbeats_are_written_while_all_connections_are_taken(service: Service, dsn: str) -> None:
    await service.node()
    async with open_pool(dsn, 1) as pool, AsyncExitStack() as stack:
        links = NodeLinks(service.captures, "replica", Transactor(pool, Notifier("unused")))
        async with linked(links, "node-1") as wire:
            await eventually(lambda: wire.heard(Desired))
            taken = [
                await stack.enter_async_context(service.pool.acquire()) for _ in range(service.pool.get_max_size())
            ]
            wire.say(Heartbeat(load=WARNED))
            await eventually(wire.up.empty)
            async with asyncio.timeout(3):
                await links.flush_tick()
            assert await taken[0].fetchval("SELECT health_reason FROM ffmpeg_nodes") == WARNED.warning
            await stack.aclose()
