"""What a node's agent finds at its start: capture processes that outlived the agent before it, and what they hold."""

import asyncio
import socket
import struct
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import structlog

from edumeet_recording.node.ports import PortPair
from edumeet_recording.node.worker_link import (
    MAX_FDS,
    MAX_MESSAGE_BYTES,
    PROTOCOL,
    Greeting,
    Holding,
    Order,
    Said,
    decode,
)
from edumeet_recording.node.worker_process import SUFFIX, FoundProcess, Worker, connected

GREETING_S = 5.0
"""A worker that has not said by then what it holds hangs, and is killed."""
_CREDENTIALS = struct.Struct("3i")
"""struct ucred: pid, uid, gid (unix(7))."""
_MODULE = b"edumeet_recording.node.capture"

_log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class Found:
    """A worker that lives, with its captures and their sockets.

    `takes_more` false: it is of a release that takes no captures from us. `doors`: the node's listening socket.
    """

    worker: Worker
    captures: tuple[tuple[Holding, tuple[PortPair, ...]], ...]
    doors: tuple[socket.socket, ...]
    takes_more: bool


async def find_workers(folder: Path, node_id: str, spool: Path) -> list[Found]:
    """Every worker that listens in `folder` and works for this node and spool; all others are ended."""
    workers = _living(folder, asyncio.get_running_loop().time())
    return [found for worker in workers if (found := await _meet(worker, node_id, spool)) is not None]


def _living(folder: Path, now: float) -> list[Worker]:
    """Whoever listens in `folder`; it is made, and freed from what nobody is behind any more."""
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    living: list[Worker] = []
    for path in sorted(folder.glob(f"*{SUFFIX}")):
        try:
            control = connected(path)
        except OSError:
            path.unlink(missing_ok=True)
            continue
        try:
            living.append(Worker(_process_behind(control), control, path, now))
        except ProcessLookupError:
            control.close()
            path.unlink(missing_ok=True)
    return living


async def _meet(worker: Worker, node_id: str, spool: Path) -> Found | None:
    try:
        greeting, doors, captures = await asyncio.to_thread(_hear, worker.control)
    except (OSError, ValueError) as error:
        _log.warning("a capture process of an earlier life does not say what it has", error=str(error))
        worker.process.kill()
        await worker.end()
        return None
    if (greeting.node_id, greeting.spool) != (node_id, str(spool)):
        _log.warning("a capture process works for another node or spool", node_id=greeting.node_id)
        for each in (*doors, *(pair for _, pairs in captures for pair in pairs)):
            each.close()
        await worker.end()
        return None
    _log.info("capture process found", pid=worker.process.pid, captures=greeting.holds, protocol=greeting.protocol)
    return Found(worker, captures, doors, takes_more=greeting.protocol == PROTOCOL)


def _process_behind(control: socket.socket) -> FoundProcess:
    """The process that listens at the other end. Raises `ProcessLookupError` where it is none of ours."""
    pid, _, _ = _CREDENTIALS.unpack(control.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _CREDENTIALS.size))
    try:
        of_ours = _MODULE in Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0")
    except OSError:
        of_ours = False
    if not of_ours:  # it died before it began to listen
        raise ProcessLookupError(pid)
    return FoundProcess(pid)


def _hear(
    control: socket.socket,
) -> tuple[Greeting, tuple[socket.socket, ...], tuple[tuple[Holding, tuple[PortPair, ...]], ...]]:
    """The greeting. Raises `OSError` where it does not come in time, `ValueError` where it is none."""
    control.settimeout(GREETING_S)
    greeting, doors = _receive(control)
    if not isinstance(greeting, Greeting):
        raise ValueError(f"{greeting} is no greeting")  # noqa: TRY004 - one error for all that does not parse
    captures: list[tuple[Holding, tuple[PortPair, ...]]] = []
    for _ in range(greeting.holds):
        holding, udp = _receive(control)
        if not isinstance(holding, Holding):
            raise ValueError(f"{holding} is no capture")  # noqa: TRY004 - as above
        captures.append((holding, tuple(PortPair(rtp, rtcp) for rtp, rtcp in _pairs(udp))))
    control.setblocking(False)
    return greeting, doors, tuple(captures)


def _receive(control: socket.socket) -> tuple[Order | Said, tuple[socket.socket, ...]]:
    packet, fds, _, _ = socket.recv_fds(control, MAX_MESSAGE_BYTES, MAX_FDS)
    sockets = tuple(socket.socket(fileno=fd) for fd in fds)
    return decode(packet), sockets


def _pairs(udp: tuple[socket.socket, ...]) -> Iterator[tuple[socket.socket, socket.socket]]:
    yield from zip(udp[::2], udp[1::2], strict=True)
