"""A recording at a glance: a poster, a picture a minute, and the waveform of its sound; cheap, whatever its length.

Of video only key frames are decoded, one for each picture. Of the sound of a long recording only samples are.
"""

from bisect import bisect_right
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
from av.audio.frame import AudioFrame
from av.audio.stream import AudioStream
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


def waveform(stretches: Sequence[Stretch]) -> dict[str, object] | None:
    """Lowest and highest sample of each pixel of the first audio track, as JSON of audiowaveform's data format 2.

    None without audio. Raises `av.FFmpegError`.
    """
    samples = int(_length_s(stretches) * RATE_HZ)
    per_pixel = PIXEL_SAMPLES * max(1, -(-samples // (PIXEL_SAMPLES * MAX_PIXELS)))
    pixels = np.zeros((samples // per_pixel + 1, 2))
    most = SAMPLED_PACKETS if _length_s(stretches) > WHOLE_S else 0
    heard = False
    for stretch in stretches:
        for pixel, frame in _sound(stretch, per_pixel / RATE_HZ, most):
            heard = True
            if 0 <= pixel < len(pixels):
                low, high = _extent(frame)
                pixels[pixel] = min(pixels[pixel, 0], low), max(pixels[pixel, 1], high)
    if not heard:
        return None
    data: list[int] = np.clip(np.rint(pixels * 127), -128, 127).astype(int).ravel().tolist()
    return {
        "version": 2,
        "channels": 1,
        "sample_rate": RATE_HZ,
        "samples_per_pixel": per_pixel,
        "bits": 8,
        "length": len(pixels),
        "data": data,
    }


def _sound(stretch: Stretch, pixel_s: float, most: int) -> Iterator[tuple[int, AudioFrame]]:
    """The first `most` frames of each pixel, all of them where `most` is 0, with the pixel's number."""
    with av.open(str(stretch.path)) as container:
        if not container.streams.audio:
            return
        stream = container.streams.audio[0]
        pixels_a_tick = float(stream.time_base or 0) / pixel_s
        first = stretch.start_s / pixel_s
        last, count = -1, 0
        for packet in container.demux(stream):
            if packet.pts is None:
                continue
            pixel = int(first + packet.pts * pixels_a_tick)
            last, count = pixel, count + 1 if pixel == last else 1
            if not most or count <= most:
                for frame in _decoded(packet):
                    yield pixel, frame


def _decoded(packet: "Packet[AudioStream]") -> list[AudioFrame]:
    try:
        return packet.decode()
    except FFmpegError:
        return []


def _extent(frame: AudioFrame) -> tuple[float, float]:
    """Lowest and highest sample of all channels, full scale being 1."""
    samples = frame.to_ndarray()
    full = FULL_SCALE.get(samples.dtype.itemsize, 1) if samples.dtype.kind == "i" else 1
    return float(samples.min()) / full, float(samples.max()) / full
