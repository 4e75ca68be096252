"""Probes a finished file: reads it by libavformat as any player would, and decodes as far as is cheap."""

from collections.abc import Callable
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
from av.audio.stream import AudioStream
from av.container import InputContainer
from av.error import FFmpegError
from av.packet import Packet
from av.video.stream import VideoStream

from edumeet_recording.domain.codecs import Kind
from edumeet_recording.media.probe import Decoded, Probe, ProbedStream

Hear = Callable[["Packet[Any]", float], None]
"""Takes a packet, and its time base in seconds."""
DECODE_WHOLE_S = 120
"""Files up to this long are decoded from end to end."""
DECODE_PART_S = 5
"""Of longer ones, so much at the start, in the middle and at the end."""


def probe(path: Path, hear: Hear | None = None) -> Probe:
    """Read all packets of a file; `hear` gets those of its first audio track. Raises `av.FFmpegError`."""
    with av.open(str(path)) as container:
        streams = [*container.streams.video, *container.streams.audio]
        counts = {stream.index: _Count() for stream in streams}
        heard = next(iter(container.streams.audio), None) if hear else None
        heard_index, heard_base = (heard.index, float(heard.time_base or 0)) if heard else (-1, 0.0)
        for packet in container.demux(streams):
            pts = packet.pts
            if pts is not None and packet.size:
                index = packet.stream_index
                counts[index].add(pts, packet.duration or 0, packet.dts)
                if hear is not None and index == heard_index:
                    hear(packet, heard_base)
        probed = tuple(_probed(stream, counts[stream.index]) for stream in streams)
    return Probe(max((stream.end_s for stream in probed), default=0.0), probed)


class _Count:
    def __init__(self) -> None:
        self.frames = 0
        self.start = 0
        self.end = 0
        self.monotonic = True
        self._dts: int | None = None

    def add(self, at: int, duration: int, dts: int | None) -> None:
        if at < self.start or not self.frames:
            self.start = at
        self.end = max(self.end, at + duration)
        self.frames += 1
        if dts is not None:
            self.monotonic = self.monotonic and (self._dts is None or dts > self._dts)
            self._dts = dts


def _probed(stream: VideoStream | AudioStream, count: _Count) -> ProbedStream:
    base = stream.time_base or Fraction(0)
    video = stream.codec_context if isinstance(stream, VideoStream) else None
    audio = stream.codec_context if isinstance(stream, AudioStream) else None
    return ProbedStream(
        kind=Kind.AUDIO if video is None else Kind.VIDEO,
        codec=stream.codec_context.codec.canonical_name,
        width=video and video.width,
        height=video and video.height,
        channels=audio and audio.channels,
        frames=count.frames,
        start_s=float(count.start * base),
        end_s=float(count.end * base),
        monotonic=count.monotonic,
    )


def decode(path: Path, duration_s: float) -> Decoded:
    """Decode a file, or samples of a long one. Raises `av.FFmpegError` where it is none."""
    if duration_s <= DECODE_WHOLE_S:
        parts = [(0.0, duration_s + 1)]
    else:
        starts = (0.0, (duration_s - DECODE_PART_S) / 2, duration_s - DECODE_PART_S)
        parts = [(start, start + DECODE_PART_S) for start in starts]
    frames = errors = 0
    for start_s, end_s in parts:
        with av.open(str(path)) as container:
            good, bad = _decode_part(container, start_s, end_s)
        frames, errors = frames + good, errors + bad
    return Decoded(frames, errors, min(duration_s, sum(end - start for start, end in parts)))


def _decode_part(container: InputContainer, start_s: float, end_s: float) -> tuple[int, int]:
    frames = errors = 0
    if start_s:
        container.seek(int(start_s * 1_000_000))
    streams = [*container.streams.video, *container.streams.audio]
    ends = {stream.index: end_s / (stream.time_base or 1) for stream in streams}
    for packet in container.demux(streams):
        if packet.pts is not None and packet.pts > ends[packet.stream_index]:
            break
        try:
            decoded = packet.decode()
        except FFmpegError:
            errors += 1
            continue
        frames += len(decoded)
        errors += sum(getattr(frame, "is_corrupt", False) for frame in decoded)
    return frames, errors
