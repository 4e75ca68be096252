"""The judge of a finished file: decodes it, finds the beeps and flashes of `sim.content`, and says when they were.

Works in constant memory, on any container and codec that PyAV reads, mono or stereo, in changing sizes and letterboxed:
it looks at the middle of the picture only, and knows a flash by its luma and a beep by its loudness. An event that is
under way when a stream begins, or resumes after a hole, is not counted: nobody saw when it began.
"""

import math
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import av
import numpy as np
import numpy.typing as npt
from av.error import FFmpegError

from edumeet_recording.sim import content

_FLASH_ON, _FLASH_OFF = 140.0, 110.0
_BEEP_ON, _BEEP_OFF = 0.06, 0.03
"""Mean luma and RMS (full scale 1) at which an event begins and ends."""

_BEEP_WINDOW_S = 0.005
_SHORTEST_BEEP_S = 0.03
"""Shorter sounds are clicks: what a decoder makes of a lost packet."""

_PAIR_S = 0.5
"""A flash and a beep farther apart than this are not the same second."""

_MATCH_S = 0.45
"""Likewise for cadence: two events nearer than this are one."""

_HOLE_S = 0.25
"""A stream that is silent for longer has a hole."""


@dataclass(frozen=True, slots=True)
class AudioReport:
    """The decoded audio. `beeps`: when they begin, in seconds of the file; `tone_index`: the peer they tell."""

    codec: str
    channels: int
    rate: int
    duration_s: float
    beeps: tuple[float, ...]
    tone_index: int | None


@dataclass(frozen=True, slots=True)
class VideoReport:
    """The decoded video. `sizes` in the order they came; `numbers`: the legible frame numbers, each with its time."""

    codec: str
    sizes: tuple[tuple[int, int], ...]
    frames: int
    duration_s: float
    flashes: tuple[float, ...]
    colour_index: int | None
    numbers: tuple[tuple[int, float], ...]


@dataclass(frozen=True, slots=True)
class ContentReport:
    """What is in a file. `duration_s`: the container's; `disordered`: packets whose timestamp goes back."""

    duration_s: float
    audio: AudioReport | None
    video: VideoReport | None
    decode_errors: int
    disordered: int

    @property
    def offsets_s(self) -> tuple[float, ...]:
        """Beep minus flash, for each flash that has a beep near: positive where sound lags behind the picture."""
        if self.audio is None or self.video is None or not self.audio.beeps:
            return ()
        beeps = np.array(self.audio.beeps)
        nearest = (float(beeps[np.abs(beeps - flash).argmin()]) - flash for flash in self.video.flashes)
        return tuple(offset for offset in nearest if abs(offset) < _PAIR_S)

    @property
    def offset_median_ms(self) -> float | None:
        """Median of beep minus flash."""
        return float(np.median(self.offsets_s)) * 1000 if self.offsets_s else None

    @property
    def offset_p95_ms(self) -> float | None:
        """95th percentile of |beep − flash|."""
        return float(np.percentile(np.abs(self.offsets_s), 95)) * 1000 if self.offsets_s else None


def cadence_p95_ms(events: tuple[float, ...]) -> float:
    """95th percentile of how far gaps between events are from whole seconds; 0 where there are fewer than two.

    An event that was muted or lost is no matter of rhythm: `presence` tells of it.
    """
    gaps = np.diff(np.array(events))
    return float(np.percentile(np.abs(gaps - np.round(gaps)), 95)) * 1000 if len(gaps) else 0.0


def presence(events: tuple[float, ...], expected: int) -> float:
    """Share of `expected` events that were found, 0 to 1."""
    return min(1.0, len(events) / expected) if expected else 1.0


def analyse(path: Path) -> ContentReport:
    """Decodes the whole file. Raises `av.error.FFmpegError` where it is no media file, or `OSError`."""
    with av.open(str(path)) as container:
        chosen = [*container.streams.audio[:1], *container.streams.video[:1]]
        ears, eyes = _Ears(), _Eyes()
        errors = _Errors()
        for frame in _decoded(container, chosen, errors):
            if isinstance(frame, av.AudioFrame):
                ears.hear(frame)
            elif isinstance(frame, av.VideoFrame):
                eyes.see(frame)
        audio, video = container.streams.audio, container.streams.video
        return ContentReport(
            duration_s=container.duration / av.time_base if container.duration else max(ears.end_s, eyes.end_s),
            audio=ears.report(audio[0].codec_context) if audio else None,
            video=eyes.report(video[0].codec_context) if video else None,
            decode_errors=errors.decode,
            disordered=errors.disordered,
        )


@dataclass(slots=True)
class _Errors:
    decode: int = 0
    disordered: int = 0
    last_dts: dict[int, int] = field(default_factory=dict[int, int])

    def note_order(self, packet: "av.Packet[Any]") -> None:
        if packet.dts is None:
            return
        if packet.dts < self.last_dts.get(packet.stream_index, packet.dts):
            self.disordered += 1
        self.last_dts[packet.stream_index] = packet.dts


