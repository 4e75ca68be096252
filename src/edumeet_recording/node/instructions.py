"""What a node's core wants done: the shell carries it out, in order."""

from dataclasses import dataclass

from edumeet_recording.node.worker_link import AskKeyFrame, Assign, ChunkClosed, Drain, Update
from edumeet_recording.wire.node_link import (
    CaptureDrained,
    ChunkStored,
    DesiredCapture,
    FinalizeDone,
    FinalizeFailed,
    FinalizeTask,
    Heartbeat,
    Report,
)


@dataclass(frozen=True, slots=True)
class OpenPorts:
    """Bind a port pair a stream, note the capture in the spool, and say `PortsOpened` or `PortsRefused`."""

    capture: DesiredCapture


@dataclass(frozen=True, slots=True)
class AssignCapture:
    """Hand the capture with its sockets to a worker."""

    slot: int
    assign: Assign


@dataclass(frozen=True, slots=True)
class TellWorker:
    """Pass on an order."""

    slot: int
    order: Update | Drain | AskKeyFrame


@dataclass(frozen=True, slots=True)
class ReleasePorts:
    """Give the capture's sockets back."""

    capture_id: str


@dataclass(frozen=True, slots=True)
class ShipChunk:
    """Store a chunk under `key`, for ever trying, and say `ChunkShipped`."""

    closed: ChunkClosed
    key: str


@dataclass(frozen=True, slots=True)
class AppendJournal:
    """Have the fact on disk before anything that follows in the list, and send it."""

    body: ChunkStored | CaptureDrained | FinalizeDone | FinalizeFailed


@dataclass(frozen=True, slots=True)
class TrimJournal:
    """Drop what is acknowledged."""

    up_to: int


@dataclass(frozen=True, slots=True)
class DeleteChunk:
    """Delete a stored chunk from the spool."""

    capture_id: str
    seq: int


@dataclass(frozen=True, slots=True)
class ForgetCapture:
    """Delete the capture's folder."""

    capture_id: str


@dataclass(frozen=True, slots=True)
class StartFinalize:
    """Run a finalization in a child, and say `FinalizeProgressed` and `FinalizeEnded`."""

    task: FinalizeTask


@dataclass(frozen=True, slots=True)
class StopFinalize:
    """End that child."""

    job_id: str
    attempt: int


@dataclass(frozen=True, slots=True)
class Send:
    """Send if there is a link; lost otherwise, for the next heartbeat says it again."""

    message: Report | Heartbeat


Instruction = (
    OpenPorts
    | AssignCapture
    | TellWorker
    | ReleasePorts
    | ShipChunk
    | AppendJournal
    | TrimJournal
    | DeleteChunk
    | ForgetCapture
    | StartFinalize
    | StopFinalize
    | Send
)
