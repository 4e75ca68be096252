"""Carries out what the node's core decides: one event after the other, facts on disk before what rests on them.

What is to be done on disk is done beside the rest, in order: a disk that hangs holds up no heartbeat.
"""

import asyncio

import structlog

from edumeet_recording.node.core import NodeCore
from edumeet_recording.node.events import Event
from edumeet_recording.node.finalizing import Finalizers
from edumeet_recording.node.instructions import (
    AppendJournal,
    AssignCapture,
    DeleteChunk,
    ForgetCapture,
    Instruction,
    OpenPorts,
    ReleasePorts,
    Send,
    ShipChunk,
    StartFinalize,
    StopFinalize,
    TellWorker,
    TrimJournal,
)
from edumeet_recording.node.inventory import Inventory
from edumeet_recording.node.journal import Journal
from edumeet_recording.node.link import Link
from edumeet_recording.node.shipper import Shipper
from edumeet_recording.node.supervisor import Supervisor

_OnDisk = AppendJournal | TrimJournal | DeleteChunk | ForgetCapture

_log = structlog.get_logger(__name__)


class Inbox:
    """Events for the core, in the order they happened."""

    def __init__(self) -> None:
        self._queue: asyncio.Queue[Event] = asyncio.Queue()

    def tell(self, event: Event) -> None:
        """Put an event in."""
        self._queue.put_nowait(event)

    async def take(self) -> list[Event]:
        """All there are; waits for the first."""
        events = [await self._queue.get()]
        while not self._queue.empty():
            events.append(self._queue.get_nowait())
        return events


class Shell:
    """The parts that have effects, and the core that moves them."""

    def __init__(
        self,
        *,
        core: NodeCore,
        inbox: Inbox,
        inventory: Inventory,
        journal: Journal,
        supervisor: Supervisor,
        shipper: Shipper,
        finalizers: Finalizers,
        link: Link,
    ) -> None:
        self._core = core
        self._inbox = inbox
        self._inventory = inventory
        self._journal = journal
        self._supervisor = supervisor
        self._shipper = shipper
        self._finalizers = finalizers
        self._link = link
        self._undone: list[_OnDisk] = []
        """What is to be done on disk next, in order."""
        self._doing: list[_OnDisk] = []
        """What is being done there, or was refused: that is tried again with every event."""
        self._for_disk = asyncio.Event()
        self.settled = asyncio.Event()
        """Set while all is shipped and journaled, and the orchestrator, where there is one, has heard."""
        self.empty = asyncio.Event()
        """Set while, besides, nothing is finalized."""

    async def run(self) -> None:
        """Until cancelled."""
        async with asyncio.TaskGroup() as group:
            group.create_task(self._handle())
            group.create_task(self._carry_out_on_disk())

    async def _handle(self) -> None:
        while True:
            for event in await self._inbox.take():
                for instruction in self._core.handle(event):
                    self._carry_out(instruction)
            if self._undone or self._doing:
                self._for_disk.set()
            self._tell_waiting()

    def _tell_waiting(self) -> None:
        """Who waits for the end of all work."""
        heard = not self._journal.pending or not self._link.up
        told = heard and not (self._undone or self._doing)
        _set_while(self.settled, told and self._core.idle)
        _set_while(self.empty, told and self._core.empty)

    def _carry_out(self, instruction: Instruction) -> None:
        match instruction:
            case AppendJournal() | TrimJournal() | DeleteChunk() | ForgetCapture():
                self._undone.append(instruction)
            case Send(message):
                self._link.send(message)
            case ShipChunk(closed, key):
                self._shipper.ship(closed, key, self._inventory.path(closed))
            case StartFinalize(task):
                self._finalizers.start(task)
            case StopFinalize(job_id, attempt):
                self._finalizers.stop(job_id, attempt)
            case OpenPorts() | AssignCapture() | TellWorker() | ReleasePorts():
                self._carry_out_capture(instruction)

    def _carry_out_capture(self, instruction: OpenPorts | AssignCapture | TellWorker | ReleasePorts) -> None:
        match instruction:
            case OpenPorts(capture):
                self._supervisor.open_ports(capture)
            case AssignCapture(slot, assign):
                self._supervisor.assign(slot, assign)
            case TellWorker(slot, order):
                self._supervisor.order(slot, order)
            case ReleasePorts(capture_id):
                self._supervisor.release_ports(capture_id)

    async def _carry_out_on_disk(self) -> None:
        while True:
            await self._for_disk.wait()
            self._for_disk.clear()
            self._doing += self._undone
            self._undone = []
            if not self._doing:
                continue
            try:
                await asyncio.to_thread(self._write)
            except OSError as error:
                _log.error("the journal or the spool cannot be written", error=str(error))
            self._link.journal_grew()
            self._tell_waiting()

    def _write(self) -> None:
        """Journal first, in one write: only then may the spool lose anything."""
        if bodies := [each.body for each in self._doing if isinstance(each, AppendJournal)]:
            self._journal.append(bodies)
            self._doing = [each for each in self._doing if not isinstance(each, AppendJournal)]
        while self._doing:
            match self._doing[0]:
                case TrimJournal(up_to):
                    self._journal.ack(up_to)
                case DeleteChunk(capture_id, seq):
                    self._inventory.delete_chunk(capture_id, seq)
                case ForgetCapture(capture_id):
                    self._inventory.forget(capture_id)
                case AppendJournal():
                    pass  # done above
            del self._doing[0]


def _set_while(event: asyncio.Event, holds: bool) -> None:
    if holds:
        event.set()
    else:
        event.clear()
