"""Sorts a capture's records into sources; retransmissions go back into the stream they belong to (RFC 4588 §4)."""

from collections.abc import Iterator, Sequence
from typing import NamedTuple

from edumeet_recording.media.errors import MediaError
from edumeet_recording.media.reorder import Extender
from edumeet_recording.media.rtcp import SenderReport, parse_rtcp
from edumeet_recording.media.rtp import RtpPacket, is_rtcp, parse_rtp
from edumeet_recording.media.tape import Record, RecordKind
from edumeet_recording.wire.node_link import Stream


class Source(NamedTuple):
    """One SSRC of one stream of one capture; `capture` is its number in the task."""

    capture: int
    stream: int
    ssrc: int


class Arrived(NamedTuple):
    """A media packet, its numbers extended; `again` where it came as a retransmission."""

    source: Source
    sequence: int
    timestamp: int
    arrival_ns: int
    packet: RtpPacket
    again: bool


class CaptureDemux:
    """Takes the records of one capture in the order they were written."""

    def __init__(self, capture: int, streams: Sequence[Stream]) -> None:
        self._capture = capture
        self._streams = {stream.index: stream for stream in streams}
        self._sources: dict[tuple[int, int], tuple[Source, Extender]] = {}
        self._newest: dict[int, int] = {}
        self.foreign = 0
        """Datagrams that do not parse, or are none of their stream's."""

    def media(self, record: Record) -> Arrived | None:
        """The media packet of a record; None where it is RTCP, none of ours, or of a stream that is not wanted."""
        stream = self._streams.get(record.stream)
        if stream is None or record.kind != RecordKind.RTP or is_rtcp(record.payload):
            return None
        try:
            packet = parse_rtp(record.payload)
        except MediaError:
            self.foreign += 1
            return None
        if packet.payload_type == stream.payload_type and stream.ssrc in (None, packet.ssrc):
            return self._arrived(stream, packet, record.arrival_ns, again=False)
        original = self._original(stream, packet)
        if original is None:
            self.foreign += 1
            return None
        return self._arrived(stream, original, record.arrival_ns, again=True)

    def reports(self, record: Record) -> Iterator[tuple[Source, int, int]]:
        """The sender reports of a record: source, NTP time in nanoseconds, RTP timestamp extended."""
        if record.kind != RecordKind.RTCP and not is_rtcp(record.payload):
            return
        try:
            packets = parse_rtcp(record.payload)
        except MediaError:
            self.foreign += 1
            return
        for packet in packets:
            if not isinstance(packet, SenderReport):
                continue
            for (_, ssrc), (source, extender) in self._sources.items():
                if ssrc == packet.ssrc:
                    yield source, packet.ntp * 1_000_000_000 >> 32, extender.timestamp(packet.rtp_timestamp)

    def _original(self, stream: Stream, packet: RtpPacket) -> RtpPacket | None:
        """The packet that a retransmission carries: its payload begins with the original sequence number."""
        ssrc = stream.ssrc if stream.ssrc is not None else self._newest.get(stream.index)
        is_rtx = packet.payload_type == stream.rtx_payload_type and stream.rtx_ssrc in (None, packet.ssrc)
        if not is_rtx or ssrc is None or len(packet.payload) < 2:
            return None
        return packet._replace(
            payload_type=stream.payload_type,
            sequence=int.from_bytes(packet.payload[:2]),
            ssrc=ssrc,
            payload=packet.payload[2:],
        )

    def _arrived(self, stream: Stream, packet: RtpPacket, arrival_ns: int, *, again: bool) -> Arrived:
        known = self._sources.get((stream.index, packet.ssrc))
        if known is None:
            known = Source(self._capture, stream.index, packet.ssrc), Extender(stream.clock_rate)
            self._sources[stream.index, packet.ssrc] = known
        self._newest[stream.index] = packet.ssrc
        source, extender = known
        sequence, timestamp = extender.extend(packet.sequence, packet.timestamp)
        return Arrived(source, sequence, timestamp, arrival_ns, packet, again)
