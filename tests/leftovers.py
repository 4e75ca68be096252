"""What a test must not leave behind: tasks and child processes."""

import asyncio
import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

from tests.waiting import eventually


def children() -> set[int]:
    """Pids of our living child processes."""
    found = set[int]()
    for stat in Path("/proc").glob("[0-9]*/stat"):
        try:
            state, parent = stat.read_text().rpartition(")")[2].split()[:2]
        except (FileNotFoundError, ProcessLookupError):
            continue
        if int(parent) == os.getpid() and state != "Z":
            found.add(int(stat.parent.name))
    return found


@asynccontextmanager
async def nothing_left() -> AsyncIterator[None]:
    """Fails where a task or a child process that was not there before outlives the block by more than a moment."""
    tasks, processes = asyncio.all_tasks(), children()
    yield
    ours = asyncio.current_task()

    def clean() -> bool:
        left = [task for task in asyncio.all_tasks() - tasks if task is not ours]
        assert not left, f"tasks left behind: {left}"
        assert not children() - processes, f"processes left behind: {children() - processes}"
        return True

    await eventually(clean, timeout=10)
