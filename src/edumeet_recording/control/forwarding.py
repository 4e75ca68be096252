"""Tells room servers where to send, and when to stop: what is prepared gets forwarded, what is over does not."""

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

import structlog

from edumeet_recording.control.room_links import RoomLinks
from edumeet_recording.control.room_servers import note_lost, note_returned
from edumeet_recording.control.transitions import retry_at
from edumeet_recording.domain.capture import StreamState
from edumeet_recording.domain.codecs import Kind
from edumeet_recording.domain.errors import Unavailable
from edumeet_recording.domain.job import CAPTURING, Reason
from edumeet_recording.rooms.base import RoomServer, RoomServerRefused, RoomServerUnreachable
from edumeet_recording.store import forwardings, jobs, nodes
from edumeet_recording.store.captures import Capture
from edumeet_recording.store.forwardings import Forwarding
from edumeet_recording.store.transaction import Channel, Transactor, Tx
from edumeet_recording.wire.node_link import Stream
from edumeet_recording.wire.room_link import (
    Configured,
    ConfigureForwarding,
    RequestedStream,
    RequestKeyFrameOf,
    SentStream,
    StopForwarding,
    TargetNode,
    TargetPort,
)

log = structlog.get_logger()

ASK_AGAIN_S, ASK_AGAIN_MOST_S = 2.0, 20.0
"""A room server is asked for what a peer does not publish after the first pause, then after ever longer ones."""
STOP_ATTEMPTS = 120
"""A room server that cannot be told to stop for an hour is gone, and its forwardings with it."""
KEY_FRAME_S = 10.0
"""Between two requests for a key frame of one job: six a minute, which is what nodes keep to (`node/key_frames.py`)."""
LOST_S = 60.0
"""A lost capture is sent to for this long where nobody follows it but another role receives: it may only be cut off."""


@dataclass(slots=True)
class ForwardingLoop:
    """One replica's share of the room servers: those linked here, and on the leader those without a link.

    Requests run on `tasks` beyond the tick that began them: a slow room server holds up nobody else. What comes of the
    leader's share is written by `led`, which refuses who leads no more.
    """

    db: Transactor
    led: Transactor
    links: RoomLinks
    at_url: Callable[[str], RoomServer]
    leading: Callable[[], bool]
    tasks: asyncio.TaskGroup
    _busy: dict[str, asyncio.Task[None]] = field(default_factory=dict[str, asyncio.Task[None]])

    async def tick(self) -> None:
        """Begin to tell every room server what it is still to be told."""
        linked, leading = self.links.linked, self.leading()
        busy = self._busy.keys()
        start = await self.db.read(lambda tx: forwardings.to_forward(tx.conn, linked, leading, tx.now, busy))
        lost_for, pause = timedelta(seconds=LOST_S), timedelta(seconds=KEY_FRAME_S)
        stop = await self.db.read(
            lambda tx: forwardings.to_unforward(
                tx.conn, linked, leading, tx.now, lost_before=tx.now - lost_for, busy=busy
            )
        )
        broken = await self.db.read(lambda tx: forwardings.without_key_frame(tx.conn, linked, leading, tx.now - pause))
        for tell, found in ((_Telling.configure, start), (_Telling.stop, stop), (_Telling.ask_key_frame, broken)):
            for forwarding in found:
                self._begin(tell, forwarding)
        if forwardings.AT_ONCE in {len(start), len(stop)}:
            self.db.notifier.hint(Channel.FORWARDING)  # there are more, and they need not wait for the next tick

    def close(self) -> None:
        """Wait for no answer any more: who leads next asks again."""
        for task in self._busy.values():
            task.cancel()

    def _begin(self, tell: Callable[["_Telling"], Awaitable[None]], forwarding: Forwarding) -> None:
        if forwarding.capture.id not in self._busy:
            telling = self._telling(forwarding)
            self._busy[forwarding.capture.id] = self.tasks.create_task(self._tell(telling, tell))

    async def _tell(self, telling: "_Telling", tell: Callable[["_Telling"], Awaitable[None]]) -> None:
        capture_id = telling.capture.id
        try:
            await tell(telling)
        except Unavailable as error:
            log.info("forwarding_waits", capture_id=capture_id, reason=error.message)
        except Exception:
            # the capture is still to be told, and the next tick begins anew
            log.exception("forwarding_broke", capture_id=capture_id)
        finally:
            del self._busy[capture_id]

    def _telling(self, forwarding: Forwarding) -> "_Telling":
        linked = self.links.get(forwarding.room_server_id)
        if linked is not None:
            return _Telling(self.db, linked, forwarding)
        return _Telling(self.led, self.at_url(forwarding.room_server_url), forwarding)


