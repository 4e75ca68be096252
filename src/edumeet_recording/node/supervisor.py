"""Keeps the capture workers: opens the sockets, hands them over, and replaces a worker that dies or hangs.

The agent keeps every socket open itself, so what comes while a worker is replaced waits in the kernel. Workers outlive
an agent that dies, for the next one to find; they end with the node.
"""

import asyncio
import socket
from collections.abc import Callable, Iterator, Sequence
from itertools import count
from pathlib import Path

import structlog

from edumeet_recording.domain.errors import Unavailable
from edumeet_recording.node.adoption import Found
from edumeet_recording.node.events import AdoptedCapture, Event, PortsOpened, PortsRefused, WorkerReplaced, WorkerSaid
from edumeet_recording.node.inventory import Inventory
from edumeet_recording.node.ports import PortPair, PortPool
from edumeet_recording.node.worker_link import MAX_MESSAGE_BYTES, Assign, End, News, Order, decode, encode
from edumeet_recording.node.worker_process import Worker, spawn
from edumeet_recording.wire.node_link import DesiredCapture, Port

SILENCE_S = 5.0
"""A worker speaks once a second; one that has not for this long hangs, and is killed."""
QUICK_DEATH_S = 5.0
LONGEST_PAUSE_S = 5.0

_log = structlog.get_logger(__name__)


