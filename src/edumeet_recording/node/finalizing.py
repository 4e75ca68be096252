"""Runs finalizations as children: one process each, in a session of its own, ended when no longer wanted."""

import asyncio
import os
import shutil
import signal
import sys
from collections.abc import AsyncGenerator, Callable, Sequence
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from tempfile import mkdtemp
from typing import Annotated

from pydantic import Field, TypeAdapter, ValidationError

from edumeet_recording.node.events import Event, FinalizeEnded, FinalizeProgressed
from edumeet_recording.wire.base import Message
from edumeet_recording.wire.node_link import FinalizeDone, FinalizeFailed, FinalizeProgress, FinalizeTask

COMMAND = (sys.executable, "-m", "edumeet_recording.node.finalize")
STOP_S = 2.0
"""Time between SIGTERM and SIGKILL."""
_BETWEEN = "."
"""Job, attempt, and what makes a work folder's name unique."""
_TAIL_BYTES = 2000
_LONGEST_LINE_BYTES = 16 * 1024 * 1024
"""The last line holds the whole report."""


class _Progress(Message):
    phase: str
    fraction: float


_OUTCOME: TypeAdapter[FinalizeDone | FinalizeFailed] = TypeAdapter(
    Annotated[FinalizeDone | FinalizeFailed, Field(discriminator="type")]
)


class Finalizers:
    """`work` is emptied first, and tells what an earlier life was at: `unfinished`, job and attempt.

    `tell` gets the core's events.
    """

    def __init__(
        self,
        work: Path,
        environment: dict[str, str],
        tell: Callable[[Event], None],
        command: Sequence[str] = COMMAND,
    ) -> None:
        work.mkdir(parents=True, exist_ok=True)
        unfinished: list[tuple[str, int]] = []
        for left in work.iterdir():
            match left.name.rsplit(_BETWEEN, 2):
                case [job_id, attempt, _]:
                    unfinished.append((job_id, int(attempt)))
                case _:
                    pass  # of a release that named no task
            shutil.rmtree(left, ignore_errors=True)
        self.unfinished = tuple(unfinished)
        self._work = work
        self._environment = environment
        self._tell = tell
        self._command = command
        self._queue: asyncio.Queue[FinalizeTask] = asyncio.Queue()
        self._stops: dict[tuple[str, int], asyncio.Event] = {}

    def start(self, task: FinalizeTask) -> None:
        """Begin a finalization."""
        self._stops[task.job_id, task.attempt] = asyncio.Event()
        self._queue.put_nowait(task)

    def stop(self, job_id: str, attempt: int) -> None:
        """End it; it tells `FinalizeEnded` without an outcome."""
        if (stop := self._stops.get((job_id, attempt))) is not None:
            stop.set()

    async def run(self) -> None:
        """Until cancelled; then no child is left."""
        async with asyncio.TaskGroup() as group:
            while True:
                group.create_task(self._finalize(await self._queue.get()))

    async def _finalize(self, task: FinalizeTask) -> None:
        stop = self._stops[task.job_id, task.attempt]
        try:
            outcome = await self._attempt(task, stop)
        except OSError as error:  # the disk takes no folder, or the machine has no room for a process
            outcome = FinalizeFailed(job_id=task.job_id, attempt=task.attempt, error=str(error), unavailable=True)
        del self._stops[task.job_id, task.attempt]
        self._tell(FinalizeEnded(task.job_id, task.attempt, None if stop.is_set() else outcome))

    async def _attempt(self, task: FinalizeTask, stop: asyncio.Event) -> FinalizeDone | FinalizeFailed:
        async with self._folder(task) as folder, self._child(folder) as process, asyncio.TaskGroup() as group:
            stopping = group.create_task(_stop_when(stop, process))
            tail = group.create_task(_tail(process))
            outcome = await self._converse(process, task)
            exit_code = await process.wait()
            stopping.cancel()
        error = f"the finalize process ended with code {exit_code}: {tail.result()}"
        return outcome or FinalizeFailed(job_id=task.job_id, attempt=task.attempt, error=error)

    async def _converse(
        self, process: asyncio.subprocess.Process, task: FinalizeTask
    ) -> FinalizeDone | FinalizeFailed | None:
        """Hand the task over and read what the child has to say; its outcome, if it says one."""
        assert process.stdin is not None  # noqa: S101 - both are pipes
        assert process.stdout is not None  # noqa: S101 - for the type checker
        with suppress(ConnectionError):
            process.stdin.write(task.to_json().encode() + b"\n")
            await process.stdin.drain()
            process.stdin.close()
        outcome = None
        async for line in process.stdout:
            with suppress(ValidationError):
                if b'"type"' in line:
                    outcome = _OUTCOME.validate_json(line)
                else:
                    said = _Progress.model_validate_json(line)
                    progress = FinalizeProgress(
                        job_id=task.job_id, attempt=task.attempt, phase=said.phase, fraction=said.fraction
                    )
                    self._tell(FinalizeProgressed(progress))
        return outcome

    @asynccontextmanager
    async def _folder(self, task: FinalizeTask) -> AsyncGenerator[str]:
        name = _BETWEEN.join((task.job_id, str(task.attempt), ""))
        folder = await asyncio.to_thread(mkdtemp, prefix=name, dir=self._work)
        try:
            yield folder
        finally:
            await asyncio.to_thread(shutil.rmtree, folder, ignore_errors=True)

    @asynccontextmanager
    async def _child(self, folder: str) -> AsyncGenerator[asyncio.subprocess.Process]:
        process = await asyncio.create_subprocess_exec(
            *self._command,
            "--work-dir",
            folder,
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
            env=self._environment,
            start_new_session=True,
            limit=_LONGEST_LINE_BYTES,
        )
        try:
            yield process
        finally:
            await _end(process)


async def _stop_when(stop: asyncio.Event, process: asyncio.subprocess.Process) -> None:
    await stop.wait()
    await _end(process)


async def _end(process: asyncio.subprocess.Process) -> None:
    """SIGTERM, then SIGKILL, to all of the child's session."""
    for name in (signal.SIGTERM, signal.SIGKILL):
        if process.returncode is not None:
            return
        with suppress(ProcessLookupError):
            os.killpg(process.pid, name)
        with suppress(TimeoutError):
            async with asyncio.timeout(STOP_S):
                await process.wait()


async def _tail(process: asyncio.subprocess.Process) -> str:
    assert process.stderr is not None  # noqa: S101 - a pipe
    tail = b""
    while data := await process.stderr.read(4096):
        tail = (tail + data)[-_TAIL_BYTES:]
    return tail.decode(errors="replace").strip()