@dataclass(frozen=True, slots=True)
class _Telling:
    """What a room server is told of a capture, and what comes of it."""

    db: Transactor
    server: RoomServer
    forwarding: Forwarding

    @property
    def capture(self) -> Capture:
        return self.forwarding.capture

    async def configure(self) -> None:
        """Have it send, or ask again what it sends."""
        capture = self.capture
        if capture.forwarding == "configured":
            await self._ask_again()
            return
        try:
            answer = await self.server.configure(request_of(self.forwarding))
            streams = sent_streams(capture.streams, answer)
        except RoomServerUnreachable as error:
            await self._failed(Reason.ROOM_SERVER_UNREACHABLE, error.message)
        except RoomServerRefused as error:
            await self._failed(Reason.ROOM_SERVER_REFUSED, error.message)
        else:
            if capture.forwarding == "none":
                await self._configured(streams)
            else:
                await self._confirmed(streams)

    async def _configured(self, streams: tuple[Stream, ...]) -> None:
        capture = self.capture

        async def work(tx: Tx) -> None:
            await jobs.locked(tx.conn, capture.job_id)
            again = ask_again_at(streams, {}, 0, tx.now)
            if await forwardings.forward(tx.conn, capture.id, streams, again) is not None:
                await _tell_streams(tx, capture)

        await self.db.run(work)

    async def _ask_again(self) -> None:
        """Ask for streams that are not sent yet, or not any more; where there are none, the question comes again."""
        capture = self.capture
        try:
            answer = await self.server.configure(request_of(self.forwarding))
            streams = renewed(capture.streams, answer)
        except (RoomServerUnreachable, RoomServerRefused) as error:
            log.info("no_further_streams", job_id=capture.job_id, detail=error.message)
            streams = capture.streams
        former = [old for old, new in zip(capture.streams, streams, strict=True) if old != new and old.ssrc is not None]

        async def work(tx: Tx) -> None:
            await jobs.locked(tx.conn, capture.job_id)
            again = ask_again_at(streams, capture.stats, capture.streams_asked, tx.now)
            renew = forwardings.renew_streams(tx.conn, capture, streams=streams, former=former, retry_at=again)
            if await renew is not None and streams != capture.streams:
                await _tell_streams(tx, capture)

        await self.db.run(work)

    async def _confirmed(self, streams: tuple[Stream, ...]) -> None:
        """It was away, and was asked again: either it still sends what it did, or the next epoch must follow."""
        capture = self.capture
        known = [(old, new) for old, new in zip(capture.streams, streams, strict=True) if old.ssrc is not None]
        same = all(old == new for old, new in known)

        async def work(tx: Tx) -> None:
            job = await jobs.locked(tx.conn, capture.job_id)
            if not await forwardings.settle_doubt(tx.conn, capture.id, "configured" if same else "changed"):
                return
            if same and streams != capture.streams:
                await forwardings.ask_again(tx.conn, capture.id, tx.now)
            if same and job is not None:
                await note_returned(tx, job)
            tx.hint(Channel.DISPATCH)

        await self.db.run(work)

    async def _failed(self, reason: Reason, detail: str) -> None:
        capture = self.capture
        log.warning("forwarding_failed", job_id=capture.job_id, reason=reason, detail=detail)

        async def work(tx: Tx) -> None:
            job = await jobs.locked(tx.conn, capture.job_id)
            again = retry_at(capture.forwarding_attempts, tx.now)
            if not await forwardings.fail_forwarding(tx.conn, capture, detail, again):
                return
            if capture.forwarding != "none":
                # it records already, or did: whoever has come back and refuses has lost what it sent
                if job is not None and reason is Reason.ROOM_SERVER_REFUSED:
                    await note_lost(tx, job, f"it does not send any more: {detail}")
                return
            if job is None or job.status not in CAPTURING:
                return
            data = {"reason": reason, "detail": detail, "attempt": capture.forwarding_attempts + 1}
            await jobs.note(
                tx.conn, capture.job_id, event="forwarding_failed", now=tx.now, data=data, reason=reason, detail=detail
            )
            tx.hint(Channel.EVENTS)

        await self.db.run(work)

    async def ask_key_frame(self) -> None:
        """Have the publisher asked for a key frame; where that cannot be, it is asked for again after the pause."""
        capture = self.capture
        try:
            await self.server.tell(RequestKeyFrameOf(job_id=capture.job_id))
        except (RoomServerUnreachable, RoomServerRefused) as error:
            log.info("no_key_frame_asked", job_id=capture.job_id, detail=error.message)
        await self.db.run(lambda tx: forwardings.key_frame_asked(tx.conn, capture.id, tx.now))

    async def stop(self) -> None:
        """Have it send no more."""
        capture = self.capture
        error: str | None = None
        try:
            await self.server.tell(StopForwarding(job_id=capture.job_id, epoch=capture.epoch))
        except RoomServerRefused as refused:
            error = refused.message
        except RoomServerUnreachable as unreachable:
            error = unreachable.message
            if capture.forwarding_attempts < STOP_ATTEMPTS:
                await self._stop_later(unreachable.message)
                return
        await self.db.run(lambda tx: forwardings.end_forwarding(tx.conn, capture.id, error))

    async def _stop_later(self, detail: str) -> None:
        capture = self.capture
        await self.db.run(
            lambda tx: forwardings.fail_forwarding(
                tx.conn, capture, detail, retry_at(capture.forwarding_attempts, tx.now)
            )
        )


