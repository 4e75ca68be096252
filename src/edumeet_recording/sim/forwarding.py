"""One peer's streams on their way to one node: the sockets of mediasoup's PlainTransports, and what passes them."""

import asyncio
import contextlib
import secrets
import socket
import time
from collections.abc import Callable, Iterable

from edumeet_recording.domain.codecs import CLOCK_RATE_HZ, Codec, Kind
from edumeet_recording.media.errors import MediaError
from edumeet_recording.media.rtcp import FullIntraRequest, Nack, PictureLoss, RtcpPacket, parse_rtcp
from edumeet_recording.sim.consumer import Consumer
from edumeet_recording.sim.encode import CHANNELS, Burst
from edumeet_recording.sim.publisher import Publisher
from edumeet_recording.wire.room_link import ConfigureForwarding, RequestedStream, SentStream

_FIRST_REPORT_S = (0.5, 1.5)
_REPORT_S = {Kind.AUDIO: (4.5, 5.5), Kind.VIDEO: (1.0, 1.5)}
_DATAGRAMS_A_WAKE = 64


class Forwarding:
    """All consumers of one job and epoch, from `configure-rtp-forwarding` until `close`; it never says BYE.

    Streams that the peer does not publish are left out of `streams`. Raises `OSError` where no socket is to be had.
    """

    def __init__(self, request: ConfigureForwarding, publisher: Publisher, listen_ip: str) -> None:
        self._publisher = publisher
        self._flows: dict[int, _Flow] = {}
        self._transports: dict[tuple[int, int], _Transport] = {}
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

    def _transport(self, request: ConfigureForwarding, asked: RequestedStream, listen_ip: str) -> "_Transport":
        """Streams for one port share a transport, and are told apart by SSRC."""
        target = (asked.port, asked.port if request.rtcp_mux else asked.rtcp_port)
        if target not in self._transports:
            self._transports[target] = _Transport(listen_ip, request.target_node.ip, *target, self._hear)
        return self._transports[target]

    def _consume(self, asked: RequestedStream, codec: Codec, transport: "_Transport", cname: str) -> SentStream:
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

    def __init__(self, consumer: Consumer, transport: "_Transport", publisher: Publisher) -> None:
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

    def _forward(self, burst: Burst) -> None:
        for datagram in self.consumer.forward(burst, time.monotonic()):
            self._transport.send_rtp(datagram)

    def _report(self) -> None:
        report = self.consumer.report(time.monotonic())
        if report is not None:
            self._transport.send_rtcp(report)
        self._timer = self._loop.call_later(_within(_REPORT_S[self.consumer.kind]), self._report)


class _Transport:
    """A socket for RTP and, unless muxed, another for RTCP; it hears RTCP from nowhere but where it sends it."""

    def __init__(
        self, listen_ip: str, ip: str, port: int, rtcp_port: int, hear: Callable[[Iterable[RtcpPacket]], None]
    ) -> None:
        self._rtp_target, self._rtcp_target = (ip, port), (ip, rtcp_port)
        self._hear = hear
        self._loop = asyncio.get_running_loop()
        self._rtp = _bound(listen_ip)
        self._rtcp = self._rtp if rtcp_port == port else _bound(listen_ip)
        self.source: tuple[str, int] = self._rtp.getsockname()[:2]
        self._loop.add_reader(self._rtcp, self._read)

    def send_rtp(self, datagram: bytes) -> None:
        _send(self._rtp, datagram, self._rtp_target)

    def send_rtcp(self, datagram: bytes) -> None:
        _send(self._rtcp, datagram, self._rtcp_target)

    def close(self) -> None:
        self._loop.remove_reader(self._rtcp)
        self._rtcp.close()
        self._rtp.close()

    def _read(self) -> None:
        for _ in range(_DATAGRAMS_A_WAKE):
            try:
                datagram, sender = self._rtcp.recvfrom(2048)
            except OSError:
                return
            if sender[:2] == self._rtcp_target:
                with contextlib.suppress(MediaError):
                    self._hear(parse_rtcp(datagram))


def _bound(ip: str) -> socket.socket:
    family = socket.AF_INET6 if ":" in ip else socket.AF_INET
    opened = socket.socket(family, socket.SOCK_DGRAM)
    opened.setblocking(False)
    try:
        opened.bind((ip, 0))
    except OSError:
        opened.close()
        raise
    return opened


def _send(opened: socket.socket, datagram: bytes, target: tuple[str, int]) -> None:
    # A dead port, a full buffer or a route that is gone is the network's loss, not ours.
    with contextlib.suppress(OSError):
        opened.sendto(datagram, target)


def _within(span_s: tuple[float, float]) -> float:
    shortest, longest = span_s
    return shortest + (longest - shortest) * secrets.randbelow(1001) / 1000