class Supervisor:
    """`tell` is called with events for the core, in order. `media_ip` is what senders are told to send to.

    `found`: workers of an earlier agent. Those that take no more captures have the slots beyond `workers`, and end with
    their last capture. `arguments`: what a worker is begun with beside its sockets; `door` is one of them.
    """

    def __init__(
        self,
        *,
        workers: int,
        found: Sequence[Found],
        inventory: Inventory,
        folder: Path,
        door: socket.socket,
        arguments: tuple[str, ...],
        ports: PortPool,
        media_ip: str,
        tell: Callable[[Event], None],
    ) -> None:
        self._count = workers
        self._inventory = inventory
        self._folder = folder
        self._door = door
        self._arguments = arguments
        self._pool = ports
        self._media_ip = media_ip
        self._tell = tell
        self._workers: dict[int, Worker] = {}
        self._opening: asyncio.Queue[DesiredCapture] = asyncio.Queue()
        self._ports: dict[str, tuple[PortPair, ...]] = {}
        self._slots: dict[str, int] = {}
        self._found = dict(_in_slots(workers, found))
        self.ends_workers = False
        """Set once the node is to end, and not only its agent."""

    @property
    def pids(self) -> dict[int, int]:
        """Process id of each slot's worker."""
        return {slot: worker.process.pid for slot, worker in self._workers.items()}

    def adopt(self) -> tuple[AdoptedCapture, ...]:
        """Take over what the workers that were found hold; blocks on the disk."""
        adopted: list[AdoptedCapture] = []
        for slot, found in self._found.items():
            for holding, pairs in found.captures:
                capture_id = holding.assign.capture_id
                self._ports[capture_id], self._slots[capture_id] = pairs, slot
                stored, chunks = self._inventory.held(capture_id, holding.assign.first_seq)
                ports = tuple(
                    Port(index=spec.index, port=pair.port, rtcp_port=pair.rtcp_port)
                    for spec, pair in zip(holding.assign.streams, pairs, strict=True)
                )
                adopted.append(AdoptedCapture(slot, holding, self._media_ip, ports, stored, chunks))
        return tuple(adopted)

    async def run(self) -> None:
        """Until cancelled; then all sockets are closed, and where the node ends, so have the workers, all on disk."""
        try:
            async with asyncio.TaskGroup() as group:
                group.create_task(self._open_all())
                for slot in {*range(self._count), *self._found}:
                    group.create_task(self._keep(slot))
        finally:
            for capture_id in list(self._ports):
                self.release_ports(capture_id)

    def open_ports(self, capture: DesiredCapture) -> None:
        """Bind a pair a stream, once the disk has the capture's folder; tells `PortsOpened` or `PortsRefused`."""
        self._opening.put_nowait(capture)

    async def _open_all(self) -> None:
        while True:
            capture = await self._opening.get()
            try:
                await asyncio.to_thread(self._inventory.begin, capture.capture_id, capture.epoch, capture.tape_prefix)
                pairs = self._ports.get(capture.capture_id) or self._pool.open(len(capture.streams))
            except (Unavailable, OSError, ValueError) as error:
                self._tell(PortsRefused(capture.capture_id, str(error)))
                continue
            self._ports[capture.capture_id] = pairs
            ports = tuple(
                Port(index=stream.index, port=pair.port, rtcp_port=pair.rtcp_port)
                for stream, pair in zip(capture.streams, pairs, strict=True)
            )
            self._tell(PortsOpened(capture.capture_id, self._media_ip, ports))

    def release_ports(self, capture_id: str) -> None:
        """Close the capture's sockets."""
        slot = self._slots.pop(capture_id, None)
        for pair in self._ports.pop(capture_id, ()):
            pair.close()
        if slot is not None and self._is_done(slot):
            self.order(slot, End())

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

    def _is_done(self, slot: int) -> bool:
        """True where its worker takes no more captures, and has none left."""
        return slot >= self._count and slot not in self._slots.values()

    async def _keep(self, slot: int) -> None:
        loop = asyncio.get_running_loop()
        found = self._found.pop(slot, None)
        worker = found.worker if found else await self._begin(slot)
        pause = 0.0
        while True:
            began = loop.time()
            self._workers[slot] = worker
            try:
                await self._serve(slot, worker)
            finally:
                del self._workers[slot]
                await self._let_go(worker)
            if self._is_done(slot):
                return
            _log.warning("capture worker died", slot=slot, pid=worker.process.pid)
            pause = min(2 * pause + 0.1, LONGEST_PAUSE_S) if loop.time() - began < QUICK_DEATH_S else 0.0
            await asyncio.sleep(pause)
            worker = await self._begin(slot)

    async def _begin(self, slot: int) -> Worker:
        """A new worker for the slot, and the slot's captures for it, however often it takes: the disk may be full."""
        while True:
            try:
                worker = await spawn(self._folder, self._door, self._arguments)
            except OSError as error:
                _log.error("no capture worker can be begun", slot=slot, error=str(error))
                await asyncio.sleep(LONGEST_PAUSE_S)
            else:
                await self._replace(slot, worker)
                return worker

    async def _let_go(self, worker: Worker) -> None:
        """End a worker with its node; one that has died, or is to outlive its agent, is let go as it is."""
        if self.ends_workers:
            await worker.end()
        worker.control.close()

    async def _serve(self, slot: int, worker: Worker) -> None:
        """Hear the worker until it is dead."""
        loop = asyncio.get_running_loop()
        loop.add_reader(worker.control.fileno(), self._read, slot, worker)
        if self._is_done(slot):
            self.order(slot, End())
        try:
            await self._watch(worker)
            worker.socket_path.unlink(missing_ok=True)
        finally:
            loop.remove_reader(worker.control.fileno())
            self._read(slot, worker)

    async def _replace(self, slot: int, worker: Worker) -> None:
        """Find what a dead worker left, then let the core assign the slot's captures."""
        chunks = await asyncio.to_thread(
            lambda: [
                chunk
                for capture_id in [capture_id for capture_id, its in self._slots.items() if its == slot]
                for chunk in self._inventory.recover(capture_id)
            ]
        )
        self._workers[slot] = worker
        self._tell(WorkerReplaced(slot, tuple(chunks)))

    async def _watch(self, worker: Worker) -> None:
        """Until the worker is dead; one that says nothing is killed."""
        while True:
            try:
                async with asyncio.timeout(1):
                    await worker.process.wait()
            except TimeoutError:
                if asyncio.get_running_loop().time() - worker.heard > SILENCE_S:
                    worker.process.kill()
            else:
                return

    def _read(self, slot: int, worker: Worker) -> None:
        while True:
            try:
                packet = worker.control.recv(MAX_MESSAGE_BYTES)
            except (BlockingIOError, ConnectionError):
                return
            if not packet:
                asyncio.get_running_loop().remove_reader(worker.control.fileno())
                return
            worker.heard = asyncio.get_running_loop().time()
            try:
                message = decode(packet)
            except ValueError:  # of another release
                continue
            if isinstance(message, News):
                self._tell(WorkerSaid(slot, message))


def _in_slots(workers: int, found: Sequence[Found]) -> Iterator[tuple[int, Found]]:
    """Those that take more captures from slot 0 on, as far as there are; the others beyond all slots."""
    beyond = count(workers)
    first = iter(range(workers))
    for each in found:
        slot = next(first, None) if each.takes_more else None
        yield next(beyond) if slot is None else slot, each
