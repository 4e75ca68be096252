"""What of one capture's datagrams gets on the tape: sorts by SSRC, refuses what is foreign, and counts.

No I/O: datagrams come in with their arrival time and source, tape records go out by `take_records`.
"""

import struct
from collections import Counter, deque
from collections.abc import Iterable
from dataclasses import dataclass

from edumeet_recording.domain.codecs import Codec
from edumeet_recording.media.errors import MediaError
from edumeet_recording.media.keyframes import LOOKS, Look, begins_key_frame
from edumeet_recording.media.rtcp import SenderReport, middle_of_ntp, parse_rtcp
from edumeet_recording.media.rtp import ReceptionStats
from edumeet_recording.media.tape import RECORD, RecordKind
from edumeet_recording.node.datagrams import PAYLOAD_BYTES, parse_source
from edumeet_recording.node.worker_link import CaptureNumbers, StreamSpec, TrackNumbers

HOLD_NS = 2_000_000_000
HOLD_DATAGRAMS = 2000
HOLD_BYTES = 4_000_000
RELATCH_NS = 5_000_000_000
"""A stream announced without SSRC takes another once the first was silent for this long: the sender began anew."""

_SHORTEST = 12
"""An RTP header. RTCP that is shorter, such as an empty receiver report, tells nothing."""
_RTP_HEADER = struct.Struct("!BBHII")
_SSRC = struct.Struct("!I")
_WORDS = struct.Struct("!H")
_RTP, _RTCP = int(RecordKind.RTP), int(RecordKind.RTCP)


@dataclass(slots=True)
class Track:
    """One stream of the capture and what has come of it. `source`: raw address of the last datagram that was let in."""

    spec: StreamSpec
    index: int
    payload_type: int
    stats: ReceptionStats
    ssrc: int | None
    port: int
    """Which of the capture's port pairs it comes on."""
    look: Look | None
    """Tells where key frames begin; None for audio."""
    source: bytes = b""
    rtcp_source: bytes = b""
    """Where RTCP comes from, when that is another port: the sender does not mux."""
    last_ns: int = 0
    key_frames: int = 0
    looked_at: int = -1
    """RTP timestamp of the last frame whose beginning was seen."""
    last_sr: int = 0
    last_sr_ns: int = 0

    def numbers(self) -> TrackNumbers:
        """Live numbers for the agent."""
        stats = self.stats
        return TrackNumbers(
            index=self.spec.index,
            ssrc=self.ssrc,
            packets=stats.packets,
            bytes=stats.bytes,
            lost=max(stats.lost, 0),
            reordered=stats.reordered,
            recovered=0,
            jitter_ms=round(stats.jitter * 1000 / self.spec.clock_rate, 3),
            key_frames=self.key_frames,
            last_packet_at=self.last_ns / 1e9 if self.last_ns else None,
        )


@dataclass(frozen=True, slots=True)
class _Held:
    arrival_ns: int
    source: bytes
    port: int
    data: bytes


Arrived = tuple[int, bytes, memoryview]
"""Arrival time (epoch nanoseconds), the sender's raw socket address, and the datagram."""


