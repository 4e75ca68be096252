"""One peer's streams on their way to one node: consumers on transports, their sender reports, and the feedback."""

import asyncio
import contextlib
import secrets
import time
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from edumeet_recording.domain.codecs import CLOCK_RATE_HZ, Codec, Kind
from edumeet_recording.media.rtcp import FullIntraRequest, Nack, PictureLoss, RtcpPacket
from edumeet_recording.media.rtp import parse_rtp
from edumeet_recording.sim.consumer import Consumer
from edumeet_recording.sim.encode import CHANNELS, Burst
from edumeet_recording.sim.network import Conditions, Path
from edumeet_recording.sim.publisher import Publisher
from edumeet_recording.sim.transport import Transport, random_key
from edumeet_recording.wire.room_link import ConfigureForwarding, RequestedStream, SentStream

_REPORT_ERROR_S = 0.016
"""How far mediasoup's sender reports are off at most; ours are no worse when this machine is overloaded."""

_REPORT_S = {Kind.AUDIO: (4.5, 5.5), Kind.VIDEO: (1.0, 1.5)}


@dataclass(frozen=True, slots=True)
class Delivery:
    """How a peer's media gets from the room server to a node.

    `conditions`: of the network between, None for that of this machine; `hears_rtcp`: whether the way back is open;
    `answers_nack`, `rtx`: whether and how what was lost is sent again; `first_report_s`: when a stream's first sender
    report is sent; `report_error_s`: by how much its clock is off at most; `first_sequence` None: random.
    """

    conditions: Conditions | None = None
    hears_rtcp: bool = True
    answers_nack: bool = True
    rtx: bool = False
    first_report_s: tuple[float, float] = (0.5, 1.5)
    report_error_s: float = 0.0
    first_sequence: int | None = None


@dataclass(slots=True)
class Passage:
    """What became of one stream's packets on their way: `missing` were lost and never came by another attempt.

    `untold` were lost too, but before the first or after the last that came: nothing tells a receiver of those, so none
    can ask for them, and they are not among the `missing`.

    `first_at`, `last_at`: when the first and the last were sent, epoch seconds. `late_s`: how long after it was due the
    latest left; more than a moment is this machine's fault, and tells nothing about who receives.
    """

    first_at: float = 0.0
    last_at: float = 0.0
    sent: int = 0
    lost: int = 0
    missing: int = 0
    untold: int = 0
    late_s: float = 0.0


class Forwarding:
    """All consumers of one job and epoch, from `configure-rtp-forwarding` until `close`; it never says BYE.

    Streams that the peer does not publish are left out of `streams`. With SRTP we encrypt with a key of our own, and
    the request's is for what we hear. Raises `OSError` where no socket is to be had, `MediaError` for a bad key.
    The network's chances are the same ones again for the same peer and epoch.
    """

    def __init__(
        self, request: ConfigureForwarding, publisher: Publisher, listen_ip: str, delivery: Delivery | None = None
    ) -> None:
        self.peer = request.room_id, request.peer_id
        self._publisher = publisher
        self._listen_ip = listen_ip
        self._delivery = delivery or Delivery()
        self._seed = f"{request.peer_id} {request.epoch}"
        self._flows: dict[int, _Flow] = {}
        self._srtp = random_key(request.srtp.suite) if request.srtp else None
        self._transports: dict[tuple[int, int], Transport] = {}
        self._streams: dict[int, SentStream] = {}
        with contextlib.ExitStack() as undo:
            undo.callback(self.close)
            self.consume(request)
            undo.pop_all()

    @property
    def streams(self) -> tuple[SentStream, ...]:
        """What is sent."""
        return tuple(self._streams[index] for index in sorted(self._streams))

    def consume(self, request: ConfigureForwarding) -> None:
        """Send what was asked for and is published by now; raises what making a forwarding does."""
        for asked in request.rtp_streams:
            codec = self._publisher.codec(asked.kind)
            if codec is not None and asked.index not in self._streams:
                transport = self._transport(request, asked, self._listen_ip)
                self._streams[asked.index] = self._consume(asked, codec, transport, cname=request.peer_id)
        self._publisher.request_key_frame()

    def drop(self, kind: Kind) -> None:
        """The producer of a kind is closed: its consumers are, and neither packets nor reports come any more."""
        for flow in [flow for flow in self._flows.values() if flow.consumer.kind is kind]:
            flow.close()
            del self._flows[flow.consumer.ssrc]
        self._streams = {index: stream for index, stream in self._streams.items() if stream.kind is not kind}

    @property
    def passages(self) -> Mapping[Kind, Passage]:
        """What became of the packets so far."""
        return {flow.consumer.kind: flow.passage for flow in self._flows.values()}

    def request_key_frame(self) -> None:
        """Asks the publisher."""
        self._publisher.request_key_frame()

    def restart(self) -> None:
        """The publisher began anew on the same producers: timestamps and sequence numbers jump, SSRCs stay."""
        for flow in self._flows.values():
            flow.consumer.restart()
        self._publisher.request_key_frame()

    def close(self) -> None:
        """Stops sending at once."""
        for flow in self._flows.values():
            flow.close()
        for transport in self._transports.values():
            transport.close()

    def _transport(self, request: ConfigureForwarding, asked: RequestedStream, listen_ip: str) -> Transport:
        """Streams for one port share a transport, and are told apart by SSRC."""
        target = (asked.port, asked.port if request.rtcp_mux else asked.rtcp_port)
        if target not in self._transports:
            conditions = self._delivery.conditions
            path = Path(conditions, f"{self._seed} {len(self._transports)}") if conditions else None
            transport = Transport(listen_ip, request.target_node.ip, *target, hear=self._hear, path=path)
            self._transports[target] = transport
            if self._srtp is not None and request.srtp is not None:
                transport.encrypt(ours=self._srtp, theirs=request.srtp)
        return self._transports[target]

    def _consume(self, asked: RequestedStream, codec: Codec, transport: Transport, cname: str) -> SentStream:
        delivery = self._delivery
        rtx = delivery.rtx and asked.kind is Kind.VIDEO
        consumer = Consumer(codec, cname, first_sequence=delivery.first_sequence, rtx=rtx)
        flow = _Flow(consumer, transport, self._publisher, delivery)
        self._flows[consumer.ssrc] = flow
        ip, port = transport.source
        return SentStream(
            index=asked.index,
            kind=asked.kind,
            codec_name=codec,
            payload_type=consumer.payload_type,
            ssrc=consumer.ssrc,
            clock_rate=CLOCK_RATE_HZ[codec],
            channels=CHANNELS.get(codec),
            rtx_payload_type=consumer.rtx_payload_type,
            rtx_ssrc=consumer.rtx_ssrc,
            source_ip=ip,
            source_port=port,
            srtp=self._srtp,
        )

    def _hear(self, packets: Iterable[RtcpPacket]) -> None:
        if not self._delivery.hears_rtcp:
            return
        for packet in packets:
            match packet:
                case Nack() if packet.media_ssrc in self._flows and self._delivery.answers_nack:
                    self._flows[packet.media_ssrc].retransmit(packet.sequences)
                case PictureLoss() if packet.media_ssrc in self._flows:
                    self._publisher.request_key_frame()
                case FullIntraRequest() if any(ssrc in self._flows for ssrc, _number in packet.requests):
                    self._publisher.request_key_frame()
                case _:
                    pass


