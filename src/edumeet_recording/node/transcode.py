"""Runs FFmpeg as a child: its own process group, killed with its owner, its progress heard and its last words kept."""

import asyncio
import signal
from collections import deque
from collections.abc import AsyncGenerator, Callable, Sequence
from contextlib import asynccontextmanager
from typing import cast

import imageio_ffmpeg

from edumeet_recording.media.ffmpeg import progress_us
from edumeet_recording.node.lifeline import die_with_parent

LAST_LINES = 12
"""How much of what FFmpeg said last an error carries."""


class TranscodeFailed(Exception):
    """FFmpeg ended with an error; the text is what it said last."""


def ffmpeg_binary(configured: str) -> str:
    """The FFmpeg to run: the configured one, or the one that is installed with this package."""
    return configured or imageio_ffmpeg.get_ffmpeg_exe()


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
