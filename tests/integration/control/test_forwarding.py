"""Room servers are told what to forward and when to stop, again until they listen."""

import asyncio
from dataclasses import replace

import pytest
from tests.integration.control.conftest import Service

from edumeet_recording.control.forwarding import ForwardingLoop
from edumeet_recording.control.room_links import RoomLinks
from edumeet_recording.domain.codecs import Codec, Kind
from edumeet_recording.domain.job import JobStatus, Reason
from edumeet_recording.rooms.base import RoomServerRefused, RoomServerUnreachable
from edumeet_recording.store import forwardings
from edumeet_recording.store.transaction import Channel
from edumeet_recording.wire.node_link import SrtpKey
from edumeet_recording.wire.room_link import (
    Configured,
    ConfigureForwarding,
    RequestKeyFrameOf,
    SentStream,
    StopForwarding,
)


class ARoomServer:
    """Answers as told, and remembers what it was asked."""

    def __init__(self) -> None:
        self.asked: list[ConfigureForwarding | StopForwarding | RequestKeyFrameOf] = []
        self.failure: Exception | None = None
        self.leaves_out: set[int] = set()
        self.srtp: SrtpKey | None = None

    async def configure(self, request: ConfigureForwarding) -> Configured:
        await self.tell(request)
        return Configured(
            rtp_streams=tuple(
                SentStream(
                    index=stream.index,
                    kind=stream.kind,
                    codec_name=stream.codec_name,
                    payload_type=100 + stream.index,
                    ssrc=1000 + stream.index,
                    clock_rate=stream.clock_rate,
                    source_ip="127.0.0.1",
                    srtp=self.srtp,
                )
                for stream in request.rtp_streams
                if stream.index not in self.leaves_out
            )
        )

    async def tell(self, request: ConfigureForwarding | StopForwarding | RequestKeyFrameOf) -> None:
        if self.failure is not None:
            raise self.failure
        self.asked.append(request)


async def tick(loop: ForwardingLoop) -> None:
    """A tick, and all that it began."""
    async with asyncio.TaskGroup() as loop.tasks:
        await loop.tick()


async def prepared(service: Service, room: ARoomServer) -> tuple[str, ForwardingLoop]:
    await service.room_server()
    await service.node()
    job_id = await service.start(forwarding="room-server")
    (capture,) = (await service.desired()).captures
    assert not capture.confirmed
    assert [stream.ssrc for stream in capture.streams] == [None, None], "the room server picks its own"
    await service.prepare()
    links = RoomLinks(service.commands.db, "replica", 1.0)
    db = service.commands.db
    return job_id, ForwardingLoop(db, db, links, lambda _url: room, lambda: True, asyncio.TaskGroup())


async def test_a_prepared_capture_is_forwarded_once_and_its_streams_confirmed(service: Service) -> None:
    room = ARoomServer()
    job_id, loop = await prepared(service, room)
    await tick(loop)
    await tick(loop)
    (request,) = room.asked
    assert isinstance(request, ConfigureForwarding)
    assert (request.job_id, request.epoch, request.peer_id) == (job_id, 1, "peer-456")
    assert [(s.index, s.port, s.rtcp_port, s.ssrc) for s in request.rtp_streams] == [
        (0, 40000, 40001, 12345678),
        (1, 40002, 40003, 87654321),
    ]
    (capture,) = (await service.desired()).captures
    assert capture.confirmed
    assert [(s.codec, s.kind, s.payload_type, s.ssrc, s.source_ip) for s in capture.streams] == [
        (Codec.OPUS, Kind.AUDIO, 100, 1000, "127.0.0.1"),
        (Codec.H264, Kind.VIDEO, 101, 1001, "127.0.0.1"),
    ]
    assert (await service.events(job_id))[-1] == "rtp_forwarding"


async def test_while_a_room_server_takes_its_time_its_capture_is_read_no_more(service: Service) -> None:
    room = ARoomServer()
    await prepared(service, room)
    db, now = service.commands.db, await service.pool.fetchval("SELECT clock_timestamp()")
    (found,) = await db.read(lambda tx: forwardings.to_forward(tx.conn, [], leading=True, now=now, busy=()))
    busy = {found.capture.id}
    assert not await db.read(lambda tx: forwardings.to_forward(tx.conn, [], leading=True, now=now, busy=busy))


@pytest.mark.parametrize(("at_once", "again"), [(1, True), (2, False)])
async def test_what_a_tick_leaves_out_does_not_wait_for_the_next(
    service: Service, monkeypatch: pytest.MonkeyPatch, at_once: int, again: bool
) -> None:
    monkeypatch.setattr(forwardings, "AT_ONCE", at_once)
    _, loop = await prepared(service, ARoomServer())
    heard: list[str] = []
    service.commands.db.notifier.tell_here(lambda channel, _payload: heard.append(channel))
    await tick(loop)
    assert (Channel.FORWARDING in heard) == again


