"""First pass over a tape: finds its sources and tracks, lays the clock through them, and counts what came."""

from collections.abc import Callable, Hashable, Sequence
from dataclasses import dataclass, field, replace
from itertools import count

from edumeet_recording.domain.capture import CaptureRole
from edumeet_recording.domain.codecs import Codec, Kind
from edumeet_recording.media.clock import Observer, Shift, TrackClock, align, av_offsets_ms, nudge, sender_offsets
from edumeet_recording.media.clock_steps import ClockStep, clock_steps
from edumeet_recording.media.depacketize import Depacketizer, Frame, depacketizer_for
from edumeet_recording.media.merge import Fingerprints
from edumeet_recording.media.reorder import Ordered, Reorderer
from edumeet_recording.media.tape import Record
from edumeet_recording.node.demux import CaptureDemux, Glimpse, Source
from edumeet_recording.node.fetch import FetchedCapture
from edumeet_recording.node.twins import Twins
from edumeet_recording.wire.node_link import OutputOptions, Stream


@dataclass(slots=True)
class ScannedSource:
    """What was seen of one source. `first_frame` is the first that can be decoded."""

    stream: Stream
    observer: Observer
    first_arrival_ns: int
    fingerprints: Fingerprints | None = None
    """None where there is but one capture."""
    packets: int = 0
    bytes: int = 0
    retransmitted: int = 0
    first_frame: Frame | None = None
    timestamp: int = -1
    """Of the newest packet that was observed."""


@dataclass(frozen=True, slots=True)
class Track:
    """A track of the file: all sources of one stream index and codec, in order of rank."""

    number: int
    stream: Stream
    first_frame: Frame
    clock: TrackClock
    sources: dict[Source, ScannedSource]
    nudge_ns: int | None
    av_offset_ms: tuple[float, float, float] | None = None
    """Of a video track against the first audio track, as nudged; `clock.av_offsets_ms`."""
    """The sender reports' correction; None where there was none to trust."""

    @property
    def kind(self) -> Kind:
        """Audio or video."""
        return self.stream.kind

    @property
    def codec(self) -> Codec:
        """Of the track and all its sources."""
        return self.stream.codec


@dataclass(frozen=True, slots=True)
class Scan:
    """The tracks of a tape, its captures by clocks that nobody set, and what is to be said of it."""

    captures: Sequence[FetchedCapture]
    tracks: Sequence[Track]
    foreign: int
    warnings: Sequence[str]
    twins: Twins = field(default_factory=Twins)


class _FirstFrame:
    """Looks for a source's first decodable frame, and for no more."""

    def __init__(self, stream: Stream) -> None:
        self._reorderer = Reorderer(stream.clock_rate)
        self._depacketizer: Depacketizer = depacketizer_for(stream.codec)

    def push(self, item: Ordered) -> Frame | None:
        return self._first(self._reorderer.push(item))

    def flush(self) -> Frame | None:
        found = self._first(self._reorderer.flush())
        return found or next(iter(self._depacketizer.flush()), None)

    def _first(self, items: Sequence[Ordered]) -> Frame | None:
        for item in items:
            for frame in self._depacketizer.push(*item):
                return frame
        return None


class _CaptureScan:
    """The first pass over one capture."""

    def __init__(self, fetched: FetchedCapture, streams: Sequence[Stream], *, alone: bool) -> None:
        self.sources: dict[Source, ScannedSource] = {}
        self.demux = CaptureDemux(fetched.number, streams)
        self._fetched = fetched
        self._alone = alone
        self._looking: dict[Source, _FirstFrame] = {}

    def run(self, on_chunk: Callable[[], None]) -> None:
        positions = count()
        for records in self._fetched.chunks():
            for record, position in zip(records, positions, strict=False):
                glimpse = self.demux.glance(record)
                if glimpse is not None:
                    self._see(glimpse, record, position)
                    continue
                for source, ntp_ns, timestamp in self.demux.reports(record):
                    self.sources[source].observer.report(ntp_ns, timestamp, record.arrival_ns)
            on_chunk()
        for source, looking in self._looking.items():
            self.sources[source].first_frame = looking.flush()

    def clock_steps(self) -> tuple[ClockStep, ...]:
        """Where the node's clock was set."""
        observers: dict[int, list[Observer]] = {}
        for source, seen in self.sources.items():
            observers.setdefault(source.stream, []).append(seen.observer)
        return clock_steps(observers)

    def _see(self, glimpse: Glimpse, record: Record, position: int) -> None:
        source, sequence, timestamp, again = glimpse
        seen = self.sources.get(source)
        if seen is None:
            stream = self.demux.stream_of(source)
            prints = None if self._alone else Fingerprints(stream.codec)
            seen = ScannedSource(stream, Observer(stream.clock_rate), record.arrival_ns, prints)
            self.sources[source] = seen
            self._looking[source] = _FirstFrame(stream)
        seen.packets += 1
        seen.bytes += len(record.payload)
        if seen.fingerprints is not None and not again:
            seen.fingerprints.see(sequence, timestamp, record.arrival_ns, record.payload)
        if again:
            seen.retransmitted += 1
        elif timestamp != seen.timestamp:
            # Of packets with one timestamp the first tells all: the clock goes by the smallest (arrival - timestamp).
            seen.timestamp = timestamp
            seen.observer.observe(sequence, timestamp, record.arrival_ns, position)
        if self._looking and source in self._looking:
            self._look(seen, glimpse, record)

    def _look(self, seen: ScannedSource, glimpse: Glimpse, record: Record) -> None:
        item = self.demux.ordered(glimpse, record)
        if item is not None and (frame := self._looking[glimpse.source].push(item)) is not None:
            seen.first_frame = frame
            del self._looking[glimpse.source]