async def _tell_streams(tx: Tx, capture: Capture) -> None:
    """The node is to know the capture's new streams, and everybody that media is on its way."""
    await nodes.raise_revision(tx.conn, capture.node_id)
    data = {"epoch": capture.epoch, "nodeId": capture.node_id, "ip": capture.ip, "ports": capture.ports}
    await jobs.note(tx.conn, capture.job_id, event="rtp_forwarding", now=tx.now, data=data)
    tx.hint(Channel.NODE, capture.node_id)
    tx.hint(Channel.EVENTS)


def ask_again_at(streams: tuple[Stream, ...], stats: dict[str, Any], asked: int, now: datetime) -> datetime | None:
    """When to ask for streams that were never sent, or have stalled; None where there are none."""
    stalled = {one["index"] for one in stats.get("streams", ()) if one.get("state") == StreamState.STALLED}
    if all(stream.ssrc is not None and stream.index not in stalled for stream in streams):
        return None
    return now + timedelta(seconds=min(ASK_AGAIN_S * 2 ** min(asked, 10), ASK_AGAIN_MOST_S))


def request_of(wanted: Forwarding) -> ConfigureForwarding:
    """What a room server is asked for a prepared capture."""
    capture = wanted.capture
    if capture.ip is None:
        raise Unavailable(f"capture {capture.id} has no address yet")
    ports = {port["index"]: port for port in capture.ports}
    asked = {stream["index"]: stream for stream in wanted.requested}
    return ConfigureForwarding(
        job_id=capture.job_id,
        epoch=capture.epoch,
        role=capture.role,
        room_id=wanted.room_id,
        peer_id=wanted.peer_id,
        target_node=TargetNode(
            ip=capture.ip,
            ports=tuple(TargetPort.model_validate(ports[stream.index]) for stream in capture.streams),
        ),
        srtp=capture.streams[0].srtp_ours,
        rtp_streams=tuple(
            RequestedStream(
                index=stream.index,
                kind=Kind(stream.kind),
                port=ports[stream.index]["port"],
                rtcp_port=ports[stream.index]["rtcpPort"],
                payload_type=asked[stream.index]["payload_type"],
                ssrc=asked[stream.index]["ssrc"],
                codec_name=stream.codec,
                clock_rate=stream.clock_rate,
                channels=stream.channels,
            )
            for stream in capture.streams
        ),
    )


def sent_streams(expected: tuple[Stream, ...], answer: Configured) -> tuple[Stream, ...]:
    """The expected streams as they will really be sent; raises `RoomServerRefused` where there is none of them.

    A stream the peer does not publish (its camera is off) stays as it was expected, from the same host as the others.
    """
    sent = {stream.index: stream for stream in answer.rtp_streams}
    hosts = {stream.source_ip for stream in sent.values()}
    if not sent:
        raise RoomServerRefused("the room server forwards none of the streams")
    host = hosts.pop() if len(hosts) == 1 else None
    return tuple(
        _as_sent(stream, sent[stream.index]) if stream.index in sent else stream.model_copy(update={"source_ip": host})
        for stream in expected
    )


def renewed(known: tuple[Stream, ...], answer: Configured) -> tuple[Stream, ...]:
    """The streams of a capture after its room server was asked again; one it does not send stays as it was known."""
    sent = {stream.index: stream for stream in answer.rtp_streams}
    return tuple(_as_sent(stream, sent[stream.index]) if stream.index in sent else stream for stream in known)


def _as_sent(expected: Stream, sent: SentStream) -> Stream:
    if sent.kind is not expected.kind:
        raise RoomServerRefused(f"stream {expected.index} was asked for as {expected.kind}, and is {sent.kind}")
    if expected.srtp_ours is not None and sent.srtp is None:
        raise RoomServerRefused(f"stream {expected.index} was asked for encrypted, and would come in the clear")
    return Stream(
        index=expected.index,
        kind=sent.kind,
        codec=sent.codec_name,
        payload_type=sent.payload_type,
        ssrc=sent.ssrc,
        clock_rate=sent.clock_rate,
        channels=sent.channels,
        rtx_payload_type=sent.rtx_payload_type,
        rtx_ssrc=sent.rtx_ssrc,
        source_ip=sent.source_ip,
        source_port=sent.source_port,
        srtp=sent.srtp,
        srtp_ours=expected.srtp_ours,
    )
