"""Makes placed frames of one source's packets."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from types import MappingProxyType

from edumeet_recording.domain.codecs import Codec, Kind
from edumeet_recording.media.depacketize import Depacketizer, Frame, depacketizer_for, opus_duration, pcm_duration
from edumeet_recording.media.reorder import Ordered, Reorderer
from edumeet_recording.media.timeline import SourceTimeline, TimedFrame
from edumeet_recording.node.demux import Source
from edumeet_recording.node.scan import Track

NS = 1_000_000_000
_DURATION: Mapping[Codec, Callable[[bytes], int]] = MappingProxyType(
    {Codec.OPUS: opus_duration, Codec.PCMU: pcm_duration, Codec.PCMA: pcm_duration}
)


@dataclass(slots=True)
class SourceReader:
    """Packets of one source in, placed frames out."""

    codec: Codec
    duration: Callable[[bytes], int] | None
    """Samples of a frame; None for video, where only the successor tells."""
    clock_rate: int
    timeline: SourceTimeline
    depacketizer: Depacketizer
    reorderer: Reorderer = field(init=False)
    filled: int = 0
    """Packets that another capture had and this one had not."""
    gave: int = 0
    """Packets that other captures had not and this one had."""

    def __post_init__(self) -> None:
        self.reorderer = Reorderer(self.clock_rate)

    def push(self, item: Ordered) -> list[TimedFrame]:
        """Take a packet in the order of arrival."""
        return self._placed(self.reorderer.push(item))

    def flush(self) -> list[TimedFrame]:
        """What the end of the tape completes."""
        placed = self._placed(self.reorderer.flush())
        return placed + [self._place(frame) for frame in self.depacketizer.flush()]

    def _placed(self, items: Sequence[Ordered]) -> list[TimedFrame]:
        return [self._place(frame) for item in items for frame in self.depacketizer.push(*item)]

    def _place(self, frame: Frame) -> TimedFrame:
        lost = self.reorderer.lost + self.depacketizer.damaged
        return self.timeline.place(frame, duration_ns=self._duration_ns(frame), lost=lost)

    def _duration_ns(self, frame: Frame) -> int:
        return 0 if self.duration is None else self.duration(frame.data) * NS // self.clock_rate


def readers(tracks: Sequence[Track]) -> dict[Source, SourceReader]:
    """A reader for every source of the tracks."""
    return {
        source: SourceReader(
            track.codec,
            _DURATION.get(track.codec),
            track.stream.clock_rate,
            SourceTimeline(
                track=track.number,
                source=source,
                rank=rank,
                clock=track.clock,
                reorder_depth=seen.observer.reorder_depth if track.kind is Kind.VIDEO else 0,
            ),
            depacketizer_for(track.codec),
        )
        for track in tracks
        for rank, (source, seen) in enumerate(track.sources.items())
    }
