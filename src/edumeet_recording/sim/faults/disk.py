"""A small disk for one node, which can be filled up: a tmpfs, where mounting one is permitted."""

import subprocess
from collections.abc import Generator
from contextlib import contextmanager, suppress
from pathlib import Path

SIZE_BYTES = 256 * 1024 * 1024
"""The tape of minutes without a storage."""
_BLOCKS_BYTES = (1024 * 1024, 4096)


class SmallDisk:
    """What is mounted at `folder`."""

    def __init__(self, folder: Path) -> None:
        self._ballast = folder / "ballast"

    def fill(self) -> None:
        """Until not one more block fits."""
        with self._ballast.open("ab", buffering=0) as ballast:
            for size in _BLOCKS_BYTES:
                with suppress(OSError):
                    while ballast.write(bytes(size)) == size:
                        pass

    def clear(self) -> None:
        """As it was before."""
        self._ballast.unlink(missing_ok=True)


@contextmanager
def small_disk(folder: Path) -> Generator[SmallDisk | None]:
    """A disk at `folder`, which is made, as long as the block is open; None where that is not permitted."""
    folder.mkdir()
    if not _run("mount", "-t", "tmpfs", "-o", f"size={SIZE_BYTES}", "none", str(folder)):
        yield None
        return
    try:
        yield SmallDisk(folder)
    finally:
        # what was killed in the midst of writing may hold it for a moment
        _run("umount", "--lazy", str(folder))


def _run(*command: str) -> bool:
    """Whether it succeeded."""
    ended = subprocess.run(command, capture_output=True, check=False)  # noqa: S603 - one of the two above
    return ended.returncode == 0