def scan(captures: Sequence[FetchedCapture], output: OutputOptions, on_chunk: Callable[[], None]) -> Scan:
    """Read every capture once; `on_chunk` hears of each chunk that is read."""
    sources: dict[Source, ScannedSource] = {}
    foreign = 0
    notes: list[str] = []
    by_one_clock: list[FetchedCapture] = []
    for fetched in captures:
        streams, alone = _wanted(fetched.capture.streams, output), len(captures) == 1
        one = _CaptureScan(fetched, streams, alone=alone)
        one.run(on_chunk)
        if steps := one.clock_steps():
            notes += (_told(fetched, step) for step in steps)
            fetched = replace(fetched, steps=steps)
            one = _CaptureScan(fetched, streams, alone=alone)
            one.run(lambda: None)
        by_one_clock.append(fetched)
        sources |= one.sources
        foreign += one.demux.foreign
    groups = _groups(sources, captures)
    twins = Twins.among(
        {source: seen.fingerprints for source, seen in group.items() if seen.fingerprints is not None}
        for group in groups.values()
    )
    tracks, warnings = _tracks(groups, twins)
    return Scan(by_one_clock, _in_step(tracks), foreign, [*notes, *warnings], twins)


def _told(fetched: FetchedCapture, step: ClockStep) -> str:
    return (
        f"capture {fetched.capture.capture_id}: the node's clock was set by {step.by_ns / 1e9:+.1f} s in mid-recording"
    )


def _wanted(streams: Sequence[Stream], output: OutputOptions) -> list[Stream]:
    """The streams that are to be in the file."""
    kinds = {Kind.AUDIO: output.include_audio, Kind.VIDEO: output.include_video}
    return [stream for stream in streams if kinds[stream.kind]]


_GroupKey = tuple[Kind, int, Codec, int]


def _groups(
    sources: dict[Source, ScannedSource], captures: Sequence[FetchedCapture]
) -> dict[_GroupKey, dict[Source, ScannedSource]]:
    """The sources of each track, in order of rank."""

    def rank(source: Source) -> tuple[int, bool, int]:
        capture = captures[source.capture].capture
        return capture.epoch, capture.role is CaptureRole.PRIMARY, sources[source].first_arrival_ns

    groups: dict[_GroupKey, dict[Source, ScannedSource]] = {}
    # Of retransmissions alone no clock can be made.
    for source in sorted((one for one, seen in sources.items() if seen.packets > seen.retransmitted), key=rank):
        stream = sources[source].stream
        group = groups.setdefault((stream.kind, stream.index, stream.codec, stream.clock_rate), {})
        group[source] = sources[source]
    return groups


def _tracks(groups: dict[_GroupKey, dict[Source, ScannedSource]], twins: Twins) -> tuple[list[Track], list[str]]:
    tracks: list[Track] = []
    warnings: list[str] = []
    # Video first: some players take the first track's duration for the file's.
    for key in sorted(groups, key=lambda key: (key[0] is Kind.AUDIO, *key[1:])):
        group = groups[key]
        frames = [seen.first_frame for seen in group.values() if seen.first_frame is not None]
        if not frames:
            packets = sum(seen.packets for seen in group.values())
            warnings.append(f"{key[0]} stream {key[1]}: not one frame in {packets} packets can be decoded")
            continue
        first = min(frames, key=lambda frame: frame.arrival_ns)
        observers: dict[Hashable, Observer] = {source: seen.observer for source, seen in group.items()}
        shifts: dict[Hashable, Shift] = {source: twins.shift(source) for source in group}
        stream = next(iter(group.values())).stream
        tracks.append(Track(len(tracks), stream, first, align(observers, shifts), group, None))
    return tracks, warnings


def _in_step(tracks: list[Track]) -> list[Track]:
    """Nudge every video track by what the sender reports of the first audio track say."""
    audio = next((track for track in tracks if track.kind is Kind.AUDIO), None)
    if audio is None:
        return tracks
    heard = _offsets(audio)
    return [track if track.kind is Kind.AUDIO else _nudged(track, heard) for track in tracks]


def _nudged(video: Track, audio: list[tuple[int, int]]) -> Track:
    by = nudge(_offsets(video), audio)
    clock = video.clock if by is None else replace(video.clock, nudge_ns=by)
    track = replace(video, clock=clock, nudge_ns=by)
    return replace(track, av_offset_ms=av_offsets_ms(_offsets(track), audio))


def _offsets(track: Track) -> list[tuple[int, int]]:
    """What the reports of all sources say, by time: reports near in time come from one sender."""
    return sorted(
        offset
        for source, seen in track.sources.items()
        for offset in sender_offsets(track.clock, source, seen.observer)
    )
