"""The disks that faults strike: what was made to hang goes on, whatever becomes of who made it."""

import asyncio
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from edumeet_recording.sim.faults.disk import HANG_S, SmallDisk, small_disk

HANGS = """
import asyncio, pathlib, sys
from edumeet_recording.sim.faults.disk import SmallDisk

async def hang():
    async with SmallDisk(pathlib.Path(sys.argv[1]), hangs=True).slow():
        await asyncio.sleep(0.5)
        print("hangs", flush=True)
        await asyncio.sleep(60)

asyncio.run(hang())
"""


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Path]:
    folder = tmp_path / "disk"
    with small_disk(folder) as made:
        if made is None or not made.hangs:
            pytest.skip("mounting a disk that can hang is not permitted here")
        yield folder


async def test_a_disk_that_is_full_takes_nothing_until_it_is_not(disk: Path) -> None:
    async with SmallDisk(disk, hangs=True).full():
        with pytest.raises(OSError, match="No space left"):
            (disk / "file").write_bytes(bytes(1024 * 1024))
    assert (disk / "file").write_bytes(bytes(1024 * 1024))


async def test_a_disk_hangs_no_more_once_whoever_made_it_hang_is_killed(disk: Path) -> None:
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-c", HANGS, str(disk), stdout=asyncio.subprocess.PIPE
    )
    assert process.stdout is not None
    assert await process.stdout.readline() == b"hangs\n"
    writing = asyncio.create_task(asyncio.to_thread((disk / "file").write_text, "x"))
    _, waits = await asyncio.wait([writing], timeout=0.5)
    assert waits
    process.kill()
    await asyncio.wait_for(writing, HANG_S - 2)
    await process.communicate()