class _Flow:
    """A consumer on its transport, fed by the publisher, with its sender reports."""

    def __init__(self, consumer: Consumer, transport: Transport, publisher: Publisher, delivery: Delivery) -> None:
        self.consumer = consumer
        self.passage = Passage()
        self._lost_places: dict[int, int] = {}
        self._came: tuple[int, int] | None = None
        self._transport = transport
        self._report_error_s = delivery.report_error_s
        self._loop = asyncio.get_running_loop()
        self._detach = publisher.attach(consumer.kind, self._forward)
        self._timer = self._loop.call_later(_within(delivery.first_report_s), self._report)

    def retransmit(self, sequences: Iterable[int]) -> None:
        for sequence in sequences:
            for datagram in self.consumer.retransmit((sequence,)):
                if self._transport.send_rtp(datagram) and sequence in self._lost_places:
                    self._arrived(self._lost_places.pop(sequence))
        self._count()

    def close(self) -> None:
        self._timer.cancel()
        self._detach()

    def _forward(self, burst: Burst, due: float) -> None:
        self.passage.late_s = max(self.passage.late_s, time.monotonic() - due)
        for datagram in self.consumer.forward(burst, min(time.monotonic(), due + _REPORT_ERROR_S)):
            self.passage.sent += 1
            self.passage.last_at = time.time_ns() / 1e9
            self.passage.first_at = self.passage.first_at or self.passage.last_at
            if self._transport.send_rtp(datagram):
                self._arrived(self.passage.sent)
            else:
                self.passage.lost += 1
                self._lost_places[parse_rtp(datagram).sequence] = self.passage.sent
        self._count()

    def _arrived(self, place: int) -> None:
        first, last = self._came or (place, place)
        self._came = min(first, place), max(last, place)

    def _count(self) -> None:
        first, last = self._came or (0, 0)
        self.passage.missing = sum(first < place < last for place in self._lost_places.values())
        self.passage.untold = len(self._lost_places) - self.passage.missing

    def _report(self) -> None:
        error_s = _within((-self._report_error_s, self._report_error_s))
        report = self.consumer.report(time.monotonic(), error_s)
        if report is not None:
            self._transport.send_rtcp(report)
        self._timer = self._loop.call_later(_within(_REPORT_S[self.consumer.kind]), self._report)


def _within(span_s: tuple[float, float]) -> float:
    shortest, longest = span_s
    return shortest + (longest - shortest) * secrets.randbelow(1001) / 1000
