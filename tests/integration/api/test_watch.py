"""Watchers over a real WebSocket: snapshot, numbered deltas, resumption, confinement, and no patience with the slow."""

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest
import websockets
from tests.integration.api.conftest import Orchestrator, listening
from tests.unit.api.fakes import bearer
from tests.waiting import eventually

from edumeet_recording.api import node_news, watch_hub
from edumeet_recording.store.event_feed import EventFeed, FedEvent


class Watcher:
    """A connection that speaks JSON."""

    def __init__(self, socket: websockets.ClientConnection) -> None:
        self.socket = socket

    async def receive(self) -> Any:
        async with asyncio.timeout(5):
            return json.loads(await self.socket.recv())

    async def ask(self, message: Any) -> Any:
        await self.socket.send(json.dumps(message))
        return await self.receive()

    async def is_quiet(self) -> bool:
        """True where nothing came before the answer to a ping."""
        return await self.ask({"type": "ping"}) == {"type": "pong"}


@asynccontextmanager
async def watching(host: str, **claims: Any) -> AsyncIterator[Watcher]:
    async with websockets.connect(f"ws://{host}/ws", additional_headers=bearer(**claims)) as socket:
        watcher = Watcher(socket)
        assert (await watcher.receive())["type"] == "authenticated"
        yield watcher


async def test_a_snapshot_then_each_event_once_in_order(orchestrator: Orchestrator) -> None:
    service = orchestrator.service
    await service.room_server()
    await service.node()
    before = await service.start(peer_id="before")
    await orchestrator.watch.events_tick()
    async with listening(orchestrator.app) as host, watching(host) as watcher:
        snapshot = await watcher.ask({"type": "subscribe_recordings"})
        assert (snapshot["type"], snapshot["topic"], snapshot["truncated"]) == ("snapshot", "recordings", False)
        assert [each["jobId"] for each in snapshot["items"]] == [before]
        job_id = await service.start()
        await service.commands.cancel(job_id, None)
        await orchestrator.watch.events_tick()
        deltas = [await watcher.receive() for _ in await service.events(job_id)]
        assert await watcher.is_quiet()
        await watcher.ask({"type": "unsubscribe", "topic": "recordings"})
        await service.commands.cancel(before, None)
        await orchestrator.watch.events_tick()
        assert await watcher.is_quiet()
    assert [each["event"]["seq"] for each in deltas] == list(range(1, len(deltas) + 1))
    assert [each["seq"] for each in deltas] == sorted(each["seq"] for each in deltas)
    assert deltas[0]["seq"] > snapshot["seq"]
    assert deltas[-1]["event"]["status"] == "cancelled"
    assert all(each["recording"]["status"] == "cancelled" for each in deltas), "a delta carries what is true now"


async def test_a_watcher_that_is_let_go_is_told_to_connect_again(orchestrator: Orchestrator) -> None:
    hub = orchestrator.watch
    async with listening(orchestrator.app) as host, watching(host) as one, watching(host) as other:
        both = (one, other)
        assert hub.count == 2
        await hub.release(1)
        await eventually(lambda: hub.count == 1)
        await eventually(lambda: [each.socket.close_code for each in both].count(1001) == 1)
        await hub.release(5)
        await eventually(lambda: hub.count == 0)


async def test_a_watcher_resumes_after_the_last_event_it_saw(orchestrator: Orchestrator) -> None:
    service = orchestrator.service
    await service.room_server()
    await service.node()
    job_id = await service.start()
    await service.commands.cancel(job_id, None)
    await orchestrator.watch.events_tick()
    seqs = [row["id"] for row in await service.pool.fetch("SELECT id FROM job_events ORDER BY id")]
    async with listening(orchestrator.app) as host, watching(host) as watcher:
        subscribe = {"type": "subscribe_recordings", "since": seqs[0]}
        missed = [await watcher.ask(subscribe), *[await watcher.receive() for _ in seqs[2:]]]
        assert [(each["type"], each["seq"]) for each in missed] == [("delta", seq) for seq in seqs[1:]]
        await watcher.ask({"type": "unsubscribe", "topic": "recordings"})
        await watcher.socket.send(json.dumps(subscribe | {"since": seqs[-1]}))
        assert await watcher.is_quiet()
        far = await watcher.ask(subscribe | {"since": seqs[-1] + watch_hub.RESUMABLE_EVENTS + 1})
        assert far["type"] == "snapshot"


