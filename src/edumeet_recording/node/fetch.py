"""Brings a job's tape to the work folder, every chunk checked; a missing or broken one is a warning and a gap."""

import asyncio
import hashlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise
from mmap import ACCESS_READ, mmap
from pathlib import Path
from typing import Protocol

from edumeet_recording.domain.errors import NotFound
from edumeet_recording.media.clock_steps import ClockStep, set_right
from edumeet_recording.media.tape import Record, TapeError, decode_header, read_records
from edumeet_recording.wire.node_link import FinalizeTask, TapeChunk, TaskCapture

AT_ONCE = 6
"""Chunks that are fetched at a time."""


class ChunkStore(Protocol):
    """Where chunks come from."""

    async def get(self, key: str) -> bytes:
        """The object's bytes. Raises `NotFound`, `Unavailable`."""
        ...


@dataclass(frozen=True, slots=True)
class FetchedCapture:
    """A capture with the chunks that could be had; `number` is its place in the task."""

    number: int
    capture: TaskCapture
    paths: Sequence[Path]
    steps: Sequence[ClockStep] = ()
    """That the node's clock made, and that arrival times are to be without."""

    def chunks(self) -> Iterator[Iterator[Record]]:
        """The records of each chunk, in the order they were written."""
        return set_right(self._as_written(), self.steps) if self.steps else self._as_written()

    def _as_written(self) -> Iterator[Iterator[Record]]:
        for path in self.paths:
            with path.open("rb") as file:
                # Mapped, not read, for both passes go through all of it; unmapped when its last packet is let go.
                mapped = mmap(file.fileno(), 0, access=ACCESS_READ)
            yield read_records(memoryview(mapped))


@dataclass(frozen=True, slots=True)
class FetchedTape:
    """All captures of a job, on disk."""

    captures: Sequence[FetchedCapture]
    warnings: Sequence[str]

    @property
    def chunks(self) -> int:
        """How many chunks could be had."""
        return sum(len(one.paths) for one in self.captures)


async def fetch(
    store: ChunkStore, task: FinalizeTask, folder: Path, on_fraction: Callable[[float], None]
) -> FetchedTape:
    """Fetch every chunk of the task into `folder`; `on_fraction` hears how much is there.

    Raises `Unavailable`, and `OSError` where the disk is full.
    """
    places = [
        (chunk, folder / f"{number}-{chunk.seq:08d}.tape")
        for number, capture in enumerate(task.captures)
        for chunk in capture.chunks
    ]
    slots = asyncio.Semaphore(AT_ONCE)
    troubles: dict[Path, str] = {}
    done = 0

    async def bring(chunk: TapeChunk, path: Path) -> None:
        nonlocal done
        async with slots:
            trouble = await _bring(store, chunk, path)
        if trouble:
            troubles[path] = trouble
        done += 1
        on_fraction(done / len(places))

    try:
        async with asyncio.TaskGroup() as group:
            for chunk, path in places:
                group.create_task(bring(chunk, path))
    except ExceptionGroup as troubles_together:
        raise troubles_together.exceptions[0] from None
    captures = [_fetched(number, capture, folder, troubles) for number, capture in enumerate(task.captures)]
    warnings = [*troubles.values(), *(text for capture in task.captures for text in _missing(capture))]
    return FetchedTape(captures, warnings)


async def _bring(store: ChunkStore, chunk: TapeChunk, path: Path) -> str | None:
    try:
        data = await store.get(chunk.key)
    except NotFound:
        return f"chunk {chunk.key} is missing"
    return await asyncio.to_thread(_keep, chunk, data, path)


def _keep(chunk: TapeChunk, data: bytes, path: Path) -> str | None:
    if hashlib.sha256(data).hexdigest() != chunk.sha256:
        return f"chunk {chunk.key} is broken: its checksum differs"
    try:
        decode_header(data)
    except TapeError as error:
        return f"chunk {chunk.key} is broken: {error}"
    path.write_bytes(data)
    return None


def _fetched(number: int, capture: TaskCapture, folder: Path, troubles: dict[Path, str]) -> FetchedCapture:
    chunks = sorted(capture.chunks, key=lambda chunk: chunk.seq)
    paths = [folder / f"{number}-{chunk.seq:08d}.tape" for chunk in chunks]
    return FetchedCapture(number, capture, [path for path in paths if path not in troubles])


def _missing(capture: TaskCapture) -> Iterator[str]:
    """A chunk whose successors are stored was lost with its node."""
    numbers = sorted(chunk.seq for chunk in capture.chunks)
    for before, after in pairwise(numbers):
        if after - before > 1:
            yield f"capture {capture.capture_id}: chunks {before + 1} to {after - 1} were never stored"