async def test_an_unreachable_room_server_is_named_and_asked_again(service: Service) -> None:
    room = ARoomServer()
    job_id, loop = await prepared(service, room)
    room.failure = RoomServerUnreachable("POST http://room-server:3443: no address")
    await tick(loop)
    job = await service.job(job_id)
    assert (job.status, job.reason) == (JobStatus.INITIALIZING, Reason.ROOM_SERVER_UNREACHABLE)
    assert "room-server:3443" in (job.reason_detail or "")
    room.failure = None
    await tick(loop)
    assert room.asked == [], "not before its back-off is over"
    await service.pool.execute("UPDATE captures SET forwarding_retry_at = NULL")
    await tick(loop)
    assert len(room.asked) == 1


async def test_a_refusal_and_an_answer_without_streams_are_reasons(service: Service) -> None:
    room = ARoomServer()
    job_id, loop = await prepared(service, room)
    room.failure = RoomServerRefused("no such peer", code="no_such_peer")
    await tick(loop)
    assert (await service.job(job_id)).reason == Reason.ROOM_SERVER_REFUSED
    room.failure, room.leaves_out = None, {0, 1}
    await service.pool.execute("UPDATE captures SET forwarding_retry_at = NULL")
    await tick(loop)
    assert (await service.job(job_id)).reason_detail == "the room server forwards none of the streams"


async def test_a_peer_without_camera_is_recorded_all_the_same(service: Service) -> None:
    room = ARoomServer()
    room.leaves_out = {1}
    _, loop = await prepared(service, room)
    await tick(loop)
    (capture,) = (await service.desired()).captures
    assert [(stream.ssrc, stream.source_ip) for stream in capture.streams] == [(1000, "127.0.0.1"), (None, "127.0.0.1")]


async def test_stopping_is_told_until_heard(service: Service) -> None:
    room = ARoomServer()
    job_id, loop = await prepared(service, room)
    await tick(loop)
    await service.commands.stop(job_id, None)
    room.failure = RoomServerUnreachable("away")
    await tick(loop)
    room.failure = None
    await service.pool.execute("UPDATE captures SET forwarding_retry_at = NULL")
    await tick(loop)
    await tick(loop)
    assert [request.type for request in room.asked] == ["configure-rtp-forwarding", "stop-rtp-forwarding"]


async def test_only_the_leader_speaks_to_room_servers_without_a_link(service: Service) -> None:
    room = ARoomServer()
    _, loop = await prepared(service, room)
    follower = replace(loop, leading=lambda: False)
    await tick(follower)
    assert room.asked == []


async def test_a_stop_does_not_forget_why_there_is_no_media(service: Service) -> None:
    room = ARoomServer()
    job_id, loop = await prepared(service, room)
    room.failure = RoomServerUnreachable("POST http://room-server:3443: no address")
    await tick(loop)
    await service.commands.stop(job_id, None)
    await service.drain(await service.pool.fetchval("SELECT id FROM captures"))
    job = await service.job(job_id)
    assert (job.status, job.reason) == (JobStatus.FAILED, Reason.ROOM_SERVER_UNREACHABLE)


async def test_a_slow_room_server_holds_up_nobody_and_is_asked_once(service: Service) -> None:
    room = ARoomServer()
    _, loop = await prepared(service, room)
    answering = asyncio.Event()
    configure = room.configure

    async def slow(request: ConfigureForwarding) -> Configured:
        await answering.wait()
        return await configure(request)

    room.configure = slow
    async with asyncio.TaskGroup() as loop.tasks:
        await loop.tick()
        await loop.tick()
        answering.set()
    assert len(room.asked) == 1


async def test_what_is_under_way_is_left_at_the_end(service: Service) -> None:
    room = ARoomServer()
    _, loop = await prepared(service, room)

    async def never(_request: ConfigureForwarding) -> Configured:
        await asyncio.Event().wait()
        raise AssertionError

    room.configure = never
    async with asyncio.timeout(5), asyncio.TaskGroup() as loop.tasks:
        await loop.tick()
        loop.close()


async def test_a_refusal_that_comes_after_the_end_is_no_event(service: Service) -> None:
    class Slow(ARoomServer):
        async def configure(self, request: ConfigureForwarding) -> Configured:
            await service.commands.cancel(request.job_id, None)
            raise RoomServerUnreachable("gone")

    job_id, loop = await prepared(service, Slow())
    await tick(loop)
    assert (await service.events(job_id))[-1] == "cancelled"
    assert (await service.job(job_id)).reason == Reason.CANCELLED


async def test_what_another_replica_has_told_meanwhile_is_no_failure(service: Service) -> None:
    """The leader's request runs out of time while the room server opens its link to another replica."""
    told = ARoomServer()
    db = service.commands.db

    class Slow(ARoomServer):
        async def configure(self, _request: ConfigureForwarding) -> Configured:
            await tick(ForwardingLoop(db, db, loop.links, lambda _url: told, lambda: True, asyncio.TaskGroup()))
            raise RoomServerUnreachable("timed out")

    job_id, loop = await prepared(service, Slow())
    await tick(loop)
    assert (await service.events(job_id))[-1] == "rtp_forwarding"
    assert (await service.job(job_id)).reason is None
    assert await service.pool.fetchval("SELECT forwarding_error FROM captures") is None
