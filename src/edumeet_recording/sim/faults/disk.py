"""A small disk for one node, which can be filled up and made to hang, as far as this machine permits it.

It is a file system in an image in memory: only a real one can be frozen (fsfreeze(8)). Where no image can be mounted it
is a tmpfs, which never hangs.
"""

import asyncio
import subprocess
from collections.abc import AsyncGenerator, Generator
from contextlib import asynccontextmanager, contextmanager, suppress
from pathlib import Path

MIB = 1024 * 1024
SIZE_BYTES = 256 * MIB
"""The tape of minutes without a storage."""
_BLOCKS_BYTES = (MIB, 4096)
HANG_S, BREATH_S = 5.0, 0.2
_HANGING = """
until [ "$mended" ]; do
    fsfreeze --freeze "$0" || exit 1
    timeout "$1" cat && mended=yes
    fsfreeze --unfreeze "$0"
    sleep "$2"
done
"""
"""It ends, and never without thawing, once nobody holds its input open any more: also where we are killed."""


class SmallDisk:
    """What is mounted at `folder`. `hangs`: it can be made to."""

    def __init__(self, folder: Path, *, hangs: bool) -> None:
        self.hangs = hangs
        self._folder = folder
        self._ballast = folder / "ballast"

    @asynccontextmanager
    async def full(self) -> AsyncGenerator[None]:
        """While the block is open not one more block fits."""
        await asyncio.to_thread(self._fill)
        try:
            yield
        finally:
            self._ballast.unlink(missing_ok=True)

    def _fill(self) -> None:
        with self._ballast.open("ab", buffering=0) as ballast:
            for size in _BLOCKS_BYTES:
                with suppress(OSError):
                    while ballast.write(bytes(size)) == size:
                        pass

    @asynccontextmanager
    async def slow(self) -> AsyncGenerator[None]:
        """While the block is open, what is written waits for up to `HANG_S` seconds, again and again."""
        command = ("sh", "-c", _HANGING, str(self._folder), str(HANG_S), str(BREATH_S))
        hanging = await asyncio.create_subprocess_exec(
            *command, stdin=asyncio.subprocess.PIPE, cwd="/", start_new_session=True
        )
        try:
            yield
        finally:
            if hanging.stdin is not None:
                hanging.stdin.close()
            await hanging.wait()


@contextmanager
def small_disk(folder: Path) -> Generator[SmallDisk | None]:
    """A disk at `folder`, which is made, as long as the block is open; None where that is not permitted."""
    folder.mkdir()
    if not _run("mount", "-t", "tmpfs", "-o", f"size={SIZE_BYTES + MIB}", "none", str(folder)):
        yield None
        return
    hangs = _mount_image(folder)
    try:
        yield SmallDisk(folder, hangs=hangs)
    finally:
        for _ in range(1 + hangs):
            # what was killed in the midst of writing may hold it for a moment
            _run("umount", "--lazy", str(folder))


def _mount_image(folder: Path) -> bool:
    """Mount an image that lies in `folder` over it."""
    image = folder / "image"
    with image.open("wb") as file:
        file.truncate(SIZE_BYTES)
    made = _run("mkfs.ext4", "-q", "-m", "0", "-O", "^has_journal", str(image))
    if made and _run("mount", "-o", "loop", str(image), str(folder)):
        return True
    image.unlink()
    return False


def _run(*command: str) -> bool:
    """Whether it succeeded."""
    try:
        ended = subprocess.run(command, capture_output=True, check=False)  # noqa: S603 - one of those above
    except FileNotFoundError:
        return False
    return ended.returncode == 0
