"""A few seconds of one peer as RTP datagrams: Opus at 50 packets a second and VP8 at 1.2 Mb/s, really encoded."""

from collections.abc import Iterator
from typing import NamedTuple

import av

from edumeet_recording.domain.codecs import Kind
from edumeet_recording.media.rtp import is_rtcp

SECONDS = 4
AUDIO_PAYLOAD_TYPE = 97
VIDEO_PAYLOAD_TYPE = 96
_PICTURE = f"testsrc2=size=480x270:rate=25:duration={SECONDS},noise=alls=9:allf=t"
_SOUND = f"sine=frequency=440:sample_rate=48000:duration={SECONDS},asetnsamples=960"
_VP8 = {"deadline": "realtime", "cpu-used": "16", "lag-in-frames": "0", "error-resilient": "1"}


class Datagram(NamedTuple):
    """One RTP packet; `at` in seconds from the clip's begin."""

    at: float
    kind: Kind
    data: bytes


class _Written:
    """What libavformat's RTP muxer writes: a datagram a call."""

    def __init__(self) -> None:
        self.datagrams: list[bytes] = []

    def write(self, datagram: bytes) -> int:
        self.datagrams.append(bytes(datagram))
        return len(datagram)


def make_clip() -> list[Datagram]:
    """The clip, in the order it is to be sent. The packets of a frame go out together, as browsers send them."""
    return sorted([*_audio(), *_video()], key=lambda datagram: datagram.at)


def _audio() -> Iterator[Datagram]:
    written = _Written()
    with av.open(_SOUND, format="lavfi") as source, av.open(written, "w", format="rtp") as muxer:
        stream = muxer.add_stream("libopus", rate=48000)
        stream.bit_rate = 32_000
        for frame in source.decode(audio=0):
            muxer.mux(stream.encode(frame))
            yield from _sent(written, frame.time or 0.0, Kind.AUDIO)


def _video() -> Iterator[Datagram]:
    written = _Written()
    with (
        av.open(_PICTURE, format="lavfi") as source,
        av.open(written, "w", format="rtp", options={"packetsize": "1200"}) as muxer,
    ):
        stream = muxer.add_stream("libvpx", rate=25, options=_VP8)
        stream.width, stream.height, stream.pix_fmt, stream.bit_rate = 480, 270, "yuv420p", 550_000
        stream.codec_context.gop_size = SECONDS * 25
        for frame in source.decode(video=0):
            muxer.mux(stream.encode(frame.reformat(format="yuv420p")))
            yield from _sent(written, frame.time or 0.0, Kind.VIDEO)


def _sent(written: _Written, at: float, kind: Kind) -> list[Datagram]:
    datagrams, written.datagrams = written.datagrams, []
    return [Datagram(at, kind, data) for data in datagrams if not is_rtcp(data)]
