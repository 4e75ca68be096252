"""Codecs, containers and qualities this service knows, and which container takes which codec by copy."""

from enum import StrEnum, unique
from types import MappingProxyType


@unique
class Kind(StrEnum):
    """Kind of a media stream."""

    AUDIO = "audio"
    VIDEO = "video"


@unique
class Codec(StrEnum):
    """Codec names as in SDP's rtpmap, lower case."""

    OPUS = "opus"
    PCMU = "pcmu"
    PCMA = "pcma"
    VP8 = "vp8"
    VP9 = "vp9"
    H264 = "h264"
    AV1 = "av1"


AUDIO_CODECS = frozenset({Codec.OPUS, Codec.PCMU, Codec.PCMA})
CLOCK_RATE_HZ: MappingProxyType[Codec, int] = MappingProxyType(
    {c: 48000 if c is Codec.OPUS else 8000 if c in AUDIO_CODECS else 90000 for c in Codec}
)


@unique
class Container(StrEnum):
    """Format of the finished file."""

    MP4 = "mp4"
    WEBM = "webm"
    MKV = "mkv"


COPYABLE: MappingProxyType[Container, frozenset[Codec]] = MappingProxyType(
    {
        Container.MP4: frozenset({Codec.H264, Codec.VP9, Codec.AV1, Codec.OPUS}),
        Container.WEBM: frozenset({Codec.VP8, Codec.VP9, Codec.AV1, Codec.OPUS}),
        Container.MKV: frozenset({Codec.VP8, Codec.VP9, Codec.H264, Codec.AV1, Codec.OPUS}),
    }
)
"""Codecs a container takes without re-encoding; PCMU and PCMA, which no browser plays in any of them, become Opus."""


@unique
class Quality(StrEnum):
    """Target of a transcode; without one, the sender's quality is kept."""

    LOW = "low"
    MEDIUM = "medium"
    HIGH = "high"


def kind_of(codec: Codec) -> Kind:
    """`audio` or `video`."""
    return Kind.AUDIO if codec in AUDIO_CODECS else Kind.VIDEO
