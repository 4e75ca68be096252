"""Runs FFmpeg as a child: its own process group, killed with its owner, its progress heard and its last words kept.

Where a hardware encoder fails, or the options of a caller, the file is made without them, and a note says so.
"""

import asyncio
import signal
from collections import deque
from collections.abc import AsyncGenerator, Callable, Iterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import cast

import imageio_ffmpeg

from edumeet_recording.config import NodeSettings
from edumeet_recording.domain.codecs import FileFormat
from edumeet_recording.lifeline import die_with_parent
from edumeet_recording.media.ffmpeg import Conversion, Encoder, convert_argv, progress_us

NVIDIA_DEVICE = Path("/dev/nvidia0")
LAST_LINES = 12
"""How much of what FFmpeg said last an error carries."""


class TranscodeFailed(Exception):
    """FFmpeg ended with an error; the text is what it said last."""

    @property
    def disk_full(self) -> bool:
        """True where that is why."""
        return "No space left on device" in str(self)


@dataclass(frozen=True, slots=True)
class Converter:
    """What this machine converts with. `device` is VAAPI's."""

    binary: str
    encoder: Encoder = Encoder.SOFTWARE
    device: str = ""

    @classmethod
    def of(cls, settings: NodeSettings) -> "Converter":
        """The configured FFmpeg or the one installed with this package; the configured encoder or the GPU's."""
        device = settings.vaapi_device
        by_name = {"none": Encoder.SOFTWARE, "vaapi": Encoder.VAAPI, "nvenc": Encoder.NVENC}
        found = "nvenc" if NVIDIA_DEVICE.exists() else "vaapi" if Path(device).exists() else "none"
        name = found if settings.hw_encoder == "auto" else settings.hw_encoder
        return cls(settings.ffmpeg_bin or imageio_ffmpeg.get_ffmpeg_exe(), by_name[name], device)


@dataclass(frozen=True, slots=True)
class Converted:
    """How a conversion went: what encoded the video (None: nothing did), and what to tell of it."""

    encoder: str | None
    notes: tuple[str, ...]


async def convert(
    converter: Converter,
    source: Path,
    target: Path,
    conversion: Conversion,
    *,
    duration_s: float,
    on_fraction: Callable[[float], None],
) -> Converted:
    """Convert `source` of `duration_s`, by the GPU where there is one, else by the processor.

    Raises `TranscodeFailed`, and `OSError` where there is no FFmpeg to run.
    """
    notes: list[str] = []
    for attempt, encoder in _attempts(converter, conversion):
        argv = convert_argv(
            converter.binary, str(source), str(target), attempt, encoder=encoder, device=converter.device
        )
        try:
            await transcode(argv, duration_s, on_fraction)
        except TranscodeFailed as failed:
            is_last = encoder is Encoder.SOFTWARE and not attempt.args
            if is_last or failed.disk_full:
                raise
            what = "customFFmpegArgs" if encoder is Encoder.SOFTWARE else f"the hardware encoder {encoder}"
            notes.append(f"{what} failed, the file was made without: {failed}"[:500])
        else:
            made = "libvpx-vp9" if attempt.format is FileFormat.WEBM else encoder.value
            return Converted(None if attempt.copy_video else made, tuple(notes))
    raise AssertionError("the last attempt returns or raises")


def _attempts(converter: Converter, conversion: Conversion) -> Iterator[tuple[Conversion, Encoder]]:
    """What is tried, one after the other. The caller's options are x264's and libvpx's, not a GPU's."""
    if conversion.encodes_h264 and converter.encoder is not Encoder.SOFTWARE and not conversion.args:
        yield conversion, converter.encoder
    yield conversion, Encoder.SOFTWARE
    if conversion.args:
        yield replace(conversion, args=()), Encoder.SOFTWARE


async def transcode(argv: Sequence[str], duration_s: float, on_fraction: Callable[[float], None]) -> None:
    """Run FFmpeg to its end; `on_fraction` hears how much of `duration_s` is written.

    Raises `TranscodeFailed`, and `OSError` where there is no FFmpeg to run.
    """
    async with _running(argv) as process:
        last = await _follow(process, duration_s, on_fraction)
        code = await process.wait()
    if code:
        raise TranscodeFailed(f"FFmpeg ended with {code}: " + " | ".join(last))


@asynccontextmanager
async def _running(argv: Sequence[str]) -> AsyncGenerator[asyncio.subprocess.Process, None]:
    process = await asyncio.create_subprocess_exec(
        *argv,
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
        start_new_session=True,
        preexec_fn=lambda: die_with_parent(signal.SIGKILL),
    )
    try:
        yield process
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()


async def _follow(
    process: asyncio.subprocess.Process, duration_s: float, on_fraction: Callable[[float], None]
) -> Sequence[str]:
    """Hear FFmpeg out on both pipes; its last lines on stderr."""
    said: deque[str] = deque(maxlen=LAST_LINES)

    def progress(line: str) -> None:
        written_us = progress_us(line)
        if written_us is not None:
            on_fraction(min(1.0, written_us / 1e6 / max(duration_s, 0.001)))

    async with asyncio.TaskGroup() as group:
        group.create_task(_hear(cast("asyncio.StreamReader", process.stdout), progress))
        group.create_task(_hear(cast("asyncio.StreamReader", process.stderr), said.append))
    return said


async def _hear(stream: asyncio.StreamReader, take: Callable[[str], None]) -> None:
    async for line in stream:
        take(line.decode(errors="replace").strip())
