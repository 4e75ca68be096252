"""A recording at a glance: a poster, a picture a minute, and the waveform of its sound; cheap, whatever its length.

Of video only key frames are decoded, one for each picture. Of the sound of a long recording only samples are.
"""

from bisect import bisect_right
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from fractions import Fraction
from math import inf
from pathlib import Path
from typing import Any

import av
import numpy as np
from av.audio.frame import AudioFrame
from av.error import FFmpegError
from av.packet import Packet
from av.video.frame import VideoFrame

EVERY_S = 60.0
MAX_THUMBNAILS = 120
LARGEST_PX = 640
POSTER_AT = 0.1
"""Where in the recording the poster is taken: by then there is something to see."""
JPEG_QUANTIZER = 5
"""Of 1 (best) to 31; 640x360 are about 25 kB."""

RATE_HZ = 48000
PIXEL_SAMPLES = RATE_HZ // 10
"""A pixel of the waveform is a tenth of a second, or a multiple of it in long recordings."""
MAX_PIXELS = 3600
WHOLE_S = 60.0
"""The sound of recordings up to this long is decoded from end to end."""
SAMPLED_PACKETS = 2
"""Of longer ones, so many packets a pixel: the decoder settles on the first."""
FULL_SCALE = {2: 1 << 15, 4: 1 << 31}
"""By the bytes of an integer sample."""


@dataclass(frozen=True, slots=True)
class Stretch:
    """A file of the recording, and where in the recording it begins."""

    path: Path
    start_s: float
    duration_s: float


@dataclass(frozen=True, slots=True)
class Picture:
    """A JPEG of what is shown at `at_s` of the recording."""

    at_s: float
    width: int
    height: int
    data: bytes


def poster(stretches: Sequence[Stretch]) -> Picture | None:
    """The picture that stands for the recording, if it has one. Raises `av.FFmpegError`."""
    return next(_pictures(stretches, [_length_s(stretches) * POSTER_AT]), None)


def thumbnails(stretches: Sequence[Stretch]) -> list[Picture]:
    """A picture a minute, each the key frame shown then; fewer where key frames are rarer. Raises `av.FFmpegError`."""
    step_s = max(EVERY_S, _length_s(stretches) / MAX_THUMBNAILS)
    count = min(MAX_THUMBNAILS, int(_length_s(stretches) / step_s) + 1)
    return list(_pictures(stretches, [number * step_s for number in range(count)]))


def _length_s(stretches: Sequence[Stretch]) -> float:
    return stretches[-1].start_s + stretches[-1].duration_s


def _pictures(stretches: Sequence[Stretch], times: Sequence[float]) -> Iterator[Picture]:
    starts = [one.start_s for one in stretches]
    for number, stretch in enumerate(stretches):
        mine = [at_s - stretch.start_s for at_s in times if bisect_right(starts, at_s) == number + 1]
        if mine:
            yield from _of_one_file(stretch, mine)


def _of_one_file(stretch: Stretch, times: Sequence[float]) -> Iterator[Picture]:
    with av.open(str(stretch.path)) as container:
        if not container.streams.video:
            return
        video = container.streams.video[0]
        video.codec_context.skip_frame = "NONKEY"
        last = None
        for at_s in times:
            container.seek(int(at_s / (video.time_base or 1)), stream=video)
            frame = next(container.decode(video), None)
            if frame is not None and frame.pts != last:
                last = frame.pts
                yield _jpeg(frame, stretch.start_s)


def _jpeg(frame: VideoFrame, start_s: float) -> Picture:
    scale = min(1.0, LARGEST_PX / max(frame.width, frame.height))
    width, height = (max(2, round(size * scale) // 2 * 2) for size in (frame.width, frame.height))
    encoder = av.CodecContext.create("mjpeg", "w")
    assert isinstance(encoder, av.VideoCodecContext)  # noqa: S101 - mjpeg is video
    encoder.width, encoder.height, encoder.pix_fmt = width, height, "yuvj420p"
    encoder.time_base = Fraction(1, 1000)
    encoder.qmin = encoder.qmax = JPEG_QUANTIZER
    packets = encoder.encode(frame.reformat(width, height, "yuvj420p")) + encoder.encode(None)
    return Picture(start_s + (frame.time or 0.0), width, height, b"".join(bytes(packet) for packet in packets))


class Waveform:
    """Hears the packets of a recording's first audio track, and keeps the lowest and highest sample of each pixel."""

    def __init__(self, duration_s: float) -> None:
        samples = int(duration_s * RATE_HZ)
        self._per_pixel = PIXEL_SAMPLES * max(1, -(-samples // (PIXEL_SAMPLES * MAX_PIXELS)))
        self._pixels = np.zeros((samples // self._per_pixel + 1, 2))
        self._most = SAMPLED_PACKETS if duration_s > WHOLE_S else inf
        self._first = 0.0
        self._last, self._count = -1, 0
        self._heard = False

    def begin(self, start_s: float) -> None:
        """What comes now is of a file that begins at `start_s`."""
        self._first = start_s * RATE_HZ / self._per_pixel

    def hear(self, packet: "Packet[Any]", time_base: float) -> None:
        """Take a packet; `time_base` in seconds."""
        if packet.pts is None:
            return
        pixel = int(self._first + packet.pts * time_base * RATE_HZ / self._per_pixel)
        self._last, self._count = pixel, self._count + 1 if pixel == self._last else 1
        if self._count > self._most or not 0 <= pixel < len(self._pixels):
            return
        for frame in _decoded(packet):
            self._heard = True
            low, high = _extent(frame)
            self._pixels[pixel] = min(self._pixels[pixel, 0], low), max(self._pixels[pixel, 1], high)

    def document(self) -> dict[str, Any] | None:
        """JSON of audiowaveform's data format 2; None where nothing was heard."""
        if not self._heard:
            return None
        data: list[int] = np.clip(np.rint(self._pixels * 127), -128, 127).astype(int).ravel().tolist()
        return {
            "version": 2,
            "channels": 1,
            "sample_rate": RATE_HZ,
            "samples_per_pixel": self._per_pixel,
            "bits": 8,
            "length": len(self._pixels),
            "data": data,
        }


def _decoded(packet: "Packet[Any]") -> list[AudioFrame]:
    try:
        return packet.decode()
    except FFmpegError:
        return []


def _extent(frame: AudioFrame) -> tuple[float, float]:
    """Lowest and highest sample of all channels, full scale being 1."""
    samples = frame.to_ndarray()
    full = FULL_SCALE.get(samples.dtype.itemsize, 1) if samples.dtype.kind == "i" else 1
    return float(samples.min()) / full, float(samples.max()) / full
