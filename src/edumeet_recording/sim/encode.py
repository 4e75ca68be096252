"""Encodes a peer's content and cuts it into RTP payloads, all by libavcodec and libavformat.

Nothing of our own media code is used to make them, so that it is tested against somebody else's reading of the RFCs.
"""

from fractions import Fraction
from types import MappingProxyType
from typing import Any, NamedTuple

import av
from av.video.frame import PictureType

from edumeet_recording.domain.codecs import CLOCK_RATE_HZ, Codec, Kind
from edumeet_recording.media.rtp import is_rtcp, parse_rtp
from edumeet_recording.sim import content
from edumeet_recording.sim.content import Shape

BLOCK_S = Fraction(1, 50)
"""Length of an audio packet, as browsers send it."""

CHANNELS: MappingProxyType[Codec, int] = MappingProxyType({Codec.OPUS: 2, Codec.PCMU: 1, Codec.PCMA: 1})

_SILENCE_BYTES = 3
"""An Opus packet this short says nothing."""

_DTX_AFTER, _DTX_EVERY = 10, 20
"""With DTX, libopus sends silence for 200 ms, and then once in 400 ms (RFC 7587 §3.1.3)."""

_LARGEST_PACKET = 1200
"""RTP packets of WebRTC publishers stay below this, bytes."""

_AUDIO_BIT_RATE = 32_000

_H264 = {"preset": "ultrafast", "tune": "zerolatency", "profile": "baseline", "sc_threshold": "0"}
"""Constrained baseline, SPS and PPS in band before every key frame; no key frame just because it flashes."""

_ENCODERS: MappingProxyType[Codec, tuple[str, dict[str, str]]] = MappingProxyType(
    {
        Codec.OPUS: ("libopus", {"application": "voip"}),
        Codec.PCMU: ("pcm_mulaw", {}),
        Codec.PCMA: ("pcm_alaw", {}),
        Codec.VP8: ("libvpx", {"deadline": "realtime", "cpu-used": "-8", "lag-in-frames": "0"}),
        Codec.VP9: ("libvpx-vp9", {"deadline": "realtime", "cpu-used": "8", "lag-in-frames": "0"}),
        Codec.H264: ("libx264", _H264),
        Codec.AV1: ("libsvtav1", {"preset": "11", "svtav1-params": "rtc=1:pred-struct=1:rc=2:lp=1"}),
    }
)


class Piece(NamedTuple):
    """What goes into one RTP packet."""

    marker: bool
    timestamp: int
    payload: bytes


class Burst(NamedTuple):
    """The packets of one encoded frame, none where DTX leaves it out; `key` is true of every audio frame."""

    kind: Kind
    key: bool
    pieces: tuple[Piece, ...]


class AudioEncoder:
    """Encodes blocks of 20 ms. `first_timestamp` is the RTP timestamp of media time 0; `dtx`: silence is left out."""

    def __init__(self, codec: Codec, *, index: int, first_timestamp: int, dtx: bool = False) -> None:
        self._index = index
        self._dtx = dtx
        self._silent = 0
        self._rate = CLOCK_RATE_HZ[codec]
        self._layout = "stereo" if CHANNELS[codec] == 2 else "mono"
        self._packetizer = _Packetizer(codec, first_timestamp, rate=self._rate, layout=self._layout)
        self._packetizer.stream.bit_rate = _AUDIO_BIT_RATE

    def encode(self, number: int) -> Burst:
        """Block `number`, counted from media time 0."""
        count = int(self._rate * BLOCK_S)
        samples = content.beep(number * count, count, self._index, self._rate)
        interleaved = samples.repeat(2) if self._layout == "stereo" else samples
        frame = av.AudioFrame.from_ndarray(interleaved[None], format="s16", layout=self._layout)
        frame.sample_rate, frame.time_base, frame.pts = self._rate, Fraction(1, self._rate), number * count
        pieces = self._packetizer.encode(frame, number * BLOCK_S)[1]
        return Burst(Kind.AUDIO, key=True, pieces=() if self._dtx and self._left_out(pieces) else pieces)

    def close(self) -> None:
        """Ends the encoder."""
        self._packetizer.close()

    def _left_out(self, pieces: tuple[Piece, ...]) -> bool:
        self._silent = self._silent + 1 if len(pieces[0].payload) <= _SILENCE_BYTES else 0
        return self._silent > _DTX_AFTER and bool((self._silent - _DTX_AFTER) % _DTX_EVERY)