class Reception:
    """The filter of one capture."""

    def __init__(self, capture_id: str, streams: tuple[StreamSpec, ...], *, confirmed: bool) -> None:
        self._capture_id = capture_id
        self._foreign: Counter[str] = Counter()
        self._held: deque[_Held] = deque()
        self._held_bytes = 0
        self._records = bytearray()
        self._rtcp_ports: dict[int, bytes] = {}
        """By port pair: who last sent something to its RTCP port."""
        self._by_ssrc: dict[int, Track] = {}
        self._confirmed = confirmed
        self.tracks: tuple[Track, ...] = ()
        self.last_ns = 0
        """Arrival of the last record."""
        self.count = 0
        """How many records there are to take."""
        self._set_streams(streams)

    def take(self, datagrams: Iterable[Arrived], port: int) -> None:
        """Datagrams that came on port pair `port`.

        The hot loop of the whole service: the next packet of a known stream is dealt with right here, for a call more
        would cost as much as the work itself. Everything else goes to `_sort`.
        """
        take_other = self._sort if self._confirmed else self._hold
        by_ssrc = self._by_ssrc if self._confirmed else {}
        records = self._records
        taken = 0
        for arrival_ns, source, data in datagrams:
            size = len(data)
            if size < _SHORTEST:
                self._foreign["garbage"] += 1
                continue
            first, second, sequence, timestamp, ssrc = _RTP_HEADER.unpack_from(data)
            track = by_ssrc.get(ssrc)
            if (
                track is None
                or track.source != source
                or track.payload_type != second & 0x7F
                or first & 0xC0 != 0x80
                or size == PAYLOAD_BYTES
            ):
                take_other(arrival_ns, source, port, data)
                continue
            track.stats.update(sequence, timestamp, arrival_ns, size)
            track.last_ns = arrival_ns
            if track.look is not None and timestamp != track.looked_at:
                _look_for_key_frame(track, track.look, first, timestamp, data)
            records += RECORD.pack(arrival_ns, size, track.index, _RTP)
            records += data
            taken += 1
        if taken:
            self.count += taken
            self.last_ns = max(self.last_ns, *(track.last_ns for track in self.tracks))

    def hear_rtcp_port(self, source: bytes, port: int) -> None:
        """Note who sends, whatever it is, to the RTCP port of pair `port`; nobody but the streams' own host counts."""
        if all(_same_host(source, track.source) for track in self.tracks if track.port == port and track.source):
            self._rtcp_ports[port] = source

    def rtcp_source(self, track: Track) -> bytes:
        """Where RTCP about a track that was heard is to go, empty where it is muxed: symmetric RTCP (RFC 4961 §3).

        Janus sends no reports: an empty packet, before any media, is all that tells.
        """
        source = track.rtcp_source or self._rtcp_ports.get(track.port, b"")
        return source if source and _same_host(source, track.source) else b""

    def update(self, streams: tuple[StreamSpec, ...], *, confirmed: bool) -> None:
        """The streams are now known to be these; `confirmed` once they are what is really sent."""
        self._set_streams(streams)
        if confirmed:
            self.confirm()

    def confirm(self) -> None:
        """Sort what was held by the streams as they are known, and hold nothing any more."""
        self._confirmed = True
        while self._held:
            held = self._held.popleft()
            self._sort(held.arrival_ns, held.source, held.port, memoryview(held.data))

    def drop_records(self, cause: str) -> None:
        """Count the records that nobody can take, and forget them."""
        self._foreign[cause] += self.count
        self.take_records()

    def take_records(self) -> bytearray:
        """The tape records since the last call, which go to the caller."""
        records = self._records
        self._records = bytearray()
        self.count = 0
        return records

    def numbers(self) -> CaptureNumbers:
        """Live numbers for the agent."""
        return CaptureNumbers(self._capture_id, tuple(track.numbers() for track in self.tracks), dict(self._foreign))

    def _set_streams(self, streams: tuple[StreamSpec, ...]) -> None:
        """Tracks whose stream stays the same keep what they have counted."""
        former = {track.spec.index: track for track in self.tracks}
        tracks: list[Track] = []
        for port, spec in enumerate(streams):
            track = former.get(spec.index)
            if track is None or (spec.ssrc is not None and track.ssrc not in (None, spec.ssrc)):
                known = spec.ssrc if spec.ssrc is not None else spec.latched_ssrc
                stats = ReceptionStats(spec.clock_rate)
                look = LOOKS.get(Codec(spec.codec))
                track = Track(spec, spec.index, spec.payload_type, stats, known, port, look)
            track.spec, track.payload_type, track.source = spec, spec.payload_type, b""
            track.ssrc = spec.ssrc if spec.ssrc is not None else track.ssrc
            tracks.append(track)
        self.tracks = tuple(tracks)
        self._by_ssrc = {track.ssrc: track for track in tracks if track.ssrc is not None}
        self._rtx = {track.spec.rtx_ssrc: track for track in tracks if track.spec.rtx_ssrc is not None}

    def _sort(self, arrival_ns: int, source: bytes, port: int, data: memoryview) -> None:
        first, second, sequence, timestamp, ssrc = _RTP_HEADER.unpack_from(data)
        if first >> 6 != 2 or len(data) == PAYLOAD_BYTES:
            self._foreign["garbage"] += 1
            return
        if 192 <= second <= 223:  # RFC 5761 §4
            self._take_rtcp(arrival_ns, source, data)
            return
        track = self._admit(arrival_ns, source, port, ssrc, second & 0x7F)
        if track is None:
            return
        if track.ssrc == ssrc:
            track.stats.update(sequence, timestamp, arrival_ns, len(data))
            track.last_ns = arrival_ns
            if track.look is not None:
                _look_for_key_frame(track, track.look, first, timestamp, data)
        self._record(arrival_ns, track.index, _RTP, data)

    def _record(self, arrival_ns: int, index: int, kind: int, data: memoryview) -> None:
        self._records += RECORD.pack(arrival_ns, len(data), index, kind)
        self._records += data
        self.count += 1
        self.last_ns = arrival_ns

    def _admit(self, arrival_ns: int, source: bytes, port: int, ssrc: int, payload_type: int) -> Track | None:
        """The track of an RTP packet, or None and a count."""
        if (repair := self._rtx.get(ssrc)) is not None:
            track = repair if repair.spec.rtx_payload_type == payload_type else None
        elif (known := self._by_ssrc.get(ssrc)) is not None:
            track = known if known.payload_type == payload_type else None
        else:
            return self._latch(arrival_ns, source, port, ssrc, payload_type)
        if track is None:
            self._foreign["payload_type"] += 1
        elif not _comes_from(source, track.spec):
            self._foreign["source"] += 1
        else:
            if track.ssrc == ssrc:
                track.source = source
            return track
        return None

    def _latch(self, arrival_ns: int, source: bytes, port: int, ssrc: int, payload_type: int) -> Track | None:
        """Give an unknown SSRC to a stream that was announced without one."""
        open_tracks = [
            track
            for track in self.tracks
            if track.spec.ssrc is None and (track.ssrc is None or arrival_ns - track.last_ns > RELATCH_NS)
        ]
        fitting = [track for track in open_tracks if track.payload_type == payload_type]
        if not fitting:
            self._foreign["payload_type" if open_tracks else "ssrc"] += 1
            return None
        track = min(fitting, key=lambda track: track.port != port)
        if not _comes_from(source, track.spec):
            self._foreign["source"] += 1
            return None
        if track.ssrc is not None:
            del self._by_ssrc[track.ssrc]
        track.ssrc, track.source = ssrc, source
        self._by_ssrc[ssrc] = track
        return track

    def _take_rtcp(self, arrival_ns: int, source: bytes, data: memoryview) -> None:
        track = self._by_ssrc.get(_SSRC.unpack_from(data, 4)[0])
        if track is None:
            self._foreign["ssrc"] += 1
            return
        if not _comes_from(source, track.spec, any_port=True):
            self._foreign["source"] += 1
            return
        try:
            packets = parse_rtcp(data)
        except MediaError:
            self._foreign["garbage"] += 1
            return
        for packet in packets:
            if isinstance(packet, SenderReport):
                track.last_sr, track.last_sr_ns = middle_of_ntp(packet.ntp), arrival_ns
        if source != track.source:
            track.rtcp_source = source
        self._record(arrival_ns, track.index, _RTCP, data)

    def _hold(self, arrival_ns: int, source: bytes, port: int, data: memoryview) -> None:
        self._held.append(_Held(arrival_ns, source, port, bytes(data)))
        self._held_bytes += len(data)
        while (
            len(self._held) > HOLD_DATAGRAMS
            or self._held_bytes > HOLD_BYTES
            or arrival_ns - self._held[0].arrival_ns > HOLD_NS
        ):
            self._held_bytes -= len(self._held.popleft().data)
            self._foreign["unconfirmed"] += 1


def _comes_from(source: bytes, spec: StreamSpec, *, any_port: bool = False) -> bool:
    if spec.source_ip is None:
        return True
    ip, port = parse_source(source)
    return ip == spec.source_ip and (any_port or spec.source_port in (None, port))


def _same_host(source: bytes, other: bytes) -> bool:
    return parse_source(source)[0] == parse_source(other)[0]


def _look_for_key_frame(track: Track, look: Look, first: int, timestamp: int, data: memoryview) -> None:
    if timestamp == track.looked_at:
        return
    start = 12 + 4 * (first & 0x0F)
    if first & 0x10 and len(data) >= start + 4:
        start += 4 + 4 * _WORDS.unpack_from(data, start + 2)[0]
    begins = begins_key_frame(look, data[start:])
    if begins is not None:
        track.looked_at = timestamp
        track.key_frames += begins
