"""A capture process as its agent has it: begun here, or found alive at the agent's start.

Each listens at a socket of its own in the node's folder; whoever connects there is its agent.
"""

import asyncio
import os
import secrets
import signal
import socket
import sys
from collections.abc import Generator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from edumeet_recording.node.worker_link import End, encode

END_S = 3.0
"""Time a worker has to put everything on disk once it is asked to end."""
SUFFIX = ".sock"


class Process(Protocol):
    """What there is of a process, whoever its parent is."""

    @property
    def pid(self) -> int:
        """Its id."""
        ...

    def kill(self) -> None:
        """SIGKILL."""
        ...

    async def wait(self) -> int | None:
        """Until it has ended; its exit code where that is known."""
        ...


class FoundProcess:
    """A process that is no child of ours. Raises `ProcessLookupError` where there is none."""

    def __init__(self, pid: int) -> None:
        self.pid = pid
        self._fd = os.pidfd_open(pid)
        self._ended = asyncio.Event()

    def kill(self) -> None:
        """SIGKILL, never to another process that got its id."""
        if not self._ended.is_set():
            with suppress(ProcessLookupError):
                signal.pidfd_send_signal(self._fd, signal.SIGKILL)

    async def wait(self) -> None:
        """Until it has ended: then its descriptor is readable (pidfd_open(2))."""
        if self._ended.is_set():
            return
        loop = asyncio.get_running_loop()
        loop.add_reader(self._fd, self._ended.set)
        try:
            await self._ended.wait()
        finally:
            loop.remove_reader(self._fd)
        os.close(self._fd)


@dataclass(slots=True)
class Worker:
    """`socket_path`: where it listens; `heard`: when it last said something, by the loop's clock."""

    process: Process
    control: socket.socket
    socket_path: Path
    heard: float

    async def end(self) -> None:
        """Everything on disk, then no process; SIGKILL where it takes too long."""
        with suppress(OSError):
            self.control.send(encode(End()))
        self.control.close()
        await self.gone()

    async def gone(self) -> None:
        """Until it has ended by itself, killed where it takes too long."""
        try:
            async with asyncio.timeout(END_S):
                await self.process.wait()
        except TimeoutError:
            self.process.kill()
            await self.process.wait()
        self.socket_path.unlink(missing_ok=True)


@contextmanager
def at(path: Path) -> Generator[str]:
    """The address of a socket at `path`, however long that is: addresses have room for 107 bytes (unix(7))."""
    folder = os.open(path.parent, os.O_RDONLY | os.O_DIRECTORY)
    try:
        yield f"/proc/self/fd/{folder}/{path.name}"
    finally:
        os.close(folder)


def connected(path: Path) -> socket.socket:
    """A connection to the worker that listens at `path`. Raises `ConnectionRefusedError` where none does."""
    control = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    control.setblocking(False)
    try:
        with at(path) as address:
            control.connect(address)
    except OSError:
        control.close()
        raise
    return control


async def spawn(folder: Path, door: socket.socket, arguments: tuple[str, ...]) -> Worker:
    """A worker in a session of its own, which listens in `folder` and outlives us for a while."""
    path = folder / f"{secrets.token_hex(8)}{SUFFIX}"
    with socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) as listening:
        with at(path) as address:
            listening.bind(address)
        listening.listen(1)
        control = connected(path)
        try:
            process = await asyncio.create_subprocess_exec(
                *(sys.executable, "-m", "edumeet_recording.node.capture"),
                *(str(listening.fileno()), str(door.fileno()), *arguments),
                stdin=asyncio.subprocess.DEVNULL,
                stdout=asyncio.subprocess.DEVNULL,  # who waits for the end of our output shall not wait for the worker
                pass_fds=(listening.fileno(), door.fileno()),
                start_new_session=True,
            )
        except BaseException:
            control.close()
            path.unlink()
            raise
    return Worker(process, control, path, asyncio.get_running_loop().time())
