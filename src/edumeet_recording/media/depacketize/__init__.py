"""RTP payloads to frames, one module a codec."""

from collections.abc import Callable
from types import MappingProxyType

from edumeet_recording.domain.codecs import Codec
from edumeet_recording.media.depacketize import av1, h264, vp8, vp9
from edumeet_recording.media.depacketize.assembly import PictureBuilder, VideoDepacketizer
from edumeet_recording.media.depacketize.audio import AudioDepacketizer
from edumeet_recording.media.depacketize.base import Depacketizer, Frame
from edumeet_recording.media.depacketize.opus import opus_duration
from edumeet_recording.media.depacketize.pcm import pcm_duration
from edumeet_recording.media.errors import MediaError

__all__ = ["Depacketizer", "Frame", "depacketizer_for", "opus_duration", "pcm_duration", "resolution"]

_DURATION = MappingProxyType({Codec.OPUS: opus_duration, Codec.PCMU: pcm_duration, Codec.PCMA: pcm_duration})
_BUILDER: MappingProxyType[Codec, Callable[[], PictureBuilder]] = MappingProxyType(
    {Codec.VP8: vp8.Vp8Builder, Codec.VP9: vp9.Vp9Builder, Codec.H264: h264.H264Builder, Codec.AV1: av1.Av1Builder}
)
_RESOLUTION = MappingProxyType(
    {
        Codec.VP8: vp8.resolution,
        Codec.VP9: vp9.resolution,
        Codec.H264: h264.resolution,
        Codec.AV1: av1.resolution,
    }
)


def depacketizer_for(codec: Codec) -> Depacketizer:
    """A depacketizer for one stream of `codec`."""
    if codec in _DURATION:
        return AudioDepacketizer(_DURATION[codec])
    return VideoDepacketizer(_BUILDER[codec]())


def resolution(codec: Codec, key_frame: bytes) -> tuple[int, int]:
    """Width and height in pixels of a key frame, of its bitstream. Raises `MediaError` where there are none."""
    if codec not in _RESOLUTION:
        raise MediaError(f"{codec} has no pictures")
    return _RESOLUTION[codec](key_frame)
