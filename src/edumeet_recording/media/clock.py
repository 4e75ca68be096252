"""One clock a peer: maps the RTP timestamps of every source to the wall clock of the node that heard them.

A source is observed while its packets are read once: the smallest (arrival - timestamp) of each second is kept. Where
timestamps and arrival part for good (restart, wild jump, a sender that stood still) a new piece begins. Pieces of one
track whose timestamps follow the same sender's clock share one line, also across captures and SSRCs; a line's slope is
the sender's drift against us. Sender reports only nudge video against audio: their median over the whole recording,
because single ones are off by 16 ms and more and their clock is the sender's own. All times are epoch nanoseconds.
"""

from bisect import bisect_left, bisect_right
from collections.abc import Hashable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from types import MappingProxyType
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

NS = 1_000_000_000
WRAP = 1 << 32
BUCKET_NS = NS
LEAP_NS = NS // 2
"""Timestamps that leap ahead of arrival by more than this begin a new piece; late packets cannot look so."""
WILD_NS = 10 * NS
"""Timestamps that fall behind arrival by more than this do as well; less may be a stalled network."""
BACK_NS = NS // 10
"""Packets of one source come in order of arrival, give or take this."""
SETTLED = 10
"""Buckets after which a change of level is no stall any more but a sender that stood still."""
JOIN_NS = NS // 4
"""Pieces whose levels agree to this follow the same sender's clock."""
BRIEF = 2
"""A piece of so few buckets may be nothing but late packets: its level says little."""
LOWER = 0.1
"""Quantile that is the lower edge."""
FIT_FROM_S = 60
"""Below this span no drift is estimated: its error would be larger than what 100 ppm amount to."""
BLOCK_S = 10
MAX_BLOCKS = 120
MAX_NUDGE_NS = NS // 10
"""A sender report's correction beyond this is not believed."""
MIN_REPORTS = 3
REPORT_NEAR_NS = 10 * NS
REORDER_DEPTH = 16
"""Frames that are looked back at to see that they are sent in another order than they are shown."""


class Bucket(NamedTuple):
    """The packet with the smallest (arrival - timestamp) of about a second.

    `sequence`, `arrival_ns` and `position`, the number of its record on the tape, are of the bucket's first.
    """

    sequence: int
    timestamp: int
    offset_ns: int
    arrival_ns: int
    position: int


class SenderReport(NamedTuple):
    """What a sender report said: at `ntp_ns` by the sender's clock its RTP timestamp was `timestamp` (extended)."""

    sequence: int
    timestamp: int
    ntp_ns: int
    arrival_ns: int


@dataclass(slots=True)
class Piece:
    """A stretch of one source whose timestamps and arrival run together; levels: the smallest offsets near its ends."""

    buckets: list[Bucket] = field(default_factory=list[Bucket])
    sent_ns: int = 0
    """From the packet before its first to that, by their timestamps."""
    arrived_ns: int = 0
    """The same by their arrival; 0 where it is cut off another piece."""

    @property
    def start_ns(self) -> int:
        return min(bucket.offset_ns for bucket in self.buckets[:SETTLED])

    @property
    def end_ns(self) -> int:
        return min(bucket.offset_ns for bucket in self.buckets[-SETTLED:])


