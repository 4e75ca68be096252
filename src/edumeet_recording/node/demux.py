"""Sorts a capture's records into sources; retransmissions go back into the stream they belong to (RFC 4588 §4)."""

import struct
from collections.abc import Iterator, Sequence
from typing import NamedTuple

from edumeet_recording.media.errors import MediaError
from edumeet_recording.media.reorder import Extender, Ordered
from edumeet_recording.media.rtcp import SenderReport, parse_rtcp
from edumeet_recording.media.rtp import RtpPacket, parse_rtp
from edumeet_recording.media.tape import Record, RecordKind
from edumeet_recording.wire.node_link import Stream

_RTP = int(RecordKind.RTP)
_FIXED_HEADER = struct.Struct("!xBHII")
_ORIGINAL_SEQUENCE = struct.Struct("!H")
_new = tuple.__new__
"""What a NamedTuple's constructor calls, at a third of its cost."""


class Source(NamedTuple):
    """One SSRC of one stream of one capture; `capture` is its number in the task."""

    capture: int
    stream: int
    ssrc: int


class Glimpse(NamedTuple):
    """A media packet by its header alone, its numbers extended; `again` where it came as a retransmission."""

    source: Source
    sequence: int
    timestamp: int
    again: bool


class CaptureDemux:
    """Takes the records of one capture in the order they were written.

    Of `streams` several may have one index: what was sent under other numbers before it was published anew.
    """

    def __init__(self, capture: int, streams: Sequence[Stream]) -> None:
        self._capture = capture
        self._streams: dict[int, list[Stream]] = {}
        for stream in streams:
            self._streams.setdefault(stream.index, []).append(stream)
        self._stream_of: dict[Source, Stream] = {}
        self._known: dict[tuple[int, int, int], tuple[Source, Extender]] = {}
        """By stream index, payload type and SSRC."""
        self._newest: dict[Stream, tuple[Source, Extender]] = {}
        self.foreign = 0
        """Datagrams that do not parse, or are none of their stream's."""

    def glance(self, record: Record) -> Glimpse | None:
        """The media packet of a record; None where it is RTCP, none of ours, or of a stream that is not wanted."""
        _, stream, kind, payload = record
        if kind != _RTP or stream not in self._streams:
            return None
        if len(payload) < 12:
            self.foreign += 1
            return None
        marked_type, sequence, timestamp, ssrc = _FIXED_HEADER.unpack_from(payload)
        known = self._known.get((stream, marked_type & 0x7F, ssrc))
        if known is None:
            known = self._new_source(stream, marked_type & 0x7F, ssrc)
        if known is None:
            return self._retransmitted(record)
        source, extender = known
        sequence, timestamp = extender.extend(sequence, timestamp)
        return _new(Glimpse, (source, sequence, timestamp, False))

    def take(self, record: Record) -> tuple[Source, Ordered] | None:
        """The whole media packet of a record with its source: `glance` and `ordered` in one, at less than half the cost
        where the packet's source is known; None where either gives none."""
        arrival_ns, stream, kind, payload = record
        if kind != _RTP:
            return None
        try:
            packet = parse_rtp(payload)
        except MediaError:
            # What does not parse has been counted and numbered in the first pass, and is here.
            self.glance(record)
            return None
        known = self._known.get((stream, packet.payload_type, packet.ssrc))
        if known is None:
            glimpse = self.glance(record)
            item = None if glimpse is None else self.ordered(glimpse, record)
            return None if glimpse is None or item is None else (glimpse.source, item)
        source, extender = known
        sequence, timestamp = extender.extend(packet.sequence, packet.timestamp)
        return source, _new(Ordered, (sequence, timestamp, arrival_ns, packet))

    def ordered(self, glimpse: Glimpse, record: Record) -> Ordered | None:
        """The whole packet that a glance at `record` gave; None where it does not parse."""
        packet = self._parsed(record)
        if packet is None:
            return None
        if glimpse.again:
            packet = packet._replace(payload=packet.payload[2:])
        return Ordered(glimpse.sequence, glimpse.timestamp, record.arrival_ns, packet)

    def stream_of(self, source: Source) -> Stream:
        """The stream of a source that was seen."""
        return self._stream_of[source]

    def reports(self, record: Record) -> Iterator[tuple[Source, int, int]]:
        """The sender reports of a record: source, NTP time in nanoseconds, RTP timestamp extended."""
        if record.kind != RecordKind.RTCP:
            return
        try:
            packets = parse_rtcp(record.payload)
        except MediaError:
            self.foreign += 1
            return
        for packet in packets:
            if not isinstance(packet, SenderReport):
                continue
            for source, extender in self._known.values():
                if source.ssrc == packet.ssrc:
                    yield source, packet.ntp * 1_000_000_000 >> 32, extender.timestamp(packet.rtp_timestamp)

    def _new_source(self, index: int, payload_type: int, ssrc: int) -> tuple[Source, Extender] | None:
        for stream in self._streams[index]:
            if payload_type == stream.payload_type and stream.ssrc in (None, ssrc):
                source = Source(self._capture, index, ssrc)
                self._stream_of[source] = stream
                known = source, Extender(stream.clock_rate)
                self._known[index, payload_type, ssrc] = self._newest[stream] = known
                return known
        return None

    def _retransmitted(self, record: Record) -> Glimpse | None:
        """The packet that a retransmission carries: its payload begins with the original sequence number."""
        packet = self._parsed(record)
        newest = None if packet is None else self._repaired(self._streams[record.stream], packet)
        if packet is None or newest is None or len(packet.payload) < _ORIGINAL_SEQUENCE.size:
            self.foreign += 1
            return None
        (sequence,) = _ORIGINAL_SEQUENCE.unpack_from(packet.payload)
        source, extender = newest
        sequence, timestamp = extender.extend(sequence, packet.timestamp)
        return Glimpse(source, sequence, timestamp, True)

    def _repaired(self, streams: Sequence[Stream], packet: RtpPacket) -> tuple[Source, Extender] | None:
        for stream in streams:
            if packet.payload_type == stream.rtx_payload_type and stream.rtx_ssrc in (None, packet.ssrc):
                return self._newest.get(stream)
        return None

    def _parsed(self, record: Record) -> RtpPacket | None:
        try:
            return parse_rtp(record.payload)
        except MediaError:
            return None
