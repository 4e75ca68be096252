"""One timeline a track: frames of all sources of a track become samples with monotonic times, and gaps with causes.

A source is one SSRC in one capture. Where sources overlap, the same frame (same line of the clock, same timestamp) is
written once, holes of one are filled from the other, and video changes sources only where it stays decodable.
"""

import heapq
from bisect import bisect_left
from collections.abc import Hashable, Iterable, Iterator
from dataclasses import dataclass, field
from enum import StrEnum, unique
from operator import attrgetter
from typing import NamedTuple

from edumeet_recording.domain.codecs import Kind
from edumeet_recording.media.clock import TrackClock
from edumeet_recording.media.depacketize.base import Frame
from edumeet_recording.media.reorder import WAIT_NS

MS = 1_000_000
HOLD_NS = WAIT_NS + 1000 * MS
"""How long frames are held to be sorted: what is reordered comes within this."""
AUDIO_GAP_NS = 60 * MS
VIDEO_GAP_NS = 500 * MS
"""A video frame may be shown this long before its successor counts as late (screen shares send few)."""
DTX_NS = 1000 * MS
"""Silence that a sender leaves out (RFC 7587 §3.1.3) is no gap up to this."""
OVERLAP_NS = 5 * MS
"""What audio of another clock may overlap the last frame by."""
DEFAULT_VIDEO_FRAME_NS = 33 * MS
MAX_LISTED = 1000
"""Gaps and resolution changes beyond this are counted, not listed."""
_new = tuple.__new__
"""What a NamedTuple's constructor calls, at a third of its cost: frames are many."""


@unique
class GapCause(StrEnum):
    """Why there is nothing for a while."""

    LOSS = "loss"
    PAUSE = "pause"
    RESTART = "restart"
    """The sender's timestamps began anew."""
    HANDOVER = "handover"
    """Another capture or SSRC goes on."""


@dataclass(frozen=True, slots=True)
class Gap:
    """A hole in a track; times in seconds from the start of the file."""

    at_s: float
    duration_s: float
    cause: GapCause


@dataclass(frozen=True, slots=True)
class Resolution:
    """The size of the picture from `at_s` on."""

    at_s: float
    width: int
    height: int


class TimedFrame(NamedTuple):
    """A frame on the wall clock; `pts_ns` and `dts_ns` are epoch nanoseconds.

    `rank` orders sources: the newer and the primary are higher. `lost` is what its source had lost so far.
    """

    track: int
    source: Hashable
    rank: int
    line: int
    timestamp: int
    pts_ns: int
    dts_ns: int
    duration_ns: int
    lost: int
    frame: Frame


_DECODED_AT = attrgetter("dts_ns")


class Sample(NamedTuple):
    """A frame as it is written; times in microseconds from the start of the file."""

    track: int
    pts_us: int
    dts_us: int
    duration_us: int
    key: bool
    data: bytes


class SourceTimeline:
    """Places one source's frames, which come in decoding order, on the wall clock."""

    def __init__(self, *, track: int, source: Hashable, rank: int, clock: TrackClock, reorder_depth: int) -> None:
        self._track = track
        self._source = source
        self._rank = rank
        self._clock = clock
        self._depth = reorder_depth
        self._shown: list[int] = []
        self._placed = 0

    def place(self, frame: Frame, *, duration_ns: int, lost: int) -> TimedFrame:
        """The frame on the wall clock; `duration_ns` 0 where only its successor tells."""
        place = self._clock.place(self._source, frame.first_sequence, frame.timestamp)
        dts_ns = self._decode_at(place.wall_ns)
        return _new(TimedFrame, (self._track, self._source, self._rank, *place, dts_ns, duration_ns, lost, frame))

    def _decode_at(self, pts_ns: int) -> int:
        """With B-frames: the presentation times themselves, sorted, `depth` frames later; else the frame's own."""
        if not self._depth:
            return pts_ns
        heapq.heappush(self._shown, pts_ns)
        self._placed += 1
        if self._placed <= self._depth:
            return self._shown[0] - (self._depth + 1 - self._placed) * MS
        return heapq.heappop(self._shown)


class Holdback:
    """Sorts the frames of one capture by decoding time, holding each for `HOLD_NS` of arrival time."""

    def __init__(self) -> None:
        self._held: list[TimedFrame] = []

    def push(self, frames: Iterable[TimedFrame]) -> None:
        """Take frames."""
        self._held += frames

    def ready(self, now_ns: int) -> Iterator[TimedFrame]:
        """The frames nothing that arrives after `now_ns` can come before."""
        # Nearly sorted already: one sort of many is cheaper than a heap's push and pop of each.
        self._held.sort(key=_DECODED_AT)
        count = bisect_left(self._held, now_ns - HOLD_NS, key=_DECODED_AT)
        ready, self._held = self._held[:count], self._held[count:]
        yield from ready

    def rest(self) -> Iterator[TimedFrame]:
        """All that is held: the capture is over."""
        self._held.sort(key=_DECODED_AT)
        yield from self._held
        self._held = []