class Observer:
    """Watches one source's packets in the order they came; their numbers are extended (`reorder.Extender`)."""

    def __init__(self, clock_rate: int) -> None:
        self.clock_rate = clock_rate
        self.reports: list[SenderReport] = []
        self.reorder_depth = 0
        """How many frames sent before a frame are shown after it (B-frames)."""
        self._pieces: list[Piece] = []
        self._highest = -1
        self._offset_ns = 0
        self._arrival_ns = 0
        self._bucket: Bucket | None = None
        self._recent: list[int] = []

    def observe(self, sequence: int, timestamp: int, arrival_ns: int, position: int) -> None:
        """Take one packet, record number `position` of its tape; late ones say nothing of the clock."""
        if sequence <= self._highest:
            return
        self._highest = sequence
        offset = arrival_ns - timestamp * NS // self.clock_rate
        bucket = self._bucket
        if bucket is None or self._offset_ns - offset > LEAP_NS or offset - self._offset_ns > WILD_NS:
            self._close_bucket()
            arrived_ns = arrival_ns - self._arrival_ns
            self._pieces.append(Piece(sent_ns=arrived_ns - (offset - self._offset_ns), arrived_ns=arrived_ns))
            self._recent.clear()
            self._bucket = Bucket(sequence, timestamp, offset, arrival_ns, position)
        elif arrival_ns - bucket.arrival_ns >= BUCKET_NS:
            self._close_bucket()
            self._bucket = Bucket(sequence, timestamp, offset, arrival_ns, position)
        elif offset < bucket.offset_ns:
            self._bucket = bucket._replace(timestamp=timestamp, offset_ns=offset)
        self._offset_ns = offset
        self._arrival_ns = arrival_ns
        if not self._recent or timestamp != self._recent[-1]:
            self._watch_order(timestamp)

    def report(self, ntp_ns: int, timestamp: int, arrival_ns: int) -> None:
        """Take a sender report; `timestamp` is extended."""
        self.reports.append(SenderReport(self._highest, timestamp, ntp_ns, arrival_ns))

    def pieces(self) -> list[Piece]:
        """All that was seen, cut where the sender stood still for a while."""
        self._close_bucket()
        self._bucket = None
        return [part for piece in self._pieces for part in _cut_where_it_stood(piece)]

    def _close_bucket(self) -> None:
        if self._bucket is not None:
            self._pieces[-1].buckets.append(self._bucket)

    def _watch_order(self, timestamp: int) -> None:
        if self._recent and timestamp < self._recent[-1]:
            self.reorder_depth = max(self.reorder_depth, sum(one > timestamp for one in self._recent))
        self._recent.append(timestamp)
        if len(self._recent) > REORDER_DEPTH:
            del self._recent[0]


