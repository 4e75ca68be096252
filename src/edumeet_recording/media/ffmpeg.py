"""Command lines for FFmpeg as a converter, what a quality means to it, and how its progress reads."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum, unique
from types import MappingProxyType

from edumeet_recording.domain.codecs import (
    AUDIO_CODECS,
    COPYABLE,
    Codec,
    Container,
    CopyPolicy,
    FileFormat,
    Quality,
    file_format,
)
from edumeet_recording.media.errors import MediaError
from edumeet_recording.media.ffmpeg_options import AUDIO_OPTIONS, options_of_kinds


@dataclass(frozen=True, slots=True)
class Target:
    """What a quality means: x264's and libvpx's rate factors, speeds, ceilings of size (pixels) and rate (kbit/s)."""

    max_height: int
    video_kbps: int
    audio_kbps: int
    x264_crf: int
    x264_preset: str
    vp9_crf: int
    vp9_speed: int


TARGETS: Mapping[Quality, Target] = MappingProxyType(
    {
        Quality.LOW: Target(360, 800, 48, 28, "superfast", 40, 8),
        Quality.MEDIUM: Target(720, 2500, 96, 23, "veryfast", 34, 8),
        Quality.HIGH: Target(1080, 6000, 128, 20, "fast", 30, 7),
    }
)
"""A rate factor alone may exceed the source's bitrate, so each has a ceiling; `medium` where a transcode is needed and
no quality is named."""

LIBAVFORMAT: Mapping[FileFormat, str] = MappingProxyType(
    {
        FileFormat.MP4: "mp4",
        FileFormat.WEBM: "webm",
        FileFormat.MKV: "matroska",
        # Not "ipod", which takes no Opus.
        FileFormat.M4A: "mp4",
        FileFormat.OGG: "ogg",
        FileFormat.MKA: "matroska",
    }
)
"""What libavformat calls each format."""

RESAMPLE = "aresample=async=1000"
"""Fills gaps with silence."""


class NotCopyable(MediaError):
    """The frames were to be kept as they came, and the container does not take them."""


@unique
class Encoder(StrEnum):
    """What encodes H.264."""

    SOFTWARE = "libx264"
    VAAPI = "h264_vaapi"
    NVENC = "h264_nvenc"


@dataclass(frozen=True, slots=True)
class Conversion:
    """How a file is made of one that holds the frames as they came. `width` and `height`: the largest picture in it.

    `args` are the caller's own, checked by `ffmpeg_options`.
    """

    format: FileFormat
    copy_video: bool
    copy_audio: bool
    quality: Quality
    args: tuple[str, ...] = ()
    width: int = 0
    height: int = 0

    @property
    def encodes_h264(self) -> bool:
        """True where a hardware encoder could do it."""
        return not self.copy_video and self.format is not FileFormat.WEBM


def conversion(
    codecs: Collection[Codec],
    *,
    container: Container,
    include_video: bool,
    quality: Quality | None,
    copy: CopyPolicy,
    args: Sequence[str] = (),
) -> Conversion | None:
    """The conversion that these codecs need, or None where all of them can be copied.

    Raises `NotCopyable` where copying is required and cannot be.
    """
    audio = AUDIO_CODECS.intersection(codecs)
    video = frozenset(codecs) - audio
    may_copy = copy is not CopyPolicy.NEVER
    own = options_of_kinds(args, audio=bool(audio), video=bool(video))
    copy_video = not video or (may_copy and video <= COPYABLE[container] and not args)
    copy_audio = not audio or (may_copy and audio <= COPYABLE[container] and AUDIO_OPTIONS.isdisjoint(own))
    if copy_video and copy_audio and not own:
        return None
    if copy is CopyPolicy.REQUIRE:
        refused = ", ".join(sorted({*codecs} - COPYABLE[container]))
        raise NotCopyable(f"copy is required, and {container} does not take {refused} without a transcode")
    file = file_format(container, include_video=include_video)
    return Conversion(file, copy_video, copy_audio, quality or Quality.MEDIUM, own)


def convert_argv(
    binary: str,
    source: str,
    target: str,
    conversion: Conversion,
    *,
    encoder: Encoder = Encoder.SOFTWARE,
    device: str = "",
) -> list[str]:
    """Convert file `source` into `target`, with progress on stdout (`progress_us`); `device` is VAAPI's."""
    argv = [
        binary,
        "-nostdin",
        "-hide_banner",
        "-loglevel",
        "warning",
        "-y",
        "-progress",
        "pipe:1",
        "-stats_period",
        "0.5",
    ]
    if encoder is Encoder.VAAPI:
        argv += ["-vaapi_device", device]
    # Frames that do not decode are counted in the finished file; they are no reason to have none.
    argv += ["-max_error_rate", "1", "-i", source, "-map", "0", "-map_metadata", "-1", "-fps_mode", "passthrough"]
    argv += ["-c:v", "copy"] if conversion.copy_video else _video(conversion, encoder)
    argv += ["-c:a", "copy"] if conversion.copy_audio else _audio(conversion)
    if LIBAVFORMAT[conversion.format] == "mp4":
        argv += ["-movflags", "+faststart"]
    # The last of an option counts: the caller's stand after ours.
    return [*argv, *conversion.args, "-f", LIBAVFORMAT[conversion.format], target]