async def test_filters_and_tenants_confine_snapshot_and_deltas(orchestrator: Orchestrator) -> None:
    service = orchestrator.service
    await service.room_server()
    await service.node()
    mine = await service.start(tenant_id="a", room_id="room-1")
    await service.start(tenant_id="b", room_id="room-1")
    await orchestrator.watch.events_tick()
    async with listening(orchestrator.app) as host, watching(host, tenant="a") as watcher:
        wanted = {"type": "subscribe_recordings", "filter": {"roomId": "room-1", "status": "initializing"}}
        snapshot = await watcher.ask(wanted)
        assert [each["jobId"] for each in snapshot["items"]] == [mine]
        await service.start(tenant_id="b", peer_id="x", room_id="room-1")
        await service.start(tenant_id="a", peer_id="x", room_id="room-2")
        await service.commands.cancel(mine, None)
        await orchestrator.watch.events_tick()
        gone = await watcher.receive()
        assert (gone["event"]["jobId"], gone["event"]["status"]) == (mine, "cancelled")
        assert await watcher.is_quiet()
        one = await watcher.ask({"type": "subscribe_recordings", "filter": {"jobId": mine}})
        assert [each["jobId"] for each in one["items"]] == [mine]


async def test_of_many_nodes_some_are_told_at_a_time_and_first_what_was_heard_of(
    orchestrator: Orchestrator, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(node_news, "NODES_A_TICK", 2)
    service = orchestrator.service
    names = [f"node-{number}" for number in range(1, 7)]
    for name in names:
        await service.node(name)
    async with listening(orchestrator.app) as host, watching(host) as watcher:
        snapshot = await watcher.ask({"type": "subscribe_nodes"})
        assert [node["id"] for node in snapshot["items"]] == names
        for name in names:
            await service.commands.set_draining(name, True)
        orchestrator.watch.node_changed("node-5")
        told: list[list[str]] = []
        for _ in range(4):
            await orchestrator.watch.fleet_tick()
            news = [await watcher.ask({"type": "ping"})]
            while news[-1]["type"] != "pong":
                news.append(await watcher.receive())
            told.append([each["id"] for each in news[:-1]])
        assert told == [["node-1", "node-5"], ["node-2", "node-3"], ["node-4"], ["node-6"]]


async def test_nodes_and_metrics_are_followed(orchestrator: Orchestrator) -> None:
    service = orchestrator.service
    await service.room_server()
    async with listening(orchestrator.app) as host, watching(host) as watcher:
        nodes = await watcher.ask({"type": "subscribe_nodes"})
        assert [(node["kind"], node["id"]) for node in nodes["items"]] == [("room-server", "room-server-1")]
        await service.node()
        await orchestrator.watch.fleet_tick()
        delta = await watcher.receive()
        assert (delta["type"], delta["topic"], delta["node"]["kind"]) == ("delta", "nodes", "ffmpeg-node")
        assert delta["seq"] == nodes["seq"] + 1
        await orchestrator.watch.fleet_tick()
        assert await watcher.is_quiet(), "nothing changed"
        await service.commands.deregister_node("node-1")
        await orchestrator.watch.fleet_tick()
        gone = await watcher.receive()
        assert (gone["id"], gone["node"]) == ("node-1", None)
        await watcher.ask({"type": "unsubscribe", "topic": "nodes"})

        metrics = await watcher.ask({"type": "subscribe_metrics"})
        assert metrics["metrics"]["totalRoomServers"] == 1
        await orchestrator.watch.fleet_tick()
        delta = await watcher.receive()
        assert (delta["topic"], delta["seq"]) == ("metrics", metrics["seq"] + 1)


async def test_scaling_decisions_are_followed(orchestrator: Orchestrator) -> None:
    pool = orchestrator.service.pool
    decide = "INSERT INTO scaling_events (at, region, action, reason) VALUES (now(), 'eu', $1, 'load') RETURNING id"
    first = await pool.fetchval(decide, "up")
    async with listening(orchestrator.app) as host, watching(host) as watcher:
        snapshot = await watcher.ask({"type": "subscribe_scaling_alerts"})
        assert (snapshot["seq"], [each["action"] for each in snapshot["items"]]) == (first, ["up"])
        second = await pool.fetchval(decide, "down")
        for _ in range(2):
            await orchestrator.watch.fleet_tick()
        delta = await watcher.receive()
        assert (delta["seq"], delta["alert"]["action"]) == (second, "down")
        assert await watcher.is_quiet()
        again = await watcher.ask({"type": "subscribe_scaling_alerts", "since": first})
        assert [each["id"] for each in again["items"]] == [second]


async def test_a_slow_watcher_is_dropped_and_the_others_go_on(
    orchestrator: Orchestrator, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(watch_hub, "MAILBOX_MESSAGES", 4)
    hub = orchestrator.watch
    async with listening(orchestrator.app) as host, watching(host) as quick:
        slow = await websockets.connect(
            f"ws://{host}/ws", additional_headers=bearer(), max_queue=1, ping_interval=None, close_timeout=0.1
        )
        await slow.send(json.dumps({"type": "subscribe_metrics"}))
        await quick.ask({"type": "subscribe_metrics"})
        await eventually(lambda: len(hub._followers) == 2)
        padding = {f"region-{number}": {} for number in range(20000)}
        monkeypatch.setattr(watch_hub, "to_text", lambda _message: json.dumps({"type": "delta", "padding": padding}))

        async def slow_is_dropped() -> bool:
            await hub.fleet_tick()
            await quick.receive()
            return len(hub._followers) == 1

        await eventually(slow_is_dropped, timeout=20)
        await slow.close()


async def test_events_that_commit_out_of_order_are_all_seen(orchestrator: Orchestrator) -> None:
    service = orchestrator.service
    await service.room_server()
    await service.node()
    jobs = [await service.start(peer_id=f"peer-{number}") for number in range(3)]
    feed, seen = EventFeed(), list[FedEvent]()

    async def poll() -> list[str]:
        async with service.pool.acquire() as conn:
            fed = await feed.poll(conn)
        seen.extend(fed)
        return [each.event.type for each in fed]

    await poll()
    write = (
        "INSERT INTO job_events (job_id, seq, at, type, status) "
        "SELECT $1, 100 + count(*), now(), $2, 'pending' FROM job_events"
    )
    async with service.pool.acquire() as slow, service.pool.acquire() as lost:
        late, rolled_back = slow.transaction(), lost.transaction()
        await late.start()
        await slow.execute(write, jobs[0], "late")
        await rolled_back.start()
        await lost.execute(write, jobs[1], "lost")
        await service.pool.execute(write, jobs[2], "early")
        assert await poll() == []
        await rolled_back.rollback()
        assert await poll() == [], "the slow one is still writing"
        assert not feed.caught_up
        await late.commit()
        assert await poll() == ["late", "early"]
        assert feed.caught_up
    ids = [each.event.id for each in seen]
    assert ids == sorted(set(ids))
    stored = await service.pool.fetch("SELECT id FROM job_events ORDER BY id")
    assert ids == [row["id"] for row in stored]


async def test_the_first_poll_also_gives_what_was_just_written(orchestrator: Orchestrator) -> None:
    service = orchestrator.service
    await service.room_server()
    job_id = await service.start()
    async with service.pool.acquire() as conn:
        fed = await EventFeed().poll(conn)
    assert [(each.event.job_id, each.room_id, each.region) for each in fed] == [(job_id, "room-123", "eu")] * len(fed)
    assert fed
