"""One peer's streams on their way to one node: consumers on transports, their sender reports, and the feedback."""

import asyncio
import contextlib
import secrets
import time
from collections.abc import Iterable

from edumeet_recording.domain.codecs import CLOCK_RATE_HZ, Codec, Kind
from edumeet_recording.media.rtcp import FullIntraRequest, Nack, PictureLoss, RtcpPacket
from edumeet_recording.sim.consumer import Consumer
from edumeet_recording.sim.encode import CHANNELS, Burst
from edumeet_recording.sim.network import Conditions, Path
from edumeet_recording.sim.publisher import Publisher
from edumeet_recording.sim.transport import Transport, random_key
from edumeet_recording.wire.room_link import ConfigureForwarding, RequestedStream, SentStream

_REPORT_ERROR_S = 0.016
"""How far mediasoup's sender reports are off at most; ours are no worse when this machine is overloaded."""

_FIRST_REPORT_S = (0.5, 1.5)
_REPORT_S = {Kind.AUDIO: (4.5, 5.5), Kind.VIDEO: (1.0, 1.5)}


class Forwarding:
    """All consumers of one job and epoch, from `configure-rtp-forwarding` until `close`; it never says BYE.

    Streams that the peer does not publish are left out of `streams`. With SRTP we encrypt with a key of our own, and
    the request's is for what we hear. Raises `OSError` where no socket is to be had, `MediaError` for a bad key.
    `conditions`: of the network to the node, the same ones again for the same job and epoch.
    """

    def __init__(
        self, request: ConfigureForwarding, publisher: Publisher, listen_ip: str, conditions: Conditions | None = None
    ) -> None:
        self._publisher = publisher
        self._conditions = conditions
        self._seed = f"{request.job_id} {request.epoch}"
        self._flows: dict[int, _Flow] = {}
        self._srtp = random_key(request.srtp.suite) if request.srtp else None
        self._transports: dict[tuple[int, int], Transport] = {}
        streams: list[SentStream] = []
        with contextlib.ExitStack() as undo:
            undo.callback(self.close)
            for asked in request.rtp_streams:
                codec = publisher.media.codec(asked.kind)
                if codec is not None:
                    transport = self._transport(request, asked, listen_ip)
                    streams.append(self._consume(asked, codec, transport, cname=request.peer_id))
            undo.pop_all()
        self.streams = tuple(streams)
        publisher.request_key_frame()

    def request_key_frame(self) -> None:
        """Asks the publisher."""
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
            path = Path(self._conditions, f"{self._seed} {len(self._transports)}") if self._conditions else None
            transport = Transport(listen_ip, request.target_node.ip, *target, hear=self._hear, path=path)
            self._transports[target] = transport
            if self._srtp is not None and request.srtp is not None:
                transport.encrypt(ours=self._srtp, theirs=request.srtp)
        return self._transports[target]

    def _consume(self, asked: RequestedStream, codec: Codec, transport: Transport, cname: str) -> SentStream:
        flow = _Flow(Consumer(codec, cname), transport, self._publisher)
        consumer = flow.consumer
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
            source_ip=ip,
            source_port=port,
            srtp=self._srtp,
        )

    def _hear(self, packets: Iterable[RtcpPacket]) -> None:
        for packet in packets:
            match packet:
                case Nack() if packet.media_ssrc in self._flows:
                    self._flows[packet.media_ssrc].retransmit(packet.sequences)
                case PictureLoss() if packet.media_ssrc in self._flows:
                    self._publisher.request_key_frame()
                case FullIntraRequest() if any(ssrc in self._flows for ssrc, _number in packet.requests):
                    self._publisher.request_key_frame()
                case _:
                    pass


class _Flow:
    """A consumer on its transport, fed by the publisher, with its sender reports."""

    def __init__(self, consumer: Consumer, transport: Transport, publisher: Publisher) -> None:
        self.consumer = consumer
        self._transport = transport
        self._loop = asyncio.get_running_loop()
        self._detach = publisher.attach(consumer.kind, self._forward)
        self._timer = self._loop.call_later(_within(_FIRST_REPORT_S), self._report)

    def retransmit(self, sequences: Iterable[int]) -> None:
        for datagram in self.consumer.retransmit(sequences):
            self._transport.send_rtp(datagram)

    def close(self) -> None:
        self._timer.cancel()
        self._detach()

    def _forward(self, burst: Burst, due: float) -> None:
        for datagram in self.consumer.forward(burst, min(time.monotonic(), due + _REPORT_ERROR_S)):
            self._transport.send_rtp(datagram)

    def _report(self) -> None:
        report = self.consumer.report(time.monotonic())
        if report is not None:
            self._transport.send_rtcp(report)
        self._timer = self._loop.call_later(_within(_REPORT_S[self.consumer.kind]), self._report)


def _within(span_s: tuple[float, float]) -> float:
    shortest, longest = span_s
    return shortest + (longest - shortest) * secrets.randbelow(1001) / 1000
