"""Command lines for FFmpeg as a converter, what a quality means to it, and how its progress reads."""

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from types import MappingProxyType

from edumeet_recording.domain.codecs import AUDIO_CODECS, COPYABLE, Codec, Container, Quality


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

_FORMAT = MappingProxyType({Container.MP4: "mp4", Container.WEBM: "webm", Container.MKV: "matroska"})


@dataclass(frozen=True, slots=True)
class Conversion:
    """How a file is made of one that holds the frames as they came. `width` and `height`: the largest picture in it."""

    container: Container
    copy_video: bool
    copy_audio: bool
    quality: Quality
    width: int = 0
    height: int = 0


def conversion(container: Container, codecs: Collection[Codec], quality: Quality | None) -> Conversion | None:
    """The conversion that these codecs need, or None where all of them can be copied.

    A named quality asks for the video to be encoded anew; audio is copied wherever the container takes it.
    """
    audio = AUDIO_CODECS.intersection(codecs)
    video = frozenset(codecs) - audio
    copy_video = video <= COPYABLE[container] and (quality is None or not video)
    copy_audio = audio <= COPYABLE[container]
    if copy_video and copy_audio:
        return None
    return Conversion(container, copy_video, copy_audio, quality or Quality.MEDIUM)


def convert_argv(binary: str, source: str, target: str, conversion: Conversion) -> list[str]:
    """Convert file `source` into `target`, with progress on stdout (`progress_us`)."""
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
    # Frames that do not decode are counted in the finished file; they are no reason to have none.
    argv += ["-max_error_rate", "1", "-i", source, "-map", "0", "-map_metadata", "-1", "-fps_mode", "passthrough"]
    quality = TARGETS[conversion.quality]
    if conversion.copy_video:
        argv += ["-c:v", "copy"]
    elif conversion.container is Container.WEBM:
        argv += ["-c:v", "libvpx-vp9", "-deadline", "realtime", "-row-mt", "1"]
        argv += ["-cpu-used", f"{quality.vp9_speed}", "-crf", f"{quality.vp9_crf}", "-b:v", f"{quality.video_kbps}k"]
        argv += _picture(conversion, quality)
    else:
        argv += ["-c:v", "libx264", "-preset", quality.x264_preset, "-crf", f"{quality.x264_crf}"]
        argv += ["-maxrate", f"{quality.video_kbps}k", "-bufsize", f"{2 * quality.video_kbps}k"]
        argv += _picture(conversion, quality)
    if conversion.copy_audio:
        argv += ["-c:a", "copy"]
    else:
        argv += ["-c:a", "libopus", "-b:a", f"{quality.audio_kbps}k", "-af", "aresample=async=1000"]
    if conversion.container is Container.MP4:
        argv += ["-movflags", "+faststart"]
    return [*argv, "-f", _FORMAT[conversion.container], target]


def _picture(conversion: Conversion, quality: Target) -> list[str]:
    """Every picture is fitted into the largest one, with bars: an encoder's size is fixed, a sender's is not."""
    height = min(conversion.height, quality.max_height)
    width = round(conversion.width * height / conversion.height)
    width, height = width + width % 2, height + height % 2
    fit = f"scale={width}:{height}:force_original_aspect_ratio=decrease:force_divisible_by=2"
    return ["-pix_fmt", "yuv420p", "-vf", f"{fit},pad={width}:{height}:-1:-1,setsar=1"]


def progress_us(line: str) -> int | None:
    """How much of the output is written, in microseconds, by a line of `-progress`; None for other lines."""
    name, _, value = line.strip().partition("=")
    return int(value) if name == "out_time_us" and value.isdecimal() else None