class VideoEncoder:
    """Encodes frames of one size; a key frame every `key_frame_interval_s`, and whenever asked for."""

    def __init__(
        self,
        codec: Codec,
        *,
        shape: Shape,
        index: int,
        bit_rate: int,
        key_frame_interval_s: float,
        first_timestamp: int,
    ) -> None:
        self._index = index
        self._codec, self._first_timestamp = codec, first_timestamp
        self._bit_rate, self._key_frame_interval_s = bit_rate, key_frame_interval_s
        self._open(shape)

    def _open(self, shape: Shape) -> None:
        self._shape = shape
        self._packetizer = _Packetizer(self._codec, self._first_timestamp, rate=shape.fps)
        stream = self._packetizer.stream
        stream.width, stream.height, stream.pix_fmt = shape.width, shape.height, "yuv420p"
        stream.bit_rate = self._bit_rate
        stream.codec_context.gop_size = round(self._key_frame_interval_s * shape.fps)
        stream.codec_context.thread_count = 1

    def resize(self, shape: Shape) -> None:
        """The next frame is a key frame of this size, at the same frame rate."""
        self._packetizer.close()
        self._open(shape)

    def encode(self, number: int, *, force_key: bool) -> Burst:
        """Frame `number`, counted from media time 0."""
        frame = av.VideoFrame.from_ndarray(content.frame(number, self._shape, self._index), format="yuv420p")
        frame.time_base, frame.pts = Fraction(1, self._shape.fps), number
        if force_key:
            frame.pict_type = PictureType.I
        key, pieces = self._packetizer.encode(frame, Fraction(number, self._shape.fps))
        return Burst(Kind.VIDEO, key, pieces)

    def close(self) -> None:
        """Ends the encoder."""
        self._packetizer.close()


class _Packetizer:
    """An encoder that answers each frame with a packet at once, and libavformat's RTP muxer behind it."""

    def __init__(self, codec: Codec, first_timestamp: int, *, rate: int, **options: Any) -> None:
        self._written: list[bytes] = []
        self._clock_rate = CLOCK_RATE_HZ[codec]
        self._first_timestamp = first_timestamp
        self._head_start: int | None = None
        name, encoder_options = _ENCODERS[codec]
        self._container = av.open(
            self, "w", format="rtp", options={"packetsize": str(_LARGEST_PACKET), "strict": "experimental"}
        )
        self.stream: Any = self._container.add_stream(name, rate=rate, options=encoder_options, **options)

    def write(self, datagram: bytes) -> int:
        """The muxer's output: it flushes after each packet."""
        self._written.append(bytes(datagram))
        return len(datagram)

    def encode(self, frame: av.AudioFrame | av.VideoFrame, at: Fraction) -> tuple[bool, tuple[Piece, ...]]:
        """Encodes the frame of media time `at`: whether it became a key frame, and its RTP payloads."""
        packets = self.stream.encode(frame)
        self._container.mux(packets)
        timestamp = self._timestamp(at, packets[0])
        datagrams, self._written = self._written, []
        pieces: list[Piece] = []
        for datagram in datagrams:
            # The muxer's own sender reports know nothing of the consumers.
            if not is_rtcp(datagram):
                packet = parse_rtp(datagram)
                pieces.append(Piece(packet.marker, timestamp, bytes(packet.payload)))
        return packets[0].is_keyframe, tuple(pieces)

    def close(self) -> None:
        """Flushes and ends both."""
        if self._head_start is not None:
            self._container.mux(self.stream.encode(None))
        self._container.close()

    def _timestamp(self, at: Fraction, packet: Any) -> int:
        """By the frame, not by the packet: over a pause libavcodec gives the first packet the time before it.

        What the encoder adds in front (Opus: 6.5 ms) is taken off, as its own timestamps do.
        """
        if self._head_start is None:
            self._head_start = round((at - packet.pts * packet.time_base) * self._clock_rate)
        return (self._first_timestamp + round(at * self._clock_rate) - self._head_start) & 0xFFFFFFFF
