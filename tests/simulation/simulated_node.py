"""A node without sockets, workers or disk: the real core, and what survives a kill as plain data.

What takes time (opening ports, shipping, finalizing) waits until it is worked off, one thing at a time, so that
anything may happen in between.
"""

from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field

from edumeet_recording.node.core import NodeCore
from edumeet_recording.node.events import (
    AdoptedCapture,
    Beat,
    ChunkShipped,
    DesiredReceived,
    Event,
    FinalizeEnded,
    JournalAcked,
    LeftCapture,
    LinkUp,
    PortsOpened,
    Started,
    WorkerReplaced,
    WorkerSaid,
)
from edumeet_recording.node.instructions import (
    AppendJournal,
    AssignCapture,
    DeleteChunk,
    ForgetCapture,
    Instruction,
    OpenPorts,
    Send,
    ShipChunk,
    StartFinalize,
    StopFinalize,
    TellWorker,
    TrimJournal,
)
from edumeet_recording.node.worker_link import (
    Assign,
    CaptureNumbers,
    ChunkClosed,
    Drain,
    Drained,
    FirstPacket,
    Holding,
)
from edumeet_recording.wire.node_link import (
    Ack,
    CaptureDrained,
    Desired,
    FinalizeDone,
    FinalizeFailed,
    FinalizeTask,
    Hello,
    Journal,
    JournalEntry,
    NodeLoad,
    NodeMessage,
    Port,
    TapeChunk,
)

SLOT = 0
Packets = list[int]


@dataclass
class Folder:
    """What the spool has of a capture. `chunks`: packets by number, that which is being written included."""

    epoch: int
    tape_prefix: str
    chunks: dict[int, Packets] = field(default_factory=dict[int, Packets])
    stored: int = 0


@dataclass
class Held:
    """A capture in the worker."""

    assign: Assign
    writing: int
    first_packet_at: float | None = None


@dataclass
class Storage:
    """The object store, and which packets each finished file has."""

    tapes: dict[str, tuple[int, ...]] = field(default_factory=dict[str, tuple[int, ...]])
    files: dict[str, frozenset[int]] = field(default_factory=dict[str, frozenset[int]])


