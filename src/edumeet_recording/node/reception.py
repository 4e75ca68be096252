"""What of one capture's datagrams gets on the tape: sorts by SSRC, refuses what is foreign, and counts.

No I/O: datagrams come in with their arrival time and source, tape records go out by `take_records`.
"""

import struct
from collections import Counter, deque
from collections.abc import Iterable
from dataclasses import dataclass

from edumeet_recording.media.errors import MediaError
from edumeet_recording.media.rtcp import SenderReport, middle_of_ntp, parse_rtcp
from edumeet_recording.media.rtp import RTP_HEADER
from edumeet_recording.media.srtp import SrtpReceiver
from edumeet_recording.media.tape import RECORD, RecordKind
from edumeet_recording.node.datagrams import PAYLOAD_BYTES, parse_source
from edumeet_recording.node.opening import Opener
from edumeet_recording.node.track import Track
from edumeet_recording.node.worker_link import CaptureNumbers, StreamSpec, SuiteAndKey

HOLD_NS = 10_000_000_000
"""The announcement takes milliseconds; on a machine that is overloaded, seconds. What it costs is bounded below."""
HOLD_DATAGRAMS = 2000
HOLD_BYTES = 4_000_000
RELATCH_NS = 5_000_000_000
"""A stream announced without SSRC takes another once the first was silent for this long: the sender began anew."""

