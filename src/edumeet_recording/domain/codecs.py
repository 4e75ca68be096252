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


@unique
class FileFormat(StrEnum):
    """What the finished file is, by its extension."""

    MP4 = "mp4"
    WEBM = "webm"
    MKV = "mkv"
    M4A = "m4a"
    OGG = "ogg"
    MKA = "mka"


_AUDIO_ONLY: MappingProxyType[Container, FileFormat] = MappingProxyType(
    {Container.MP4: FileFormat.M4A, Container.WEBM: FileFormat.OGG, Container.MKV: FileFormat.MKA}
)

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
    """Target of a transcode, where there is one."""

    LOW = "low"
    MEDIUM = "medium"
    HIGH = "high"


@unique
class CopyPolicy(StrEnum):
    """Whether the sender's frames are kept as they came, or encoded anew."""

    REQUIRE = "require"
    """Kept, or there is no file; where the picture changes its size the file is cut into parts."""
    PREFER = "prefer"
    """Kept wherever the container takes the codec."""
    NEVER = "never"
    """Encoded anew, all of them."""


def file_format(container: Container, *, include_video: bool) -> FileFormat:
    """The format of a recording's file: a container of audio alone has an extension of its own."""
    return FileFormat(container.value) if include_video else _AUDIO_ONLY[container]


def kind_of(codec: Codec) -> Kind:
    """`audio` or `video`."""
    return Kind.AUDIO if codec in AUDIO_CODECS else Kind.VIDEO