class SimulatedNode:
    """`up`, `down`: what is on its way over the link; `late`: what an orchestrator has yet to read of closed ones."""

    def __init__(self, node_id: str, storage: Storage) -> None:
        self.node_id = node_id
        self.storage = storage
        self.spool: dict[str, Folder] = {}
        self.journal: dict[int, JournalEntry] = {}
        self.journaled = 0
        self.core: NodeCore | None = None
        self.linked = False
        self.up: deque[NodeMessage] = deque()
        self.down: deque[Desired | Ack] = deque()
        self.late: deque[NodeMessage] = deque()
        self.held: dict[str, Held] = {}
        self.work: deque[Callable[[], None]] = deque()
        self.finalizing: dict[tuple[str, int], FinalizeTask] = {}
        self.unfinished: list[tuple[str, int]] = []
        self.over: set[str] = set()
        """Captures that were journaled as drained."""
        self._sent_seq = 0
        self.start()

    @property
    def runs(self) -> bool:
        return self.core is not None

    def start(self) -> None:
        """The agent starts; captures that a worker still has go on."""
        self.core = NodeCore(workers=1, slots=1)
        adopted = tuple(self._adopted(capture_id) for capture_id in self.held)
        left = tuple(self._left(capture_id) for capture_id in self.spool if capture_id not in self.held)
        unfinished, self.unfinished = tuple(self.unfinished), []
        self.tell(Started(left, adopted, tuple(self.journal.values()), unfinished))

    def kill(self) -> None:
        """The machine is off: what is on disk stays."""
        self.kill_agent()
        self.held.clear()

    def kill_agent(self) -> None:
        """The agent is gone, its capture worker goes on."""
        self.disconnect()
        self.core = None
        self.work.clear()
        self.unfinished += self.finalizing
        self.finalizing.clear()

    def replace_worker(self) -> None:
        """The worker dies, and the supervisor starts another on the same sockets."""
        if self.core is None:
            return
        held = list(self.held)
        self.held.clear()
        chunks = tuple(chunk for capture_id in held for chunk in self._whole(capture_id))
        self.tell(WorkerReplaced(SLOT, chunks))

    def connect(self) -> None:
        """A new link."""
        if self.core is None or self.linked:
            return
        self.linked, self._sent_seq = True, 0
        self.up.append(Hello(node_id=self.node_id, version="0"))
        self.tell(LinkUp())
        self.beat()

    def disconnect(self) -> None:
        """The link breaks: what was on its way up may yet be read, what was on its way down is lost."""
        self.linked = False
        self.late += self.up
        self.up.clear()
        self.down.clear()

    def beat(self) -> None:
        """A heartbeat, and what of the journal was not sent on this link."""
        self.tell(Beat(NodeLoad()))

    def hear(self) -> None:
        """Take the next message from the orchestrator."""
        match self.down.popleft():
            case Desired() as desired:
                self.tell(DesiredReceived(desired))
            case Ack() as ack:
                self.tell(JournalAcked(ack.up_to))

    def receive(self, job_id: str, packet: int, at: float) -> bool:
        """A packet of a job comes to its port; True where it got on the tape."""
        taken = False
        for capture_id, held in self.held.items():
            if held.assign.job_id != job_id:
                continue
            taken = True
            self.spool[capture_id].chunks.setdefault(held.writing, []).append(packet)
            if held.first_packet_at is None:
                held.first_packet_at = at
                self._told(FirstPacket(capture_id, at))
        return taken

    def close_chunks(self) -> None:
        """Time for a new chunk."""
        for capture_id in list(self.held):
            self._close(capture_id)

    def finish(self, job_id: str, attempt: int, *, well: bool) -> None:
        """A finalization ends."""
        task = self.finalizing.pop((job_id, attempt))
        if not well:
            failed = FinalizeFailed(job_id=job_id, attempt=attempt, error="it failed")
            self.tell(FinalizeEnded(job_id, attempt, failed))
            return
        chunks = [chunk for capture in task.captures for chunk in capture.chunks]
        file_key = f"{task.output_prefix}/{task.file_stem}.mp4"
        self.storage.files[file_key] = frozenset(packet for chunk in chunks for packet in self.storage.tapes[chunk.key])
        done = FinalizeDone(
            job_id=job_id,
            attempt=attempt,
            file_key=file_key,
            report_key=f"{task.output_prefix}/report.json",
            bytes=1,
            sha256="0",
            duration_s=1,
            started_at=1,
            ended_at=2,
            streams=(),
        )
        self.tell(FinalizeEnded(job_id, attempt, done))

    def work_off(self) -> None:
        """All that takes time is done, well."""
        while self.work:
            self.work.popleft()()
        for job_id, attempt in list(self.finalizing):
            self.finish(job_id, attempt, well=True)

    def tell(self, event: Event) -> None:
        """Something happens to the node."""
        if self.core is None:
            return
        for instruction in self.core.handle(event):
            self._carry_out(instruction)

    def _carry_out(self, instruction: Instruction) -> None:
        match instruction:
            case OpenPorts(capture):
                assert capture.capture_id not in self.over, "what has ended is never begun again"
                self.spool[capture.capture_id] = Folder(capture.epoch, capture.tape_prefix)
                ports = _ports(len(capture.streams))
                self.work.append(lambda: self.tell(PortsOpened(capture.capture_id, "127.0.0.1", ports)))
            case AssignCapture(_, assign):
                self.held[assign.capture_id] = Held(assign, assign.first_seq)
            case TellWorker(_, Drain(capture_id)):
                self.work.append(lambda: self._drain(capture_id))
            case ShipChunk(closed, key):
                self.work.append(lambda: self._ship(closed, key))
            case StartFinalize(task):
                self.finalizing[task.job_id, task.attempt] = task
            case StopFinalize(job_id, attempt):
                del self.finalizing[job_id, attempt]
                self.work.append(lambda: self.tell(FinalizeEnded(job_id, attempt, None)))
            case Send(message) if self.linked:
                self.up.append(message)
            case on_disk:
                self._keep(on_disk)
        self._send_journal()

    def _keep(self, instruction: Instruction) -> None:
        match instruction:
            case AppendJournal(body):
                if isinstance(body, CaptureDrained):
                    self.over.add(body.capture_id)
                self.journaled += 1
                self.journal[self.journaled] = JournalEntry(seq=self.journaled, body=body)
            case TrimJournal(up_to):
                self.journal = {seq: entry for seq, entry in self.journal.items() if seq > up_to}
            case DeleteChunk(capture_id, seq):
                folder = self.spool[capture_id]
                assert tuple(folder.chunks[seq]) == self.storage.tapes[f"{folder.tape_prefix}/{seq:06d}.tape"]
                del folder.chunks[seq]
                folder.stored += 1
            case ForgetCapture(capture_id):
                folder = self.spool.pop(capture_id, None)
                assert folder is None or not folder.chunks, "a folder goes only when all in it is stored"
            case _:
                pass

    def _send_journal(self) -> None:
        due = tuple(entry for entry in self.journal.values() if entry.seq > self._sent_seq)
        if self.linked and due:
            self._sent_seq = due[-1].seq
            self.up.append(Journal(entries=due))

    def _told(self, message: FirstPacket | ChunkClosed | Drained) -> None:
        """A worker's word is lost where there is no agent."""
        self.tell(WorkerSaid(SLOT, message))

    def _drain(self, capture_id: str) -> None:
        if capture_id not in self.held:
            return
        self._close(capture_id)
        if self.held.pop(capture_id, None):
            self._told(Drained(CaptureNumbers(capture_id, (), {})))

    def _close(self, capture_id: str) -> None:
        held = self.held[capture_id]
        packets = self.spool[capture_id].chunks.get(held.writing)
        if packets:
            seq = held.writing
            held.writing += 1
            self._told(_closed(capture_id, seq, packets))

    def _ship(self, closed: ChunkClosed, key: str) -> None:
        packets = tuple(self.spool[closed.capture_id].chunks[closed.seq])
        assert self.storage.tapes.setdefault(key, packets) == packets, "what is stored stays as it is"
        chunk = TapeChunk(
            seq=closed.seq, key=key, bytes=closed.bytes, sha256="0", records=closed.records, first_ns=1, last_ns=2
        )
        self.tell(ChunkShipped(closed.capture_id, chunk))

    def _whole(self, capture_id: str, before: int | None = None) -> tuple[ChunkClosed, ...]:
        chunks = sorted(self.spool[capture_id].chunks.items())
        return tuple(_closed(capture_id, seq, packets) for seq, packets in chunks if before is None or seq < before)

    def _left(self, capture_id: str) -> LeftCapture:
        folder = self.spool[capture_id]
        return LeftCapture(capture_id, folder.epoch, folder.tape_prefix, folder.stored, self._whole(capture_id))

    def _adopted(self, capture_id: str) -> AdoptedCapture:
        held = self.held[capture_id]
        assign = Assign(
            capture_id,
            held.assign.job_id,
            held.assign.epoch,
            held.assign.tape_prefix,
            held.writing,
            held.assign.confirmed,
            held.assign.streams,
        )
        ports = _ports(len(assign.streams))
        holding = Holding(assign, CaptureNumbers(capture_id, (), {}), held.first_packet_at, draining=False)
        chunks = self._whole(capture_id, before=held.writing)
        return AdoptedCapture(SLOT, holding, "127.0.0.1", ports, self.spool[capture_id].stored, chunks)


def _closed(capture_id: str, seq: int, packets: Packets) -> ChunkClosed:
    return ChunkClosed(capture_id, seq, len(packets), len(packets), 1, 2)


def _ports(count: int) -> tuple[Port, ...]:
    return tuple(Port(index=index, port=40000 + 2 * index, rtcp_port=40001 + 2 * index) for index in range(count))
