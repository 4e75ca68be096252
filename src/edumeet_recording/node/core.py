"""What a node does about everything that happens to it: events in, instructions out, no effects.

A capture that is not desired any more is drained, shipped, and then journaled as drained; one that is over is never
begun again. A lost link changes nothing: recordings go on by what was desired last.
"""

from collections.abc import Callable
from typing import Any

from edumeet_recording.domain.capture import CaptureState
from edumeet_recording.domain.price import price
from edumeet_recording.node.events import (
    Beat,
    ChunkShipped,
    DesiredReceived,
    Event,
    FinalizeEnded,
    FinalizeProgressed,
    JournalAcked,
    KeyFrameRequested,
    Leaving,
    LeftCapture,
    LinkUp,
    PortsOpened,
    PortsRefused,
    Started,
    Stopping,
    WorkerReplaced,
    WorkerSaid,
)
from edumeet_recording.node.held_capture import HeldCapture
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
from edumeet_recording.node.worker_link import (
    AskKeyFrame,
    CaptureNumbers,
    ChunkClosed,
    Drain,
    Drained,
    FirstPacket,
    Numbers,
    Unwritable,
    Update,
)
from edumeet_recording.wire.node_link import (
    CaptureDrained,
    CaptureReport,
    ChunkStored,
    DesiredCapture,
    FinalizeDone,
    FinalizeFailed,
    FinalizeProgress,
    FinalizeTask,
    Heartbeat,
    Report,
)

CAPTURES_A_WORKER = 100
"""As many as a worker gets before the next one gets any: about a third of a core."""
LOST_ITS_PLACE = "the capture process was replaced, and the next one cannot decrypt the SRTP streams"
"""Only a new forwarding helps: it begins with a new key."""
_Task = tuple[str, int]
"""Job and attempt."""


