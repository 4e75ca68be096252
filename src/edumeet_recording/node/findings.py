"""Gathers what the passes over a tape found into the facts of a report."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from edumeet_recording.media import report
from edumeet_recording.media.timeline import TrackTimeline
from edumeet_recording.node.demux import Source
from edumeet_recording.node.fetch import FetchedCapture, FetchedTape
from edumeet_recording.node.parts import Part
from edumeet_recording.node.reader import SourceReader
from edumeet_recording.node.scan import Scan, Track


@dataclass(frozen=True, slots=True)
class Written:
    """What the second pass wrote. `start_ns`: the wall clock at the start of the recording, epoch nanoseconds."""

    parts: Sequence[Part]
    filled: int
    timelines: Sequence[TrackTimeline]
    by_source: Mapping[Source, SourceReader]
    start_ns: int

    @property
    def duration_s(self) -> float:
        """To the end of the last frame."""
        return max(timeline.summary.end_s for timeline in self.timelines)


def notes_of(tape: FetchedTape, scanned: Scan) -> list[str]:
    """What is to be said of the tape itself."""
    foreign = [f"{scanned.foreign} datagrams on the tape are none of the streams'"] if scanned.foreign else []
    return [*tape.warnings, *scanned.warnings, *foreign]


def track_facts(track: Track, captures: Sequence[FetchedCapture], written: Written) -> report.TrackFacts:
    """What is known of one track."""
    return report.TrackFacts(
        index=track.stream.index,
        kind=track.kind,
        codec=track.codec,
        clock=track.clock,
        summary=written.timelines[track.number].summary,
        sources=[_source_facts(source, track, captures, written.by_source[source]) for source in track.sources],
        nudge_ns=track.nudge_ns,
        av_offset_ms=track.av_offset_ms,
    )


def _source_facts(
    source: Source, track: Track, captures: Sequence[FetchedCapture], reader: SourceReader
) -> report.SourceFacts:
    capture, seen = captures[source.capture].capture, track.sources[source]
    return report.SourceFacts(
        capture_id=capture.capture_id,
        node_id=capture.node_id,
        epoch=capture.epoch,
        role=capture.role,
        ssrc=source.ssrc,
        packets=seen.packets,
        bytes=seen.bytes,
        lost=reader.reorderer.lost,
        reordered=reader.reorderer.reordered,
        recovered=reader.reorderer.recovered,
        duplicates=reader.reorderer.duplicates,
        retransmitted=seen.retransmitted,
        damaged=reader.depacketizer.damaged,
        dropped_until_key=reader.depacketizer.dropped_until_key,
        filled=reader.filled,
        gave=reader.gave,
    )