def _cut_where_it_stood(piece: Piece) -> Iterable[Piece]:
    """Cut where the level rises and stays: a stalled network comes back down, a sender that stood still does not."""
    buckets = piece.buckets
    start = 0
    for at in range(1, len(buckets) - SETTLED // 2):
        if buckets[at].offset_ns - buckets[at - 1].offset_ns < LEAP_NS:
            continue
        before = min(bucket.offset_ns for bucket in buckets[max(start, at - SETTLED) : at])
        after = min(bucket.offset_ns for bucket in buckets[at : at + SETTLED])
        if after - before > LEAP_NS:
            yield replace(piece, buckets=buckets[start:at]) if start == 0 else Piece(buckets[start:at])
            start = at
    yield replace(piece, buckets=buckets[start:]) if start == 0 else Piece(buckets[start:])


@dataclass(frozen=True, slots=True)
class Line:
    """wall = timestamp / rate + level + drift * (timestamp - origin) / rate, for all that follows one clock."""

    clock_rate: int
    origin: int
    level_ns: int
    drift: float | None
    """Seconds a second; None where the recording is too short to tell."""
    residuals_ms: tuple[float, float, float]
    """What is left between arrival and line at start, middle and end: the median of the seconds' smallest."""

    def wall_ns(self, timestamp: int) -> int:
        """The wall clock at an (extended, shifted) timestamp."""
        since_origin = (timestamp - self.origin) * NS / self.clock_rate
        return self.level_ns + timestamp * NS // self.clock_rate + round((self.drift or 0) * since_origin)


class Place(NamedTuple):
    """Where a frame belongs. Frames with the same line and timestamp are the same frame of the same sender."""

    line: int
    timestamp: int
    wall_ns: int


class Span(NamedTuple):
    """From `sequence` on a source follows line number `line`, its timestamps shifted by `shift`."""

    sequence: int
    line: int
    shift: int


@dataclass(frozen=True, slots=True)
class TrackClock:
    """The clock of one track: its lines, and which source follows which of them from where."""

    lines: tuple[Line, ...]
    spans: Mapping[Hashable, Sequence[Span]]
    nudge_ns: int = 0
    """What sender reports add to the whole track."""

    def place(self, source: Hashable, sequence: int, timestamp: int) -> Place:
        """Place a packet of an observed source; the numbers are extended."""
        spans = self.spans[source]
        span = spans[0]
        if len(spans) > 1:
            span = spans[max(0, bisect_right(spans, sequence, key=lambda one: one.sequence) - 1)]
        shifted = timestamp + span.shift
        wall_ns = self.lines[span.line].wall_ns(shifted) + self.nudge_ns
        # What the constructor of a NamedTuple calls, at a third of its cost: this runs for every frame.
        return tuple.__new__(Place, (span.line, shifted, wall_ns))


@dataclass(slots=True)
class _Following:
    """Pieces that follow the same sender's clock, before a line is laid through them."""

    level_ns: int
    timestamps: list[int] = field(default_factory=list[int])
    offsets_ns: list[int] = field(default_factory=list[int])


class Shift(NamedTuple):
    """What is known of a source beside its packets, from packets that another source of the track holds too.

    `timestamp` is added to its timestamps to have the other's; `ahead_ns` is by how much its node's clock is ahead.
    """

    timestamp: int = 0
    ahead_ns: int = 0

    def apply(self, bucket: Bucket, clock_rate: int) -> Bucket:
        """The bucket as the other source would have it."""
        offset_ns = bucket.offset_ns - self.timestamp * NS // clock_rate - self.ahead_ns
        return bucket._replace(
            timestamp=bucket.timestamp + self.timestamp,
            offset_ns=offset_ns,
            arrival_ns=bucket.arrival_ns - self.ahead_ns,
        )


UNSHIFTED = Shift()


def align(
    observers: Mapping[Hashable, Observer], shifts: Mapping[Hashable, Shift] = MappingProxyType({})
) -> TrackClock:
    """The clock of one track from all its sources, in whatever captures they were heard. All have one clock rate."""
    pieces = [
        (Piece([shift.apply(bucket, observer.clock_rate) for bucket in piece.buckets]), source)
        for source, observer in observers.items()
        for shift in (shifts.get(source, UNSHIFTED),)
        for piece in observer.pieces()
    ]
    pieces.sort(key=lambda one: one[0].buckets[0].arrival_ns)
    followings: list[_Following] = []
    spans: dict[Hashable, list[Span]] = {source: [] for source in observers}
    clock_rate = next(iter(observers.values())).clock_rate
    for piece, source in pieces:
        number, wraps = _join(followings, piece, clock_rate)
        shift = wraps * WRAP + shifts.get(source, UNSHIFTED).timestamp
        spans[source].append(Span(piece.buckets[0].sequence, number, shift))
    return TrackClock(tuple(_lay(one, clock_rate) for one in followings), spans)


def _join(followings: list[_Following], piece: Piece, clock_rate: int) -> tuple[int, int]:
    """The number of what the piece follows, and by how many wraps its timestamps are to be shifted for it."""
    period = WRAP * NS // clock_rate
    brief = len(piece.buckets) <= BRIEF
    number, wraps, gap = len(followings), 0, WILD_NS if brief else JOIN_NS
    for at, following in enumerate(followings):
        apart = piece.start_ns - following.level_ns
        turns = (apart + period // 2) // period
        if abs(apart - turns * period) < gap:
            number, wraps, gap = at, turns, abs(apart - turns * period)
    if number == len(followings):
        followings.append(_Following(piece.start_ns))
    following = followings[number]
    if not brief:
        following.level_ns = piece.end_ns - wraps * period
    following.timestamps += (bucket.timestamp + wraps * WRAP for bucket in piece.buckets)
    following.offsets_ns += (bucket.offset_ns - wraps * period for bucket in piece.buckets)
    return number, wraps


def _lay(following: _Following, clock_rate: int) -> Line:
    """Lay the line along the lower edge of what was observed: packets come late, never early."""
    origin, level = following.timestamps[0], following.offsets_ns[0]
    seconds = np.array([(one - origin) / clock_rate for one in following.timestamps])
    offsets = np.array([float(one - level) for one in following.offsets_ns])
    drift = _drift(seconds, offsets / NS)
    residuals = offsets - (drift or 0) * seconds * NS
    lower = float(np.quantile(residuals, LOWER))
    tenth = max(1, min(len(residuals) // 10, len(residuals) - 1))
    middle = len(residuals) // 2
    left = [residuals[:tenth], residuals[middle : middle + tenth], residuals[-tenth:]]
    start_ms, middle_ms, end_ms = (round((float(np.median(part)) - lower) / 1e6, 3) for part in left)
    return Line(clock_rate, origin, level + round(lower), drift, (start_ms, middle_ms, end_ms))


def _drift(seconds: NDArray[np.float64], offsets: NDArray[np.float64]) -> float | None:
    """Slope of the lower edge: the median over pairs of far-apart blocks (after Theil and Sen), so that a third of the
    recording may be congested without a say."""
    span = float(seconds.max() - seconds.min())
    if span < FIT_FROM_S:
        return None
    numbers = np.minimum((seconds - seconds.min()) // max(BLOCK_S, span / MAX_BLOCKS), MAX_BLOCKS - 1)
    blocks = [numbers == number for number in np.unique(numbers)]
    at = np.array([seconds[block].mean() for block in blocks])
    low = np.array([np.quantile(offsets[block], LOWER) for block in blocks])
    apart = at[None, :] - at[:, None]
    far = apart > span / 4
    return float(np.median((low[None, :] - low[:, None])[far] / apart[far]))


def sender_offsets(clock: TrackClock, source: Hashable, observer: Observer) -> list[tuple[int, int]]:
    """For each sender report of a source: its arrival, and how far our wall clock is ahead of the sender's, in ns."""
    return [
        (one.arrival_ns, clock.place(source, one.sequence, one.timestamp).wall_ns - one.ntp_ns)
        for one in observer.reports
        if one.sequence >= 0
    ]


def nudge(video: Sequence[tuple[int, int]], audio: Sequence[tuple[int, int]]) -> int | None:
    """What to add to video, in ns, so that its sender reports agree with the audio's of the same sender.

    Reports are compared with those near in time only, for the sender's clock drifts too. None where there are too few,
    or what they say is not believable.
    """
    differences = _differences(video, audio)
    if len(differences) < MIN_REPORTS:
        return None
    middle = round(float(np.median([difference for _, difference in differences])))
    return middle if abs(middle) <= MAX_NUDGE_NS else None


def av_offsets_ms(
    video: Sequence[tuple[int, int]], audio: Sequence[tuple[int, int]]
) -> tuple[float, float, float] | None:
    """How far video is shown after the audio of the same moment, in ms, at start, middle and end of the recording.

    By the sender's reports, a third of them each; None where there are too few to tell.
    """
    differences = [difference for _, difference in sorted(_differences(video, audio))]
    if len(differences) < MIN_REPORTS:
        return None
    third = len(differences) // 3
    parts = differences[:third], differences[third:-third], differences[-third:]
    start, middle, end = (round(-float(np.median(part)) / 1e6, 3) for part in parts)
    return start, middle, end


def _differences(video: Sequence[tuple[int, int]], audio: Sequence[tuple[int, int]]) -> list[tuple[int, int]]:
    """For each video report and the audio's near it: its arrival, and what video lacks to agree, in ns."""
    heard = [arrival for arrival, _ in audio]
    differences: list[tuple[int, int]] = []
    for arrival, offset in video:
        at = bisect_left(heard, arrival)
        near = [one for one in audio[max(0, at - 1) : at + 1] if abs(one[0] - arrival) <= REPORT_NEAR_NS]
        differences += ((arrival, one[1] - offset) for one in near)
    return differences