class NodeCore:
    """The state of one node. `workers`: capture processes; `slots`: finalizations at a time."""

    def __init__(self, workers: int, slots: int) -> None:
        self._workers = workers
        self._slots = slots
        self._revision = 0
        self._leaving = self._stopping = False
        self._captures: dict[str, HeldCapture] = {}
        self._over: dict[str, CaptureReport] = {}
        """Captures that ended here, as long as they are desired all the same: the orchestrator has yet to hear."""
        self._unwritable: dict[int, str] = {}
        self._tasks: dict[_Task, FinalizeTask] = {}
        self._running: dict[_Task, FinalizeProgress] = {}
        self._ended: set[_Task] = set()
        self._handlers: dict[type[Any], Callable[[Any], list[Instruction]]] = {
            Started: self._started,
            LinkUp: self._link_up,
            DesiredReceived: self._desired,
            JournalAcked: self._journal_acked,
            KeyFrameRequested: self._key_frame_requested,
            PortsOpened: self._ports_opened,
            PortsRefused: self._ports_refused,
            WorkerSaid: self._worker_said,
            WorkerReplaced: self._worker_replaced,
            ChunkShipped: self._chunk_shipped,
            FinalizeProgressed: self._finalize_progressed,
            FinalizeEnded: self._finalize_ended,
            Beat: self._beat,
            Leaving: self._leave,
            Stopping: self._stop,
        }

    def handle(self, event: Event) -> list[Instruction]:
        """What to do about `event`, in this order."""
        return self._handlers[type(event)](event)

    @property
    def idle(self) -> bool:
        """True once no capture is left to drain or ship."""
        return not self._captures

    @property
    def empty(self) -> bool:
        """True once nothing is left to finalize either."""
        return self.idle and not self._running

    @property
    def promised_mcpu(self) -> int:
        """The price of all that is captured here, in milli-cores."""
        return sum(price(capture.streams).mcpu for capture in self._captures.values() if capture.slot is not None)

    @property
    def reports(self) -> tuple[CaptureReport, ...]:
        """Every capture the node knows of."""
        return (*(capture.report() for capture in self._captures.values()), *self._over.values())

    def _started(self, event: Started) -> list[Instruction]:
        self._remember(event)
        instructions: list[Instruction] = []
        for adopted in event.adopted:
            capture = HeldCapture.adopted(adopted)
            self._captures[capture.capture_id] = capture
            instructions += [ShipChunk(chunk, capture.key(chunk.seq)) for chunk in adopted.chunks]
        for left in event.left:
            instructions += self._left(left)
        return instructions + [self._unfinished(task) for task in event.unfinished if task not in self._ended]

    def _remember(self, event: Started) -> None:
        """What the journal tells of ended captures and finalizations; a stored chunk needs nothing more here."""
        for entry in event.journal:
            match entry.body:
                case CaptureDrained() as drained:
                    self._over[drained.capture_id] = drained.report
                case FinalizeDone() | FinalizeFailed() as ended:
                    self._ended.add((ended.job_id, ended.attempt))
                case _:
                    pass

    def _unfinished(self, task: _Task) -> Instruction:
        """Not begun again unasked: it may be the task that ended us."""
        self._ended.add(task)
        job_id, attempt = task
        return AppendJournal(
            FinalizeFailed(
                job_id=job_id, attempt=attempt, error="the node ended in the midst of it", finalizer_lost=True
            )
        )

    def _left(self, left: LeftCapture) -> list[Instruction]:
        if left.capture_id in self._over:
            return [ForgetCapture(left.capture_id)]
        capture = HeldCapture(
            left.capture_id,
            job_id="",
            epoch=left.epoch,
            tape_prefix=left.tape_prefix,
            state=CaptureState.RECEIVING if left.stored or left.chunks else CaptureState.PREPARED,
            stored=left.stored,
            draining=True,
            read_out=True,
        )
        self._captures[capture.capture_id] = capture
        return self._ship(capture, left.chunks) + self._settle(capture)

    def _link_up(self, _: LinkUp) -> list[Instruction]:
        self._revision = 0
        return []

    def _desired(self, event: DesiredReceived) -> list[Instruction]:
        desired = event.desired
        if desired.revision < self._revision or self._stopping:
            return []
        self._revision = desired.revision
        wanted = {capture.capture_id: capture for capture in desired.captures}
        self._over = {capture_id: report for capture_id, report in self._over.items() if capture_id in wanted}
        instructions: list[Instruction] = []
        for capture in list(self._captures.values()):
            if capture.capture_id not in wanted:
                instructions += self._drain(capture)
        for capture in desired.captures:
            instructions += self._want(capture)
        return instructions + self._plan_finalizing({(task.job_id, task.attempt): task for task in desired.finalize})

    def _want(self, desired: DesiredCapture) -> list[Instruction]:
        if desired.capture_id in self._over:
            return []
        capture = self._captures.get(desired.capture_id)
        if capture is None:
            self._captures[desired.capture_id] = HeldCapture(
                desired.capture_id,
                desired.job_id,
                desired.epoch,
                desired.tape_prefix,
                desired.streams,
                desired.confirmed,
            )
            return [OpenPorts(desired)]
        if capture.draining or (capture.streams, capture.confirmed) == (desired.streams, desired.confirmed):
            return []
        capture.streams, capture.confirmed = desired.streams, desired.confirmed
        if capture.slot is None:
            return []
        return [TellWorker(capture.slot, Update(capture.capture_id, capture.confirmed, capture.specs()))]

    def _drain(self, capture: HeldCapture) -> list[Instruction]:
        if capture.draining:
            return []
        capture.draining = True
        if capture.slot is not None:
            return [TellWorker(capture.slot, Drain(capture.capture_id))]
        capture.read_out = True
        return self._settle(capture)

    def _journal_acked(self, event: JournalAcked) -> list[Instruction]:
        return [TrimJournal(event.up_to)]

    def _key_frame_requested(self, event: KeyFrameRequested) -> list[Instruction]:
        capture = self._captures.get(event.request.capture_id)
        if capture is None or capture.slot is None:
            return []
        return [TellWorker(capture.slot, AskKeyFrame(capture.capture_id))]

    def _ports_opened(self, event: PortsOpened) -> list[Instruction]:
        capture = self._captures.get(event.capture_id)
        if capture is None:
            return [ReleasePorts(event.capture_id), ForgetCapture(event.capture_id)]
        capture.slot = self._free_slot()
        capture.ip, capture.ports, capture.error = event.ip, event.ports, None
        capture.state = CaptureState.PREPARED
        return [AssignCapture(capture.slot, capture.assign()), _report(capture)]

    def _free_slot(self) -> int:
        """The first worker with room, for captures of one process share its wake-ups; else the one with the fewest."""
        load = dict.fromkeys(range(self._workers), 0)
        for capture in self._captures.values():
            if capture.slot in load:
                load[capture.slot] += 1
        return min(load, key=lambda slot: (max(load[slot] - CAPTURES_A_WORKER + 1, 0), slot))

    def _ports_refused(self, event: PortsRefused) -> list[Instruction]:
        capture = self._captures.get(event.capture_id)
        if capture is None:
            return [ForgetCapture(event.capture_id)]
        capture.error = event.error
        return [_report(capture)]

    def _worker_said(self, event: WorkerSaid) -> list[Instruction]:
        match event.message:
            case Numbers(captures):
                return [said for numbers in captures for said in self._count(event.slot, numbers)]
            case Unwritable(error):
                return self._writable_changed(event.slot, error)
            case Drained(numbers):
                return self._worker_drained(self._captures.get(numbers.capture_id), event.message)
            case FirstPacket() as first:
                return self._first_packet(first)
            case chunk:
                return self._chunk_closed(chunk)

    def _count(self, slot: int, numbers: CaptureNumbers) -> list[Instruction]:
        capture = self._captures.get(numbers.capture_id)
        if capture is None:
            return []
        capture.count(numbers)
        if capture.error is not None:
            return []
        if "unwritable" in numbers.foreign:
            # Media is being lost for want of a disk: another node should take over.
            capture.error = f"the spool cannot be written: {self._unwritable.get(slot, 'it took too little')}"
        elif capture.lost_its_place:
            capture.error = LOST_ITS_PLACE
        else:
            return []
        return [_report(capture)]

    def _writable_changed(self, slot: int, error: str | None) -> list[Instruction]:
        if error is None:
            self._unwritable.pop(slot, None)
        else:
            self._unwritable[slot] = error
        return []

    def _worker_drained(self, capture: HeldCapture | None, message: Drained) -> list[Instruction]:
        if capture is None:
            return []
        capture.count(message.numbers)
        capture.slot, capture.read_out = None, True
        return [ReleasePorts(capture.capture_id), *self._settle(capture)]

    def _worker_replaced(self, event: WorkerReplaced) -> list[Instruction]:
        self._unwritable.pop(event.slot, None)
        instructions: list[Instruction] = []
        for chunk in event.chunks:
            instructions += self._chunk_closed(chunk)
        for capture in self._captures.values():
            if capture.slot == event.slot:
                capture.worker_lost()
                instructions.append(AssignCapture(event.slot, capture.assign()))
                if capture.draining:
                    instructions.append(TellWorker(event.slot, Drain(capture.capture_id)))
        return instructions

    def _first_packet(self, first: FirstPacket) -> list[Instruction]:
        capture = self._captures.get(first.capture_id)
        if capture is None or capture.first_packet_at is not None:
            return []
        capture.first_packet_at, capture.state = first.at, CaptureState.RECEIVING
        return [_report(capture)]

    def _chunk_closed(self, chunk: ChunkClosed) -> list[Instruction]:
        capture = self._captures.get(chunk.capture_id)
        return [] if capture is None else self._ship(capture, (chunk,))

    def _ship(self, capture: HeldCapture, chunks: tuple[ChunkClosed, ...]) -> list[Instruction]:
        return [ShipChunk(chunk, capture.key(chunk.seq)) for chunk in chunks if capture.chunk_closed(chunk.seq)]

    def _chunk_shipped(self, event: ChunkShipped) -> list[Instruction]:
        capture = self._captures[event.capture_id]
        capture.unshipped.discard(event.chunk.seq)
        capture.stored += 1
        return [
            AppendJournal(ChunkStored(capture_id=event.capture_id, chunk=event.chunk)),
            DeleteChunk(event.capture_id, event.chunk.seq),
            *self._settle(capture),
        ]

    def _settle(self, capture: HeldCapture) -> list[Instruction]:
        """End a capture of which nothing is left to do."""
        if not capture.over:
            return []
        capture.state = CaptureState.DRAINED
        report = capture.report()
        del self._captures[capture.capture_id]
        self._over[capture.capture_id] = report
        drained = CaptureDrained(
            capture_id=capture.capture_id, epoch=capture.epoch, chunks=capture.stored, report=report
        )
        return [AppendJournal(drained), ForgetCapture(capture.capture_id), _report(capture)]

    def _plan_finalizing(self, wanted: dict[_Task, FinalizeTask]) -> list[Instruction]:
        self._tasks = wanted
        self._ended &= wanted.keys()
        gone: list[Instruction] = [StopFinalize(*task) for task in self._running if task not in wanted]
        return gone + self._start_finalizing()

    def _start_finalizing(self) -> list[Instruction]:
        if self._leaving or self._stopping:
            return []
        waiting = [key for key in self._tasks if key not in self._running and key not in self._ended]
        starting = waiting[: self._slots - len(self._running)]
        for job_id, attempt in starting:
            self._running[job_id, attempt] = FinalizeProgress(job_id=job_id, attempt=attempt, phase="starting")
        return [StartFinalize(self._tasks[key]) for key in starting]

    def _finalize_progressed(self, event: FinalizeProgressed) -> list[Instruction]:
        key = event.progress.job_id, event.progress.attempt
        if key in self._running:
            self._running[key] = event.progress
        return []

    def _finalize_ended(self, event: FinalizeEnded) -> list[Instruction]:
        key = event.job_id, event.attempt
        self._running.pop(key, None)
        if event.outcome is None:
            return self._start_finalizing()
        self._ended.add(key)
        return [AppendJournal(event.outcome), *self._start_finalizing()]

    def _beat(self, event: Beat) -> list[Instruction]:
        refusal = event.load.refusal
        if self._unwritable:
            refusal = f"the spool cannot be written: {next(iter(self._unwritable.values()))}"
        if self._leaving:
            refusal = "the node is leaving"
        if self._stopping:
            refusal = "the node is stopping"
        load = event.load.model_copy(
            update={
                "captures": len(self._captures),
                "finalizing": len(self._running),
                "accepts_captures": refusal is None,
                "refusal": refusal,
                "leaving": self._leaving or bool(self._unwritable),
            }
        )
        beat = Heartbeat(load=load, captures=self.reports, finalizing=tuple(self._running.values()))
        return [Send(beat)]

    def _leave(self, _: Leaving) -> list[Instruction]:
        self._leaving = True
        return []

    def _stop(self, _: Stopping) -> list[Instruction]:
        self._stopping = True
        instructions: list[Instruction] = []
        for capture in list(self._captures.values()):
            instructions += self._drain(capture)
        return instructions + [StopFinalize(*task) for task in self._running]


def _report(capture: HeldCapture) -> Send:
    return Send(Report(captures=(capture.report(),)))
