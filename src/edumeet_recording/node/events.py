"""What happens to a node: everything its core is told."""

from dataclasses import dataclass

from edumeet_recording.node.worker_link import ChunkClosed, Holding, News
from edumeet_recording.wire.node_link import (
    Desired,
    FinalizeDone,
    FinalizeFailed,
    FinalizeProgress,
    JournalEntry,
    NodeLoad,
    Port,
    RequestKeyFrame,
    TapeChunk,
)


@dataclass(frozen=True, slots=True)
class LeftCapture:
    """A capture that an earlier life of the node did not end. `stored`: how many of its chunks are stored already."""

    capture_id: str
    epoch: int
    tape_prefix: str
    stored: int
    chunks: tuple[ChunkClosed, ...]


@dataclass(frozen=True, slots=True)
class AdoptedCapture:
    """A capture that goes on in a worker which outlived the agent before us.

    `stored`: how many of its chunks are stored already; `chunks`: those that wait in the spool, whole.
    """

    slot: int
    holding: Holding
    ip: str
    ports: tuple[Port, ...]
    stored: int
    chunks: tuple[ChunkClosed, ...]


@dataclass(frozen=True, slots=True)
class Started:
    """First event: what an earlier life left in spool and journal, and what goes on.

    `unfinished`: finalizations in whose midst it ended, by job and attempt.
    """

    left: tuple[LeftCapture, ...] = ()
    adopted: tuple[AdoptedCapture, ...] = ()
    journal: tuple[JournalEntry, ...] = ()
    unfinished: tuple[tuple[str, int], ...] = ()


@dataclass(frozen=True, slots=True)
class LinkUp:
    """A link to an orchestrator is open: what it says next counts, whatever its revision."""


@dataclass(frozen=True, slots=True)
class DesiredReceived:
    """The orchestrator says what it wants."""

    desired: Desired


@dataclass(frozen=True, slots=True)
class JournalAcked:
    """The orchestrator has the journal's entries up to and with `up_to`."""

    up_to: int


@dataclass(frozen=True, slots=True)
class KeyFrameRequested:
    """The orchestrator wants a key frame."""

    request: RequestKeyFrame


@dataclass(frozen=True, slots=True)
class PortsOpened:
    """The sockets of a capture are bound."""

    capture_id: str
    ip: str
    ports: tuple[Port, ...]


@dataclass(frozen=True, slots=True)
class PortsRefused:
    """There are no sockets for a capture now."""

    capture_id: str
    error: str


@dataclass(frozen=True, slots=True)
class WorkerSaid:
    """A capture worker has something to tell."""

    slot: int
    message: News


@dataclass(frozen=True, slots=True)
class WorkerReplaced:
    """A worker died and another took its slot; `chunks` is what the spool holds of the slot's captures."""

    slot: int
    chunks: tuple[ChunkClosed, ...]


@dataclass(frozen=True, slots=True)
class ChunkShipped:
    """A chunk is in the object store, and was verified there."""

    capture_id: str
    chunk: TapeChunk


@dataclass(frozen=True, slots=True)
class FinalizeProgressed:
    """A finalization has got on."""

    progress: FinalizeProgress


@dataclass(frozen=True, slots=True)
class FinalizeEnded:
    """A finalization is over; `outcome` None: it was stopped because we asked."""

    job_id: str
    attempt: int
    outcome: FinalizeDone | FinalizeFailed | None


@dataclass(frozen=True, slots=True)
class Beat:
    """Once a second, with the load as measured."""

    load: NodeLoad


@dataclass(frozen=True, slots=True)
class Leaving:
    """The process is to end once its captures have been moved and its finalizations are done: begin nothing."""


@dataclass(frozen=True, slots=True)
class Stopping:
    """The process is asked to end: drain everything, begin nothing."""


Event = (
    Started
    | LinkUp
    | DesiredReceived
    | JournalAcked
    | KeyFrameRequested
    | PortsOpened
    | PortsRefused
    | WorkerSaid
    | WorkerReplaced
    | ChunkShipped
    | FinalizeProgressed
    | FinalizeEnded
    | Beat
    | Leaving
    | Stopping
)