@dataclass(slots=True)
class TrackSummary:
    """What was written of one track."""

    frames: int = 0
    key_frames: int = 0
    bytes: int = 0
    duplicates: int = 0
    """Frames that another source had given already, or that could not follow what was written."""
    start_s: float = 0.0
    end_s: float = 0.0
    gap_count: int = 0
    gap_s: float = 0.0
    gaps: list[Gap] = field(default_factory=list[Gap])
    resolutions: list[Resolution] = field(default_factory=list[Resolution])
    max_width: int = 0
    max_height: int = 0


class TrackTimeline:
    """Takes the placed frames of all sources of a track, sorted, and gives the samples to write."""

    def __init__(self, kind: Kind) -> None:
        self.summary = TrackSummary()
        self._audio = kind is Kind.AUDIO
        self._longest_us = (AUDIO_GAP_NS if self._audio else VIDEO_GAP_NS) // 1000 - 1
        """Between the times of two frames, where there can be no gap; what an audio frame lasts comes on top."""
        self._last: TimedFrame | None = None
        self._sample: Sample | None = None
        self._in_step: dict[Hashable, bool] = {}
        """Whether a source's last frame was, bit for bit, the one written at its time."""
        self._lost: dict[Hashable, int] = {}

    def add(self, timed: TimedFrame, start_ns: int) -> Sample | None:
        """The sample to write with the file's start at `start_ns`; None where the frame is not needed."""
        last = self._last
        if last is not None and timed.source != last.source and not self._follows(timed, last):
            self.summary.duplicates += 1
            return None
        duration_ns = timed.duration_ns or self._interval_ns(timed)
        before = self._sample
        dts_us = (timed.dts_ns - start_ns) // 1000
        if before is not None:
            dts_us = max(dts_us, before.dts_us + 1)
        pts_us = max((timed.pts_ns - start_ns) // 1000, dts_us, 0)
        frame = timed.frame
        sample = _new(Sample, (timed.track, pts_us, dts_us, duration_ns // 1000, frame.key, frame.data))
        if last is not None and before is not None and pts_us - before.pts_us > self._longest_us:
            self._watch_gap(timed, last, sample, before)
        self._sum_up(timed, sample)
        self._last, self._sample = timed, sample
        self._lost[timed.source] = timed.lost
        return sample

    def _follows(self, timed: TimedFrame, last: TimedFrame) -> bool:
        """Whether a frame of another source than the last may be written next."""
        same_line = timed.line == last.line
        if same_line and timed.timestamp == last.timestamp:
            self._in_step[timed.source] = timed.frame.data == last.frame.data
            self._lost[timed.source] = timed.lost
        ahead_ns = timed.pts_ns - last.pts_ns
        if (same_line and timed.timestamp <= last.timestamp) or ahead_ns <= 0:
            return False
        if self._audio:
            return same_line or ahead_ns >= last.duration_ns - OVERLAP_NS
        if same_line and self._in_step.get(timed.source, False):
            return True
        return timed.frame.key and (timed.rank > last.rank or ahead_ns > VIDEO_GAP_NS)

    def _interval_ns(self, timed: TimedFrame) -> int:
        """A video frame lasts as long as the one before it did."""
        if self._last is None:
            return DEFAULT_VIDEO_FRAME_NS
        interval = timed.dts_ns - self._last.dts_ns
        return interval if 0 < interval <= VIDEO_GAP_NS else DEFAULT_VIDEO_FRAME_NS

    def _watch_gap(self, timed: TimedFrame, last: TimedFrame, sample: Sample, before: Sample) -> None:
        end_us = before.pts_us + (before.duration_us if self._audio else 0)
        hole_ns = (sample.pts_us - end_us) * 1000
        if hole_ns < (AUDIO_GAP_NS if self._audio else VIDEO_GAP_NS):
            return
        cause = self._cause(timed, last)
        if cause is GapCause.PAUSE and self._audio and hole_ns < DTX_NS:
            return
        summary = self.summary
        summary.gap_count += 1
        summary.gap_s += hole_ns / 1e9
        if len(summary.gaps) < MAX_LISTED:
            summary.gaps.append(Gap(end_us / 1e6, hole_ns / 1e9, cause))

    def _cause(self, timed: TimedFrame, last: TimedFrame) -> GapCause:
        if timed.source != last.source:
            return GapCause.HANDOVER
        if timed.line != last.line:
            return GapCause.RESTART
        return GapCause.LOSS if timed.lost > self._lost.get(timed.source, 0) else GapCause.PAUSE

    def _sum_up(self, timed: TimedFrame, sample: Sample) -> None:
        summary, frame = self.summary, timed.frame
        if not summary.frames:
            summary.start_s = sample.pts_us / 1e6
        summary.frames += 1
        summary.bytes += len(frame.data)
        summary.end_s = max(summary.end_s, (sample.pts_us + sample.duration_us) / 1e6)
        if self._audio or not frame.key:
            return
        summary.key_frames += 1
        if not frame.width or not frame.height:
            return
        summary.max_width = max(summary.max_width, frame.width)
        summary.max_height = max(summary.max_height, frame.height)
        now = summary.resolutions[-1] if summary.resolutions else None
        if (now is None or (now.width, now.height) != (frame.width, frame.height)) and len(
            summary.resolutions
        ) < MAX_LISTED:
            summary.resolutions.append(Resolution(sample.pts_us / 1e6, frame.width, frame.height))