def _video(conversion: Conversion, encoder: Encoder) -> list[str]:
    quality = TARGETS[conversion.quality]
    kbps = quality.video_kbps
    ceiling = ["-maxrate", f"{kbps}k", "-bufsize", f"{2 * kbps}k"]
    picture = _picture(conversion, quality)
    if conversion.format is FileFormat.WEBM:
        argv = ["-c:v", "libvpx-vp9", "-deadline", "realtime", "-row-mt", "1", "-cpu-used", f"{quality.vp9_speed}"]
        return [*argv, "-crf", f"{quality.vp9_crf}", "-b:v", f"{kbps}k", "-pix_fmt", "yuv420p", "-vf", picture]
    if encoder is Encoder.VAAPI:
        # Scaled by the processor, which fits sizes that change in mid-stream; encoded by the GPU.
        return ["-c:v", encoder, "-b:v", f"{kbps}k", *ceiling, "-vf", f"{picture},format=nv12,hwupload"]
    if encoder is Encoder.NVENC:
        argv = ["-c:v", encoder, "-preset", "p4", "-cq", f"{quality.x264_crf}", "-b:v", "0", *ceiling]
        return [*argv, "-pix_fmt", "yuv420p", "-vf", picture]
    argv = ["-c:v", encoder, "-preset", quality.x264_preset, *ceiling, "-pix_fmt", "yuv420p", "-vf", picture]
    # Where the caller names a bit rate, a rate factor of ours would outdo it.
    return argv if "-b:v" in conversion.args else [*argv, "-crf", f"{quality.x264_crf}"]


def _audio(conversion: Conversion) -> list[str]:
    """AAC is what every player of mp4 knows; the others are at home with Opus."""
    codec = "aac" if LIBAVFORMAT[conversion.format] == "mp4" else "libopus"
    return ["-c:a", codec, "-b:a", f"{TARGETS[conversion.quality].audio_kbps}k", "-af", RESAMPLE]


def _picture(conversion: Conversion, quality: Target) -> str:
    """The filter that fits every picture into the largest, with bars: an encoder's size is fixed, a sender's is not."""
    height = min(conversion.height, quality.max_height)
    width = round(conversion.width * height / conversion.height)
    width, height = width + width % 2, height + height % 2
    fit = f"scale={width}:{height}:force_original_aspect_ratio=decrease:force_divisible_by=2"
    return f"{fit},pad={width}:{height}:-1:-1,setsar=1"


def progress_us(line: str) -> int | None:
    """How much of the output is written, in microseconds, by a line of `-progress`; None for other lines."""
    name, _, value = line.strip().partition("=")
    return int(value) if name == "out_time_us" and value.isdecimal() else None
