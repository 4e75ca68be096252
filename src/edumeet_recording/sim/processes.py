"""Processes of our own command line, for demo and tests: started, asked, ended or killed, and never left behind."""

import asyncio
import json
import os
import resource
import signal
import sys
from collections.abc import AsyncGenerator, Iterator, Mapping
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from edumeet_recording.config import environment_of_child
from edumeet_recording.domain.errors import Unavailable
from edumeet_recording.lifeline import die_with_parent

START_TIMEOUT_S = 60.0
END_TIMEOUT_S = 8.0
"""Longer than the five seconds that a process promises: who needs them is told on by a test, not by a kill here."""

_TICKS_A_SECOND = os.sysconf("SC_CLK_TCK")
_LAST_LINES = 5


def raise_file_limit(files: int) -> None:
    """Of this process and of those that it starts, as far as is permitted."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (max(soft, min(files, hard)), hard))


@dataclass(frozen=True, slots=True)
class OwnProcess:
    """A running process of ours; `log` has its standard error, from byte `log_from` on."""

    name: str
    log: Path
    log_from: int
    process: asyncio.subprocess.Process

    async def answer(self) -> dict[str, str]:
        """The line of JSON it prints once it is there; raises `Unavailable` where it ends before."""
        output = self.process.stdout
        if output is None:
            raise RuntimeError("its output is not ours to read")
        try:
            async with asyncio.timeout(START_TIMEOUT_S):
                line = await output.readline()
        except TimeoutError as error:
            raise Unavailable(f"{self.name} is not there after {START_TIMEOUT_S:g} s: {self.last_words()}") from error
        if not line:
            raise Unavailable(f"{self.name} ended before it was there: {self.last_words()}")
        return json.loads(line)

    def last_words(self) -> str:
        """The end of its log."""
        return " | ".join(self.log.read_text().splitlines()[-_LAST_LINES:])

    def signal(self, number: signal.Signals) -> None:
        """Send a signal to this process alone; no error where it has ended."""
        with suppress(ProcessLookupError):
            self.process.send_signal(number)

    async def end(self) -> int:
        """Its exit code after SIGINT, or after SIGKILL where that does not help."""
        self.signal(signal.SIGINT)
        try:
            async with asyncio.timeout(END_TIMEOUT_S):
                return await self.process.wait()
        except TimeoutError:
            return await self.kill()

    async def kill(self) -> int:
        """End it as a power failure would: it and its children are told nothing."""
        family = (self.process.pid, *descendants(self.process.pid))
        for pid in family:
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        return await self.process.wait()

    def cpu_s(self) -> float:
        """Processor seconds of it and its descendants so far."""
        return sum(map(_cpu_s, (self.process.pid, *descendants(self.process.pid))))


@asynccontextmanager
async def own_process(
    name: str, *arguments: str, settings: Mapping[str, str], folder: Path, module: str = "edumeet_recording"
) -> AsyncGenerator[OwnProcess]:
    """`edumeet-recording`, or another of our modules, with `arguments` and nothing but `settings`.

    It works in `folder`, which is there, and where its log will be; it is ended when the block is left.
    """
    command = (sys.executable, "-m", module, *arguments)
    async with process(name, *command, environment=environment_of_child(settings), folder=folder) as owned:
        yield owned


@asynccontextmanager
async def process(name: str, *command: str, environment: Mapping[str, str], folder: Path) -> AsyncGenerator[OwnProcess]:
    """Any program, in `folder`, where its log will be; ended when the block is left."""
    log = folder / f"{name}.log"
    with log.open("ab") as errors:
        log_from = errors.tell()
        started = await asyncio.create_subprocess_exec(
            *command,
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.PIPE,
            stderr=errors,
            cwd=folder,
            env=environment,
            # Ctrl-C is for us, who then end it in turn
            start_new_session=True,
            preexec_fn=partial(die_with_parent, signal.SIGINT),
        )
    owned = OwnProcess(name, log, log_from, started)
    try:
        yield owned
    finally:
        await owned.end()


def descendants(pid: int) -> Iterator[int]:
    """Pids of the children of a process, and of theirs, as far as they live."""
    for children in Path(f"/proc/{pid}/task").glob("*/children"):
        with suppress(OSError):
            for child in children.read_text().split():
                yield int(child)
                yield from descendants(int(child))


def _cpu_s(pid: int) -> float:
    """proc(5): utime, stime, and those of children that have ended."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return 0.0
    return sum(map(int, fields[11:15])) / _TICKS_A_SECOND
