"""Writes coded frames into a container without touching them; times are kept to the microsecond.

libavformat wants codec parameters before the first frame. They come from templates: the first key frame, wrapped in
memory in the plainest format that carries it, is opened as a file would be.
"""

import io
import struct
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from fractions import Fraction
from pathlib import Path
from types import MappingProxyType, TracebackType
from typing import Self

import av
from av.container import InputContainer, OutputContainer
from av.error import FFmpegError, InvalidDataError
from av.stream import Stream as AvStream

from edumeet_recording.domain.codecs import Codec, Kind
from edumeet_recording.media.silence import silence_between
from edumeet_recording.media.timeline import Sample
from edumeet_recording.node.scan import Track

INTERMEDIATE = "nut"
"""What FFmpeg converts from: takes every codec, and every time base exactly."""
MICROSECOND = Fraction(1, 1_000_000)
DEFAULT_CHANNELS = MappingProxyType({Codec.OPUS: 2, Codec.PCMU: 1, Codec.PCMA: 1})


class Muxer:
    """A file being written; leaving its context completes it. Raises `av.FFmpegError`, an `OSError` for a full disk.

    `format_name` is libavformat's.
    """

    def __init__(self, path: Path, format_name: str, tracks: Sequence[Track]) -> None:
        self._path = path
        self._format = format_name
        self._tracks = tracks
        self._streams: list[AvStream] = []
        self._last: dict[int, Sample] = {}
        self.filled = 0
        """Packets of silence that were put into gaps."""
        self._stack = ExitStack()

    def __enter__(self) -> Self:
        options = {"movflags": "+faststart"} if self._format == "mp4" else {}
        with self._stack:
            self._output = self._stack.enter_context(
                av.open(str(self._path), "w", format=self._format, container_options=options)
            )
            self._streams = [self._add(track) for track in self._tracks]
            self._stack = self._stack.pop_all()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stack.close()

    def write(self, sample: Sample) -> None:
        """Write one frame of track `sample.track`, unless the container cannot hold it."""
        if self._format == "ogg":
            before = self._last.get(sample.track)
            for filling in silence_between(before, sample) if before else ():
                self._write(filling)
                self.filled += 1
            self._last[sample.track] = sample
        self._write(sample)

    def _write(self, sample: Sample) -> None:
        packet = av.Packet(sample.data)
        packet.stream = self._streams[sample.track]
        packet.time_base = MICROSECOND
        packet.pts = sample.pts_us
        packet.dts = sample.dts_us
        packet.duration = sample.duration_us
        packet.is_keyframe = sample.key
        # What a hostile sender calls a frame may be refused; the rest of the recording is none the worse for it.
        try:
            self._output.mux_one(packet)
        except InvalidDataError:
            return

    def _add(self, track: Track) -> AvStream:
        output: OutputContainer = self._output
        frame = track.first_frame
        if track.codec is Codec.AV1:
            # PyAV looks for an encoder by the decoder's name, and libdav1d is none.
            stream = output.add_mux_stream("av1", width=frame.width or 0, height=frame.height or 0)
        else:
            template = self._stack.enter_context(_template(track))
            stream = output.add_stream_from_template(template.streams[0])
        stream.time_base = Fraction(1, track.stream.clock_rate)
        return stream


def decodable(track: Track) -> bool:
    """Whether the track's first picture is what it says it is: nothing can be made of a track that begins otherwise."""
    if track.kind is Kind.AUDIO:
        return True
    try:
        with _template(track) as template:
            return next(template.decode(video=0), None) is not None
    except FFmpegError:
        return False


def _template(track: Track) -> InputContainer:
    return _TEMPLATES[track.codec](track)


def _ivf(track: Track, fourcc: bytes) -> InputContainer:
    frame = track.first_frame
    header = struct.pack("<4sHH4sHHIIII", b"DKIF", 0, 32, fourcc, frame.width or 0, frame.height or 0, 90000, 1, 1, 0)
    return av.open(io.BytesIO(header + struct.pack("<IQ", len(frame.data), 0) + frame.data), "r", format="ivf")


def _annex_b(track: Track) -> InputContainer:
    return av.open(io.BytesIO(track.first_frame.data), "r", format="h264")


def _ogg(track: Track) -> InputContainer:
    """Ogg with an identification header (RFC 7845 §5.1) that skips nothing: a recording starts in the middle."""
    channels = track.stream.channels or DEFAULT_CHANNELS[Codec.OPUS]
    head = struct.pack("<8sBBHIhB", b"OpusHead", 1, channels, 0, 48000, 0, 0)
    tags = struct.pack("<8sII", b"OpusTags", 0, 0)
    pages = _ogg_page(2, 0, head) + _ogg_page(0, 1, tags) + _ogg_page(4, 2, track.first_frame.data)
    return av.open(io.BytesIO(pages), "r", format="ogg")


def _ogg_page(flags: int, number: int, packet: bytes) -> bytes:
    """One packet as one page (RFC 3533 §6)."""
    lacing = bytes([255] * (len(packet) // 255) + [len(packet) % 255])
    header = struct.pack("<4sBBqIIIB", b"OggS", 0, flags, 0, 1, number, 0, len(lacing))
    page = header + lacing + packet
    return page[:22] + struct.pack("<I", _ogg_crc(page)) + page[26:]


def _ogg_crc(page: bytes) -> int:
    """CRC-32 with polynomial 0x04c11db7, neither reflected nor inverted (RFC 3533 §6)."""
    crc = 0
    for byte in page:
        crc ^= byte << 24
        for _ in range(8):
            crc = (crc << 1 ^ 0x04C11DB7 if crc & 0x8000_0000 else crc << 1) & 0xFFFF_FFFF
    return crc


def _pcm(track: Track, name: str) -> InputContainer:
    channels = track.stream.channels or DEFAULT_CHANNELS[track.codec]
    options = {"sample_rate": str(track.stream.clock_rate), "ch_layout": f"{channels}c"}
    return av.open(io.BytesIO(track.first_frame.data), "r", format=name, options=options)


_TEMPLATES: MappingProxyType[Codec, Callable[[Track], InputContainer]] = MappingProxyType(
    {
        Codec.VP8: lambda track: _ivf(track, b"VP80"),
        Codec.VP9: lambda track: _ivf(track, b"VP90"),
        Codec.AV1: lambda track: _ivf(track, b"AV01"),
        Codec.H264: _annex_b,
        Codec.OPUS: _ogg,
        Codec.PCMU: lambda track: _pcm(track, "mulaw"),
        Codec.PCMA: lambda track: _pcm(track, "alaw"),
    }
)