_SHORTEST = 12
"""An RTP header. RTCP that is shorter, such as an empty receiver report, tells nothing."""
_SSRC = struct.Struct("!I")
_RTP, _RTCP = int(RecordKind.RTP), int(RecordKind.RTCP)


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
        self._records: list[bytes | memoryview] = []
        """Heads and datagrams in turn: joined once, they are copied once. None is a view once `take` is over."""
        self._rtcp_ports: dict[int, bytes] = {}
        """By port pair: who last sent something to its RTCP port."""
        self._receivers: dict[SuiteAndKey, SrtpReceiver | None] = {}
        self._by_ssrc: dict[int, Track] = {}
        self._confirmed = confirmed
        self.tracks: tuple[Track, ...] = ()
        self.last_ns = 0
        """Arrival of the last record."""
        self.count = 0
        """How many records there are to take."""
        self._set_streams(streams)

    @property
    def confirmed(self) -> bool:
        """True once the streams are known to be what is really sent."""
        return self._confirmed

    def take(self, datagrams: Iterable[Arrived], port: int) -> None:
        """Datagrams that came on port pair `port`.

        The hot loop of the whole service: the next packet of a known stream is dealt with right here, for a call more
        would cost as much as the work itself. Everything else goes to `_sort`.
        """
        take_other = self._sort if self._confirmed else self._hold
        by_ssrc = self._by_ssrc if self._confirmed else {}
        records = self._records
        begun, taken = len(records), 0
        for arrival_ns, source, data in datagrams:
            size = len(data)
            if size < _SHORTEST:
                self._foreign["garbage"] += 1
                continue
            first, second, sequence, timestamp, ssrc = RTP_HEADER.unpack_from(data)
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
            if track.opener is not None:
                opened = track.opener.rtp(data)
                if opened is None:
                    continue
                data, size = opened, len(opened)
            track.stats.update(sequence, timestamp, arrival_ns, size)
            track.last_ns = arrival_ns
            if track.look is not None and timestamp != track.looked_at:
                track.look_at(timestamp, data)
            records.append(RECORD.pack(arrival_ns, size, track.index, _RTP))
            records.append(data)
            taken += 1
        if taken:
            records[begun:] = (b"".join(records[begun:]),)
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

    def take_records(self) -> bytes:
        """The tape records since the last call."""
        records = b"".join(self._records)
        self._records.clear()
        self.count = 0
        return records

    def numbers(self, now_ns: int) -> CaptureNumbers:
        """Live numbers for the agent at `now_ns` of the arrivals' clock."""
        tracks = tuple(track.numbers(now_ns) for track in self.tracks)
        return CaptureNumbers(self._capture_id, tracks, dict(self._foreign))

    def _set_streams(self, streams: tuple[StreamSpec, ...]) -> None:
        """Tracks whose stream stays the same keep what they have counted."""
        former = {track.spec.index: track for track in self.tracks}
        tracks: list[Track] = []
        for port, spec in enumerate(streams):
            track = former.get(spec.index)
            if track is None or (spec.ssrc is not None and track.ssrc not in (None, spec.ssrc)):
                track = Track.of(spec, port, self._opener(spec))
            elif track.spec.srtp != spec.srtp:
                track.opener = self._opener(spec)
            track.spec, track.payload_type, track.source = spec, spec.payload_type, b""
            track.ssrc = spec.ssrc if spec.ssrc is not None else track.ssrc
            tracks.append(track)
        self.tracks = tuple(tracks)
        self._by_ssrc = {track.ssrc: track for track in tracks if track.ssrc is not None}
        self._rtx = {track.spec.rtx_ssrc: track for track in tracks if track.spec.rtx_ssrc is not None}

    def _opener(self, spec: StreamSpec) -> Opener | None:
        if spec.srtp is None:
            return None
        if spec.srtp not in self._receivers:
            try:
                self._receivers[spec.srtp] = SrtpReceiver(*spec.srtp)
            except MediaError:  # not a key: nothing can be opened with it, and the stream's state will say so
                self._receivers[spec.srtp] = None
        return Opener(self._receivers[spec.srtp], self._foreign)

    def _sort(self, arrival_ns: int, source: bytes, port: int, data: memoryview) -> None:
        first, second, sequence, timestamp, ssrc = RTP_HEADER.unpack_from(data)
        if first >> 6 != 2 or len(data) == PAYLOAD_BYTES:
            self._foreign["garbage"] += 1
            return
        if 192 <= second <= 223:  # RFC 5761 §4
            self._take_rtcp(arrival_ns, source, data)
            return
        track = self._track_of(arrival_ns, port, ssrc, second & 0x7F)
        if track is None:
            return
        if not _comes_from(source, track.spec):
            self._foreign["source"] += 1
            return
        opened = data if track.opener is None else track.opener.rtp(data)
        if opened is None:
            return
        if ssrc == track.spec.rtx_ssrc:
            track.take_back(timestamp, opened)
        else:
            self._settle(track, source, port, ssrc)
            track.stats.update(sequence, timestamp, arrival_ns, len(opened))
            track.last_ns = arrival_ns
            track.look_at(timestamp, opened)
        self._record(arrival_ns, track.index, _RTP, opened)

    def _record(self, arrival_ns: int, index: int, kind: int, data: memoryview) -> None:
        self._records.append(RECORD.pack(arrival_ns, len(data), index, kind) + data)
        self.count += 1
        self.last_ns = arrival_ns

    def _track_of(self, arrival_ns: int, port: int, ssrc: int, payload_type: int) -> Track | None:
        """The track of an RTP packet, or None and a count."""
        if (repair := self._rtx.get(ssrc)) is not None:
            track = repair if repair.spec.rtx_payload_type == payload_type else None
        elif (known := self._by_ssrc.get(ssrc)) is not None:
            track = known if known.payload_type == payload_type else None
        else:
            return self._open_track(arrival_ns, port, payload_type)
        if track is None:
            self._foreign["payload_type"] += 1
        return track

    def _open_track(self, arrival_ns: int, port: int, payload_type: int) -> Track | None:
        """A stream that was announced without an SSRC, for an unknown one."""
        open_tracks = [
            track
            for track in self.tracks
            if track.spec.ssrc is None and (track.ssrc is None or arrival_ns - track.last_ns > RELATCH_NS)
        ]
        fitting = [track for track in open_tracks if track.payload_type == payload_type]
        if not fitting:
            self._foreign["payload_type" if open_tracks else "ssrc"] += 1
            return None
        return min(fitting, key=lambda track: track.port != port)

    def _settle(self, track: Track, source: bytes, port: int, ssrc: int) -> None:
        """The track is what comes from `source` with this SSRC, on this port: from there it hears us."""
        if track.ssrc != ssrc:
            if track.ssrc is not None:
                del self._by_ssrc[track.ssrc]
            track.ssrc, track.srtp_index = ssrc, None
            self._by_ssrc[ssrc] = track
        track.source, track.port = source, port

    def _take_rtcp(self, arrival_ns: int, source: bytes, data: memoryview) -> None:
        track = self._by_ssrc.get(_SSRC.unpack_from(data, 4)[0])
        if track is None:
            self._foreign["ssrc"] += 1
            return
        if not _comes_from(source, track.spec, any_port=True):
            self._foreign["source"] += 1
            return
        opened = data if track.opener is None else track.opener.rtcp(data)
        if opened is None:
            return
        try:
            packets = parse_rtcp(opened)
        except MediaError:
            self._foreign["garbage"] += 1
            return
        for packet in packets:
            if isinstance(packet, SenderReport):
                track.last_sr, track.last_sr_ns = middle_of_ntp(packet.ntp), arrival_ns
        if source != track.source:
            track.rtcp_source = source
        self._record(arrival_ns, track.index, _RTCP, opened)

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
