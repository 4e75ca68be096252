"""Links: desired state goes down as soon as it changes, observed state comes up, and a newer link replaces an older."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import replace
from typing import Any

import pytest
from tests.integration.control.conftest import Service
from tests.waiting import eventually

from edumeet_recording.control import room_links
from edumeet_recording.control.captures import CaptureCommands
from edumeet_recording.control.link_transport import LinkClosed
from edumeet_recording.control.node_links import GOING_AWAY, INBOX_BEATS, PROTOCOL_ERROR, REPLACED, NodeLinks
from edumeet_recording.control.room_links import RoomLinks
from edumeet_recording.domain.capture import CaptureState
from edumeet_recording.domain.errors import Unavailable
from edumeet_recording.domain.job import JobStatus
from edumeet_recording.rooms.base import RoomServerUnreachable
from edumeet_recording.rooms.link import LinkedRoomServer
from edumeet_recording.store.db import Connection
from edumeet_recording.store.nodes import NodeKind
from edumeet_recording.wire.node_link import (
    ORCHESTRATOR_MESSAGE,
    Ack,
    CaptureReport,
    ChunkStored,
    Desired,
    FinalizeProgress,
    Goaway,
    Heartbeat,
    Hello,
    Journal,
    JournalEntry,
    NodeLoad,
    Port,
    TapeChunk,
)
from edumeet_recording.wire.room_link import ROOM_REQUEST, Done, RoomHeartbeat, StopForwarding


class Wire:
    """Both ends of a link in memory."""

    def __init__(self) -> None:
        self.up: asyncio.Queue[str | None] = asyncio.Queue()
        self.down: list[str] = []
        self.hear: Callable[[str], bool] = lambda _text: False
        self.closed: int | None = None
        self.reason = ""

    def listen(self, hear: Callable[[str], bool]) -> None:
        self.hear = hear

    async def receive(self) -> str:
        text = await self.up.get()
        if text is None:
            raise LinkClosed("gone")
        return text

    async def send(self, text: str) -> None:
        if self.closed is not None:
            raise LinkClosed("gone")
        self.down.append(text)

    async def close(self, code: int, reason: str) -> None:
        if self.closed is None:
            self.closed, self.reason = code, reason
            self.up.put_nowait(None)

    def say(self, message: Any) -> None:
        self.up.put_nowait(message.to_json())

    def heard(self, kind: type) -> list[Any]:
        messages = [ORCHESTRATOR_MESSAGE.validate_json(text) for text in self.down]
        return [message for message in messages if isinstance(message, kind)]


@asynccontextmanager
async def linked(links: NodeLinks | RoomLinks, node_id: str) -> AsyncIterator[Wire]:
    wire = Wire()
    async with asyncio.timeout(20), asyncio.TaskGroup() as tasks:
        tasks.create_task(links.serve(node_id, wire))
        yield wire
        wire.up.put_nowait(None)


async def test_desired_state_goes_down_and_reports_come_up(service: Service) -> None:
    await service.room_server()
    await service.node()
    links = NodeLinks(service.captures, "replica")
    async with linked(links, "node-1") as wire:
        wire.say(Hello(node_id="node-1", version="1"))
        await eventually(lambda: wire.heard(Desired))
        job_id = await service.start()
        links.wake("node-1")
        capture = await eventually(lambda: [c for d in wire.heard(Desired) for c in d.captures])
        port = Port(index=0, port=40000, rtcp_port=40001)
        report = CaptureReport(
            capture_id=capture[0].capture_id,
            epoch=1,
            state=CaptureState.RECEIVING,
            ip="127.0.0.1",
            ports=(port,),
            first_packet_at=1.0,
        )
        wire.say(Heartbeat(load=NodeLoad(cpu_percent=12.5), captures=(report,)))

        async def recording() -> bool:
            return (await service.job(job_id)).status is JobStatus.RECORDING

        await eventually(recording)

        async def load_kept() -> bool:
            await links.flush_tick()
            return (await service.pool.fetchval("SELECT load FROM ffmpeg_nodes")).get("cpuPercent") == 12.5

        await eventually(load_kept)
        chunk = TapeChunk(seq=0, key="k", bytes=1, sha256="0")
        stored = ChunkStored(capture_id=report.capture_id, chunk=chunk)
        wire.say(Journal(entries=(JournalEntry(seq=7, body=stored), JournalEntry(seq=8, body=stored))))
        assert [ack.up_to for ack in await eventually(lambda: wire.heard(Ack))] == [8]
        assert await service.pool.fetchval("SELECT count(*) FROM tape_chunks") == 1
    assert await service.pool.fetchval("SELECT linked_replica FROM ffmpeg_nodes") is None


async def test_a_node_whose_reports_wait_is_known_to_live(service: Service, monkeypatch: pytest.MonkeyPatch) -> None:
    """However long: its heartbeats are not kept, for the next one says it all again."""
    waiting: list[CaptureReport] = []

    async def report(_self: CaptureCommands, _node_id: str, said: CaptureReport) -> None:
        waiting.append(said)
        await asyncio.Event().wait()

    monkeypatch.setattr(CaptureCommands, "report", report)
    await service.node()
    links = NodeLinks(service.captures, "replica")
    beat = Heartbeat(load=NodeLoad(), captures=(CaptureReport(capture_id="c", epoch=1, state=CaptureState.PREPARED),))
    heard = "SELECT last_heartbeat > clock_timestamp() - interval '1 minute' FROM ffmpeg_nodes"
    async with linked(links, "node-1") as wire:
        wire.say(Hello(node_id="node-1", version="1"))

        async def lives() -> bool:
            wire.say(beat)
            await links.flush_tick()
            return await service.pool.fetchval(heard)

        for _ in range(20):
            await service.pool.execute("UPDATE ffmpeg_nodes SET last_heartbeat = last_heartbeat - interval '1 hour'")
            await eventually(lives)
        assert len(waiting) == 1
        (session,) = links._sessions.values()
        assert session.inbox.qsize() <= INBOX_BEATS


async def test_a_heartbeat_does_not_overtake_the_hello_before_it(service: Service) -> None:
    """Else the node would be given captures before it is known what it can do."""
    await service.node()
    links = NodeLinks(service.captures, "replica")
    async with linked(links, "node-1") as wire:
        await eventually(lambda: wire.heard(Desired))
        async with service.pool.acquire() as other, other.transaction():
            await other.execute("SELECT FROM ffmpeg_nodes WHERE id = 'node-1' FOR UPDATE")
            wire.say(Hello(node_id="node-1", version="1", codecs=("opus",)))
            wire.say(Heartbeat(load=NodeLoad(cpu_percent=12.5)))
            await eventually(wire.up.empty)
            async with asyncio.timeout(3):
                await links.flush_tick()

        async def load_kept() -> bool:
            await links.flush_tick()
            return (await service.pool.fetchval("SELECT load FROM ffmpeg_nodes")).get("cpuPercent") == 12.5

        await eventually(load_kept)


async def test_only_what_needs_no_more_is_heard_at_once(service: Service) -> None:
    await service.node()
    links = NodeLinks(service.captures, "replica")
    beat = Heartbeat(load=NodeLoad(cpu_percent=12.5)).to_json()
    report = CaptureReport(capture_id="unknown", epoch=1, state=CaptureState.PREPARED)
    news = Heartbeat(load=NodeLoad(), captures=(report,)).to_json()
    progress = FinalizeProgress(job_id="unknown", attempt=1, phase="fetch")
    async with linked(links, "node-1") as wire:
        await eventually(lambda: wire.heard(Desired))
        for text in (news, Heartbeat(load=NodeLoad(), finalizing=(progress,)).to_json(), beat[:-1], "nonsense"):
            assert not wire.hear(text)
        assert wire.hear(beat)
        await links.flush_tick()
        assert await service.pool.fetchval("SELECT load ->> 'cpuPercent' FROM ffmpeg_nodes") == "12.5"
        async with service.pool.acquire() as other, other.transaction():
            await other.execute("SELECT FROM ffmpeg_nodes WHERE id = 'node-1' FOR UPDATE")
            wire.say(Hello(node_id="node-1", version="1", codecs=("opus",)))
            await eventually(lambda: not wire.hear(beat))
        await eventually(lambda: wire.hear(beat))
        wire.up.put_nowait(news)
        await eventually(lambda: wire.hear(news))


async def test_a_lost_hint_is_found_by_polling(service: Service) -> None:
    await service.node()
    links = NodeLinks(service.captures, "replica")
    async with linked(links, "node-1") as wire:
        await eventually(lambda: wire.heard(Desired))
        await service.pool.execute("UPDATE ffmpeg_nodes SET desired_revision = desired_revision + 1")
        await links.poll_tick()
        await eventually(lambda: len(wire.heard(Desired)) == 2)


async def test_a_newer_link_replaces_the_older(service: Service) -> None:
    await service.node()
    links = NodeLinks(service.captures, "replica")
    async with linked(links, "node-1") as older:
        await eventually(lambda: older.heard(Desired))
        async with linked(links, "node-1") as newer:
            await eventually(lambda: newer.heard(Desired))
            assert older.closed == REPLACED
            assert await service.pool.fetchval("SELECT linked_replica FROM ffmpeg_nodes") == "replica"


async def test_a_node_that_comes_back_at_once_is_linked(service: Service) -> None:
    """However the end of its old link and the beginning of the new one fall together."""
    await service.node()
    links = NodeLinks(service.captures, "replica")
    for _ in range(20):
        async with linked(links, "node-1") as wire:
            await eventually(lambda wire=wire: wire.heard(Desired))
            wire.up.put_nowait(None)
            await eventually(lambda: links.count == 0)
            async with linked(links, "node-1") as again:
                await eventually(lambda again=again: again.heard(Desired))
                assert await service.pool.fetchval("SELECT linked_replica FROM ffmpeg_nodes") == "replica"


async def test_links_that_come_and_go_together(service: Service) -> None:
    links, other = NodeLinks(service.captures, "replica"), NodeLinks(service.captures, "other")
    ids = [f"node-{number}" for number in range(10)]
    for node_id in ids:
        await service.node(node_id)
    linked_to = "SELECT array_agg(linked_replica ORDER BY id) FROM ffmpeg_nodes"
    async with AsyncExitStack() as stack:
        wires = [await stack.enter_async_context(linked(links, node_id)) for node_id in ids]
        for node_id, wire in zip(ids, wires, strict=True):
            wire.say(Hello(node_id=node_id, version="1", storages=("", node_id[-1]), codecs=("opus",)))
        await eventually(lambda: all(wire.heard(Desired) for wire in wires))

        async def introduced() -> bool:
            rows = await service.pool.fetch("SELECT storages, codecs FROM ffmpeg_nodes ORDER BY id")
            return [tuple(row) for row in rows] == [(["", node_id[-1]], ["opus"]) for node_id in ids]

        await eventually(introduced)
        assert await service.pool.fetchval(linked_to) == ["replica"] * 10
        # one goes to another replica before the first has seen it go
        await stack.enter_async_context(linked(other, "node-3"))
        await eventually(lambda: other.count)
    held = await service.pool.fetch("SELECT linked_replica, unlinked_at FROM ffmpeg_nodes ORDER BY id")
    assert [row["linked_replica"] for row in held] == [None] * 10
    assert all(row["unlinked_at"] for row in held)


async def test_what_is_not_of_the_protocol_ends_the_link(service: Service) -> None:
    await service.node()
    async with linked(NodeLinks(service.captures, "replica"), "node-1") as wire:
        wire.up.put_nowait('{"type": "nonsense"}')
        await eventually(lambda: wire.closed == PROTOCOL_ERROR)


async def test_goaway(service: Service) -> None:
    await service.node()
    links = NodeLinks(service.captures, "replica")
    async with linked(links, "node-1") as wire:
        await eventually(lambda: wire.heard(Desired))
        await links.goaway()
        assert wire.heard(Goaway)


async def test_a_room_server_is_asked_over_its_link(service: Service) -> None:
    await service.room_server()
    links = RoomLinks(service.commands.db, "replica", 5.0)
    async with linked(links, "room-server-1") as wire:
        server = await eventually(lambda: links.get("room-server-1"))
        wire.say(RoomHeartbeat(server_id="room-server-1", rooms=3, peers=9))

        async def beaten() -> bool:
            return await service.pool.fetchval("SELECT peers FROM room_servers") == 9

        await eventually(beaten)
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(server.tell(StopForwarding(job_id="j", epoch=1)))
            (text,) = await eventually(lambda: wire.down)
            wire.say(Done(request_id=ROOM_REQUEST.validate_json(text).request_id))
        assert links.linked == ["room-server-1"]
    assert links.linked == []


async def test_a_room_server_that_is_let_go_answers_first_is_asked_no_more_and_not_suspected(service: Service) -> None:
    await service.room_server()
    links = RoomLinks(service.commands.db, "replica", 5.0)
    async with linked(links, "room-server-1") as wire:
        server = await eventually(lambda: links.get("room-server-1"))
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(server.tell(StopForwarding(job_id="j", epoch=1)))
            (text,) = await eventually(lambda: wire.down)
            tasks.create_task(links.release(1))
            await eventually(lambda: links.linked == [])
            assert wire.closed is None
            wire.say(Done(request_id=ROOM_REQUEST.validate_json(text).request_id))
        assert wire.closed == GOING_AWAY
    held = await service.pool.fetchrow("SELECT linked_replica, unlinked_at FROM room_servers")
    assert tuple(held) == (None, None)


async def test_a_room_server_that_does_not_answer_is_let_go_all_the_same(
    service: Service, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(room_links, "SETTLE_S", 0.05)
    await service.room_server()
    links = RoomLinks(service.commands.db, "replica", 5.0)
    async with linked(links, "room-server-1") as wire:
        server = await eventually(lambda: links.get("room-server-1"))
        async with asyncio.TaskGroup() as tasks:
            asking = tasks.create_task(_unanswered(server))
            await eventually(lambda: wire.down)
            await links.goaway()
        assert wire.closed == GOING_AWAY
        assert asking.result() == "room-server-1 closed its link"


async def _unanswered(server: LinkedRoomServer) -> str:
    with pytest.raises(RoomServerUnreachable) as caught:
        await server.tell(StopForwarding(job_id="j", epoch=1))
    return caught.value.message


@pytest.mark.parametrize("kind", ["ffmpeg-node", "room-server"])
async def test_a_link_that_cannot_be_written_down_is_none(service: Service, kind: NodeKind) -> None:
    async def away(_conn: Connection) -> None:
        raise Unavailable("the database is away")

    db = replace(service.commands.db, guard=away)
    links = NodeLinks(replace(service.captures, db=db), "here") if kind == "ffmpeg-node" else RoomLinks(db, "here", 1.0)
    with pytest.raises(Unavailable):
        await links.serve("one", Wire())
    assert links.count == 0
