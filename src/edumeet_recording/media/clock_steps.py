"""Finds where the clock of a node was set in mid-recording, and sets right the arrival times that it gave.

A step shows as timestamps and arrival that part for good, as they do where a sender began anew or stood still. It was
the node's clock where packets arrive before those sent earlier, or where the sender reports, which know a clock of
their own, part from arrival by the same. Then timestamps are believed, and times go on by the clock as it was at first.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import count, pairwise
from statistics import median, median_low

from edumeet_recording.media.clock import BACK_NS, JOIN_NS, LEAP_NS, NS, WILD_NS, Observer, Piece, SenderReport
from edumeet_recording.media.tape import Record

REPORTS = 5
"""Sender reports that are asked on either side of a step."""
TOGETHER_NS = 10 * NS
"""Within this all streams of a capture show a step."""


@dataclass(frozen=True, slots=True)
class ClockStep:
    """The clock was set ahead by `by_ns`, back where that is negative; `positions`: from which record on, by stream.

    From `position` on it holds for streams that had nothing to show.
    """

    by_ns: int
    position: int
    positions: Mapping[int, int]

    def covers(self, stream: int, position: int) -> bool:
        """Whether a record of a stream came after it."""
        return position >= self.positions.get(stream, self.position)


@dataclass(frozen=True, slots=True)
class _Parting:
    """Where the timestamps and arrival of a stream part; `proved`: that it was the node's clock."""

    stream: int
    position: int
    arrival_ns: int
    by_ns: int
    proved: bool

    def is_same_as(self, other: "_Parting") -> bool:
        return abs(self.arrival_ns - other.arrival_ns) < TOGETHER_NS and abs(self.by_ns - other.by_ns) < JOIN_NS


def clock_steps(observers: Mapping[int, Sequence[Observer]]) -> tuple[ClockStep, ...]:
    """The steps that the clock of one capture's node made, in order; `observers` of its sources by stream index."""
    partings = sorted(
        (parting for stream, sources in observers.items() for one in sources for parting in _partings(stream, one)),
        key=lambda parting: parting.position,
    )
    groups: list[list[_Parting]] = []
    for proof in (parting for parting in partings if parting.proved):
        if not any(proof in group for group in groups):
            groups.append([one for one in partings if one.is_same_as(proof)])
    return tuple(
        ClockStep(
            median_low(one.by_ns for one in group if one.proved),
            group[0].position,
            {one.stream: one.position for one in reversed(group)},
        )
        for group in groups
    )


def set_right(chunks: Iterable[Iterable[Record]], steps: Sequence[ClockStep]) -> Iterator[Iterator[Record]]:
    """All records of a capture, chunk by chunk, with the arrival times of a clock that never was set."""
    positions = count()
    for records in chunks:
        yield (_without(steps, position, record) for record, position in zip(records, positions, strict=False))


def _without(steps: Sequence[ClockStep], position: int, record: Record) -> Record:
    by_ns = sum(step.by_ns for step in steps if step.covers(record.stream, position))
    return record._replace(arrival_ns=record.arrival_ns - by_ns)


def _partings(stream: int, observer: Observer) -> Iterator[_Parting]:
    for before, after in pairwise(observer.pieces()):
        by_ns = after.start_ns - before.end_ns
        if abs(by_ns) > LEAP_NS:
            first = after.buckets[0]
            yield _Parting(stream, first.position, first.arrival_ns, by_ns, _is_clocks(before, after, observer.reports))


def _is_clocks(before: Piece, after: Piece, reports: Sequence[SenderReport]) -> bool:
    """Whether it was the node's clock: packets cannot come before those sent earlier, and reports know another."""
    if after.arrived_ns < -BACK_NS and 0 <= after.sent_ns < WILD_NS:
        return True
    # A report between the two may be of either side: streams that pause are reported all the same.
    sooner = [_ahead_ns(one) for one in reports if one.sequence <= before.buckets[-1].sequence]
    later = [_ahead_ns(one) for one in reports if one.sequence >= after.buckets[0].sequence]
    if not sooner or not later:
        return False
    by_ns = median(later[:REPORTS]) - median(sooner[-REPORTS:])
    return abs(by_ns - (after.start_ns - before.end_ns)) < JOIN_NS


def _ahead_ns(report: SenderReport) -> int:
    """By how much the node's clock is ahead of the sender's."""
    return report.arrival_ns - report.ntp_ns
