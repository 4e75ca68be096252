"""Writes the samples of a recording into one file, or cut into parts wherever the picture changes its size."""

from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass, replace
from pathlib import Path
from types import TracebackType
from typing import Self

from edumeet_recording.domain.codecs import Kind
from edumeet_recording.media.depacketize import Frame
from edumeet_recording.media.timeline import Sample
from edumeet_recording.node.mux import Muxer
from edumeet_recording.node.scan import Track

MAX_PARTS = 100
"""A picture that changes its size more often goes on changing in the last part."""


@dataclass(frozen=True, slots=True)
class Part:
    """A file of the recording. `start_us`: where it begins in the recording; size in pixels, 0 without video."""

    path: Path
    start_us: int
    width: int
    height: int


class PartWriter:
    """Writes `path`, and where `cut` says so `…-part2`, `…-part3` beside it. Leaving its context completes them.

    With several video tracks nothing is cut: where one changes its size, the others have no key frame to begin with.
    """

    def __init__(self, path: Path, format_name: str, tracks: Sequence[Track], *, cut: bool) -> None:
        self.parts: list[Part] = []
        self._path = path
        self._format = format_name
        self._tracks = tracks
        videos = [track for track in tracks if track.kind is Kind.VIDEO]
        self._video = videos[0] if cut and len(videos) == 1 else None
        self._open = ExitStack()

    def __enter__(self) -> Self:
        first = self._video.first_frame if self._video else None
        self._begin(0, first)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._open.close()

    def write(self, sample: Sample, frame: Frame) -> None:
        """Write a sample; `frame` is what it was made of."""
        if self._video is not None:
            part = self.parts[-1]
            if sample.track == self._video.number and self._changes(part, frame):
                self._begin(sample.dts_us, frame)
                part = self.parts[-1]
            sample = sample._replace(pts_us=sample.pts_us - part.start_us, dts_us=sample.dts_us - part.start_us)
        self._muxer.write(sample)

    @property
    def filled(self) -> int:
        """Packets of silence that were put into the gaps of the last part."""
        return self._muxer.filled

    def _changes(self, part: Part, frame: Frame) -> bool:
        is_other = frame.key and frame.width and (frame.width, frame.height) != (part.width, part.height)
        return bool(is_other) and len(self.parts) < MAX_PARTS

    def _begin(self, start_us: int, frame: Frame | None) -> None:
        number = len(self.parts) + 1
        path = self._path if number == 1 else self._path.with_stem(f"{self._path.stem}-part{number}")
        tracks = self._tracks
        if frame is not None and self._video is not None:
            tracks = [replace(one, first_frame=frame) if one is self._video else one for one in tracks]
        self._open.close()
        self._muxer = self._open.enter_context(Muxer(path, self._format, tracks))
        self.parts.append(Part(path, start_us, (frame and frame.width) or 0, (frame and frame.height) or 0))
