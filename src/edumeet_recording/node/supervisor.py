"""Keeps the capture workers: opens the sockets, hands them over, and replaces a worker that dies or hangs.

The agent keeps every socket open itself, so what comes while a worker is replaced waits in the kernel.
"""

import asyncio
import socket
import sys
from collections.abc import AsyncGenerator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass

import structlog

from edumeet_recording.domain.errors import Unavailable
from edumeet_recording.node.events import Event, PortsOpened, PortsRefused, WorkerReplaced, WorkerSaid
from edumeet_recording.node.inventory import Inventory
from edumeet_recording.node.ports import PortPair, PortPool
from edumeet_recording.node.worker_link import MAX_MESSAGE_BYTES, Assign, Order, decode, encode
from edumeet_recording.wire.node_link import DesiredCapture, Port

SILENCE_S = 5.0
"""A worker speaks once a second; one that has not for this long hangs, and is killed."""
END_S = 3.0
"""Time a worker has to put everything on disk once its control socket is closed."""
QUICK_DEATH_S = 5.0
LONGEST_PAUSE_S = 5.0

_log = structlog.get_logger(__name__)


@dataclass(slots=True)
class _Worker:
    process: asyncio.subprocess.Process
    control: socket.socket
    heard: float


class Supervisor:
    """`tell` is called with events for the core, in order. `media_ip` is what senders are told to send to."""

    def __init__(
        self,
        *,
        workers: int,
        inventory: Inventory,
        chunk_seconds: float,
        ports: PortPool,
        media_ip: str,
        tell: Callable[[Event], None],
    ) -> None:
        self._count = workers
        self._inventory = inventory
        self._chunk_seconds = chunk_seconds
        self._pool = ports
        self._media_ip = media_ip
        self._tell = tell
        self._workers: dict[int, _Worker] = {}
        self._ports: dict[str, tuple[PortPair, ...]] = {}
        self._slots: dict[str, int] = {}

    @property
    def pids(self) -> dict[int, int]:
        """Process id of each slot's worker."""
        return {slot: worker.process.pid for slot, worker in self._workers.items()}

    async def run(self) -> None:
        """Until cancelled; then every worker has put what it had on disk, and all sockets are closed."""
        try:
            async with asyncio.TaskGroup() as group:
                for slot in range(self._count):
                    group.create_task(self._keep(slot))
        finally:
            for capture_id in list(self._ports):
                self.release_ports(capture_id)

    def open_ports(self, capture: DesiredCapture) -> None:
        """Bind a pair a stream; tells `PortsOpened` or `PortsRefused`."""
        try:
            self._inventory.begin(capture.capture_id, capture.epoch, capture.tape_prefix)
            pairs = self._ports.get(capture.capture_id) or self._pool.open(len(capture.streams))
        except (Unavailable, OSError, ValueError) as error:
            self._tell(PortsRefused(capture.capture_id, str(error)))
            return
        self._ports[capture.capture_id] = pairs
        ports = tuple(
            Port(index=stream.index, port=pair.port, rtcp_port=pair.rtcp_port)
            for stream, pair in zip(capture.streams, pairs, strict=True)
        )
        self._tell(PortsOpened(capture.capture_id, self._media_ip, ports))

    def release_ports(self, capture_id: str) -> None:
        """Close the capture's sockets."""
        self._slots.pop(capture_id, None)
        for pair in self._ports.pop(capture_id, ()):
            pair.close()

    def assign(self, slot: int, assign: Assign) -> None:
        """Hand a capture with its sockets to the slot's worker."""
        self._slots[assign.capture_id] = slot
        fds = [udp.fileno() for pair in self._ports[assign.capture_id] for udp in (pair.rtp, pair.rtcp)]
        self.order(slot, assign, fds)

    def order(self, slot: int, order: Order, fds: list[int] | None = None) -> None:
        """Pass an order on. One that finds no worker is said again by the core once the worker is replaced."""
        worker = self._workers.get(slot)
        if worker is None:
            return
        try:
            socket.send_fds(worker.control, [encode(order)], fds or [])
        except BlockingIOError:
            worker.process.kill()  # it has not read a hundred orders: it hangs
        except ConnectionError:
            return  # it is dead, and about to be replaced

    async def _keep(self, slot: int) -> None:
        loop = asyncio.get_running_loop()
        pause, replaces = 0.0, False
        while True:
            began = loop.time()
            async with self._spawn() as worker:
                if replaces:
                    await self._replace(slot, worker)
                self._workers[slot] = worker
                loop.add_reader(worker.control.fileno(), self._read, slot, worker)
                try:
                    await self._watch(worker)
                finally:
                    loop.remove_reader(worker.control.fileno())
                    self._read(slot, worker)
                    del self._workers[slot]
            _log.warning("capture worker died", slot=slot, exit_code=worker.process.returncode)
            replaces = True
            pause = min(2 * pause + 0.1, LONGEST_PAUSE_S) if loop.time() - began < QUICK_DEATH_S else 0.0
            await asyncio.sleep(pause)

    async def _replace(self, slot: int, worker: _Worker) -> None:
        """Find what the dead worker left, then let the core assign its captures anew."""
        chunks = await asyncio.to_thread(
            lambda: [
                chunk
                for capture_id in [capture_id for capture_id, its in self._slots.items() if its == slot]
                for chunk in self._inventory.recover(capture_id)
            ]
        )
        self._workers[slot] = worker
        self._tell(WorkerReplaced(slot, tuple(chunks)))

    async def _watch(self, worker: _Worker) -> None:
        """Until the worker is dead; one that says nothing is killed."""
        while worker.process.returncode is None:
            try:
                async with asyncio.timeout(1):
                    await worker.process.wait()
            except TimeoutError:
                if asyncio.get_running_loop().time() - worker.heard > SILENCE_S:
                    worker.process.kill()

    def _read(self, slot: int, worker: _Worker) -> None:
        while True:
            try:
                packet = worker.control.recv(MAX_MESSAGE_BYTES)
            except (BlockingIOError, ConnectionError):
                return
            if not packet:
                asyncio.get_running_loop().remove_reader(worker.control.fileno())
                return
            worker.heard = asyncio.get_running_loop().time()
            message = decode(packet)
            if not isinstance(message, Order):
                self._tell(WorkerSaid(slot, message))

    @asynccontextmanager
    async def _spawn(self) -> AsyncGenerator[_Worker]:
        """A worker in a session of its own; leaving the context ends it: control socket closed, then SIGKILL."""
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        with ours:
            ours.setblocking(False)
            with theirs:
                process = await asyncio.create_subprocess_exec(
                    *(sys.executable, "-m", "edumeet_recording.node.capture"),
                    *(str(theirs.fileno()), str(self._inventory.spool), str(self._chunk_seconds)),
                    stdin=asyncio.subprocess.DEVNULL,
                    pass_fds=(theirs.fileno(),),
                    start_new_session=True,
                )
            try:
                yield _Worker(process, ours, asyncio.get_running_loop().time())
            finally:
                ours.close()
                await _end(process)


async def _end(process: asyncio.subprocess.Process) -> None:
    try:
        async with asyncio.timeout(END_S):
            await process.wait()
    except TimeoutError:
        process.kill()
        await process.wait()
