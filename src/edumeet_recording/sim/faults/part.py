"""A process of the deployment that can be started, killed, stopped as it stands, and started again."""

import os
import signal
from collections.abc import Callable, Collection
from contextlib import AbstractAsyncContextManager, AsyncExitStack, suppress
from pathlib import Path

from edumeet_recording.domain.errors import Unavailable
from edumeet_recording.sim.faults.diary import Diary
from edumeet_recording.sim.processes import OwnProcess, descendants

_WORKER = b"edumeet_recording.node.capture"
_FINALIZER = b"edumeet_recording.node.finalize"


class Part:
    """One machine, so to say: a process, its children, and whatever else works in its `folder`, as capture processes do
    that have outlived their agent. `make` starts it anew each time, with the same name, settings and folder.

    `answers`: it prints a line of JSON once it is there, which a start waits for.
    """

    def __init__(
        self,
        name: str,
        make: Callable[[], AbstractAsyncContextManager[OwnProcess]],
        folder: Path,
        diary: Diary,
        *,
        answers: bool,
    ) -> None:
        self.name = name
        self.folder = folder
        self.answer: dict[str, str] = {}
        self.deaths: list[float] = []
        """When all of it was killed, epoch seconds."""
        self._make = make
        self._diary = diary
        self._answers = answers
        self._stack = AsyncExitStack()
        self._process: OwnProcess | None = None
        self._log_from = 0

    @property
    def runs(self) -> bool:
        """True from a start until it is ended or killed by us."""
        return self._process is not None

    @property
    def pid(self) -> int:
        """Of the process itself. Raises `RuntimeError` where it does not run."""
        if self._process is None:
            raise RuntimeError(f"{self.name} does not run")
        return self._process.process.pid

    def last_words(self) -> str:
        """The end of its log."""
        return f"{self.name}: {self._process.last_words() if self._process else 'does not run'}"

    def log_lines(self) -> list[str]:
        """What it has logged since it was last started."""
        if self._process is None:
            return []
        with self._process.log.open("rb") as log:
            log.seek(self._log_from)
            return log.read().decode(errors="replace").splitlines()

    async def start(self) -> None:
        """Start it, and wait until it is there where it says so. Raises `Unavailable` where it ends before."""
        self._process = await self._stack.enter_async_context(self._make())
        self._log_from = self._process.log_from
        if self._answers:
            try:
                self.answer = await self._process.answer()
            except Unavailable:
                await self._over()
                raise
        self._diary.note("started", part=self.name, pid=self.pid)

    def pids(self) -> set[int]:
        """All that runs of it."""
        return {*([self.pid, *descendants(self.pid)] if self.runs else []), *stragglers(self.folder)}

    async def kill(self) -> float:
        """SIGKILL for all of it, as when a machine is switched off; when that was (epoch seconds)."""
        at = self._diary.note("killed with all its children", part=self.name)
        self.deaths.append(at)
        # again for those that one of them started meanwhile
        while pids := self.pids():
            for pid in pids:
                self._send(signal.SIGKILL, pid)
            await self._over()
        return at

    async def kill_alone(self) -> float:
        """SIGKILL for the process itself; when that was."""
        at = self._diary.note("killed", part=self.name)
        self._send(signal.SIGKILL, self.pid)
        await self._over()
        return at

    def kill_workers(self) -> float:
        """SIGKILL for the capture processes of a node; when that was."""
        workers = [pid for pid in self.pids() if _WORKER in _command(pid)]
        at = self._diary.note("capture processes killed", part=self.name, pids=workers)
        for pid in workers:
            self._send(signal.SIGKILL, pid)
        return at

    def kill_finalizers(self, spared: Collection[str]) -> set[str]:
        """SIGKILL for those children of a node that make files, but not those of the jobs in `spared`; the jobs."""
        making = {pid: _job_of(_command(pid)) for pid in descendants(self.pid)} if self.runs else {}
        killed = {pid: job_id for pid, job_id in making.items() if job_id and job_id not in spared}
        for pid, job_id in killed.items():
            self._diary.note("finalize process killed", part=self.name, job_id=job_id)
            self._send(signal.SIGKILL, pid)
        return set(killed.values())

    def pause(self) -> float:
        """SIGSTOP for all of it, as when a machine hangs; when that was."""
        at = self._diary.note("stopped as it stands", part=self.name)
        for pid in self.pids():
            self._send(signal.SIGSTOP, pid)
        return at

    def resume(self) -> float:
        """SIGCONT; when that was."""
        at = self._diary.note("goes on", part=self.name)
        for pid in self.pids():
            self._send(signal.SIGCONT, pid)
        return at

    async def end(self) -> int | None:
        """Ask it to end; its exit code, None where it does not run."""
        if self._process is None:
            return None
        for pid in self.pids():
            self._send(signal.SIGCONT, pid)
        code = await self._process.end()
        self._diary.note("ended", part=self.name, code=code)
        await self._over()
        return code

    async def _over(self) -> None:
        self._process = None
        await self._stack.aclose()

    def _send(self, number: signal.Signals, pid: int) -> None:
        with suppress(ProcessLookupError):
            os.kill(pid, number)


def _job_of(command: bytes) -> str:
    """The job of a finalize process, which its work folder is named after; empty for other processes."""
    folder = command.rstrip(b"\0").rpartition(b"\0")[2].decode(errors="replace")
    return Path(folder).name.partition(".")[0] if _FINALIZER in command else ""


def _command(pid: int) -> bytes:
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes()
    except OSError:
        return b""


def stragglers(folder: Path) -> dict[int, str]:
    """Processes that work in `folder` or below, by pid with their command; zombies are nobody's work."""
    found: dict[int, str] = {}
    for entry in Path("/proc").glob("[0-9]*"):
        try:
            works_in = (entry / "cwd").resolve(strict=True)
            state = (entry / "stat").read_text().rpartition(")")[2].split()[0]
        except OSError:
            continue
        pid = int(entry.name)
        if works_in.is_relative_to(folder) and state != "Z" and pid != os.getpid():
            found[pid] = _command(pid).replace(b"\0", b" ").decode(errors="replace").strip()
    return found