def _decoded(container: Any, streams: list[Any], errors: _Errors) -> Iterator[object]:
    for packet in container.demux(*streams):
        errors.note_order(packet)
        try:
            frames = packet.decode()
        except FFmpegError:
            errors.decode += 1
            continue
        for frame in frames:
            errors.decode += frame.is_corrupt
            yield frame


class _Onsets:
    """Finds where a level rises, with hysteresis; deaf for a moment after each event."""

    def __init__(self, on: float, off: float, shortest_s: float) -> None:
        self.times: list[float] = []
        self.loud = False
        self._on, self._off, self._shortest_s = on, off, shortest_s
        self._began: float | None = None
        self._last_at = -math.inf

    def push(self, at: float, level: float) -> None:
        resumed, self._last_at = at - self._last_at > _HOLE_S, at
        if resumed:
            self.loud, self._began = level >= self._on, None
        elif not self.loud:
            if level < self._on:
                return
            self.loud, self._began = True, at
        elif level < self._off:
            self.loud, self._began = False, None
            return
        if self._began is not None and at - self._began >= self._shortest_s:
            if not self.times or self._began - self.times[-1] > _MATCH_S:
                self.times.append(self._began)
            self._began = None


class _Ears:
    def __init__(self) -> None:
        self.end_s = 0.0
        self._onsets = _Onsets(_BEEP_ON, _BEEP_OFF, _SHORTEST_BEEP_S)
        self._crossings = 0
        self._loud_s = 0.0

    def hear(self, frame: av.AudioFrame) -> None:
        if frame.pts is None:
            return
        samples, begins = _mono(frame), frame.time or 0.0
        self.end_s = max(self.end_s, begins + len(samples) / frame.sample_rate)
        size = int(frame.sample_rate * _BEEP_WINDOW_S)
        for start in range(0, len(samples), size):
            window = samples[start : start + size]
            at = begins + start / frame.sample_rate
            self._onsets.push(at, float(np.sqrt(np.mean(np.square(window)))))
            if self._onsets.loud:
                self._crossings += int(np.count_nonzero(np.diff(np.signbit(window))))
                self._loud_s += (len(window) - 1) / frame.sample_rate

    def report(self, codec: av.AudioCodecContext) -> AudioReport:
        return AudioReport(
            codec=codec.codec.canonical_name,
            channels=codec.channels,
            rate=codec.sample_rate,
            duration_s=self.end_s,
            beeps=tuple(self._onsets.times),
            tone_index=self._tone_index() if self._onsets.times else None,
        )

    def _tone_index(self) -> int:
        heard_hz = self._crossings / 2 / self._loud_s
        return min(range(content.PEERS), key=lambda index: abs(content.tone_hz(index) - heard_hz))


class _Eyes:
    def __init__(self) -> None:
        self.end_s = 0.0
        self._onsets = _Onsets(_FLASH_ON, _FLASH_OFF, 0.0)
        self._frames = 0
        self._sizes: list[tuple[int, int]] = []
        self._numbers: list[tuple[int, float]] = []
        self._chroma = np.zeros(2)

    def see(self, frame: av.VideoFrame) -> None:
        if frame.pts is None:
            return
        self._frames += 1
        self.end_s = max(self.end_s, frame.time)
        size = (frame.width, frame.height)
        if not self._sizes or self._sizes[-1] != size:
            self._sizes.append(size)
        pixels = frame.reformat(format="yuv420p")
        planes = [_plane(pixels, number) for number in range(3)]
        self._onsets.push(frame.time, float(_middle(planes[0]).mean()))
        self._chroma += [float(_middle(plane).mean()) - 128 for plane in planes[1:]]
        number = content.read_number(planes[0])
        if number is not None:
            self._numbers.append((number, frame.time))

    def report(self, codec: av.VideoCodecContext) -> VideoReport:
        return VideoReport(
            codec=codec.codec.canonical_name,
            sizes=tuple(self._sizes),
            frames=self._frames,
            duration_s=self.end_s,
            flashes=tuple(self._onsets.times),
            colour_index=self._colour_index() if self._frames else None,
            numbers=tuple(self._numbers),
        )

    def _colour_index(self) -> int:
        def likeness(index: int) -> float:
            return float(self._chroma @ (np.array(content.chroma(index)) - 128))

        return max(range(content.PEERS), key=likeness)


def _mono(frame: av.AudioFrame) -> npt.NDArray[np.float64]:
    samples = frame.to_ndarray()
    channels = frame.layout.nb_channels
    by_channel = samples if frame.format.is_planar else samples.reshape(-1, channels).T
    full_scale = 1.0 if samples.dtype.kind == "f" else np.iinfo(samples.dtype.name).max
    return by_channel.astype(np.float64).mean(axis=0) / full_scale


def _plane(frame: av.VideoFrame, number: int) -> content.Picture:
    plane = frame.planes[number]
    return np.frombuffer(memoryview(plane), np.uint8).reshape(plane.height, plane.line_size)[:, : plane.width]


def _middle(plane: content.Picture) -> content.Picture:
    height, width = plane.shape
    return plane[height * 3 // 8 : max(1, height * 5 // 8), width * 3 // 8 : max(1, width * 5 // 8)]
