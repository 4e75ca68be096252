"""The state machine of a recording job: one table; a missing entry is a refusal, and a refusal changes nothing."""

from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum, unique
from types import MappingProxyType

from edumeet_recording.domain.price import Price
from edumeet_recording.domain.request import Forwarding, JobOptions, NewJob, RequestStream


@unique
class JobStatus(StrEnum):
    """Public status of a job; the SQL enum `job_status` equals it."""

    PENDING = "pending"
    INITIALIZING = "initializing"
    RECORDING = "recording"
    INTERRUPTED = "interrupted"
    STOPPING = "stopping"
    PROCESSING = "processing"
    COMPLETED = "completed"
    FAILED = "failed"
    CANCELLED = "cancelled"


@unique
class JobSignal(StrEnum):
    """What can happen to a job."""

    PLACED = "placed"
    """A node was chosen and a capture row written."""
    UNPLACED = "unplaced"
    """The capture was lost before any media, and the job goes back to the queue."""
    MEDIA = "media"
    """The first packet is on a tape (of this epoch)."""
    CAPTURE_LOST = "capture_lost"
    """The live capture is lost although there is media on tape."""
    STOP = "stop"
    """Somebody, or a policy such as maxDuration, asked to end the recording."""
    DRAINED = "drained"
    """Every capture has shipped what it had, or is lost: the tape is as complete as it can be now."""
    NO_MEDIA = "no_media"
    """The recording is over and nothing is on tape."""
    FINALIZED = "finalized"
    """The file is made, checked and stored."""
    FINALIZE_FAILED = "finalize_failed"
    """No attempt at finalizing is left; the tape is kept."""
    KEPT = "kept"
    """A new version of the file could not be made; the one that is there stands."""
    RETRY = "retry"
    """Somebody asked to finalize a failed job again; its tape was kept."""
    LATE_MEDIA = "late_media"
    """A node that was cut off has shipped what it had: the file is to be made anew."""
    CANCEL = "cancel"
    """Somebody asked to throw the recording away."""
    EXPIRED = "expired"
    """The job waited longer than its deadline for a node or for its room server."""


S, E = JobStatus, JobSignal

TRANSITIONS: MappingProxyType[tuple[JobStatus, JobSignal], JobStatus] = MappingProxyType(
    {
        (S.PENDING, E.PLACED): S.INITIALIZING,
        (S.PENDING, E.STOP): S.CANCELLED,
        (S.PENDING, E.CANCEL): S.CANCELLED,
        (S.PENDING, E.EXPIRED): S.FAILED,
        (S.INITIALIZING, E.UNPLACED): S.PENDING,
        (S.INITIALIZING, E.MEDIA): S.RECORDING,
        (S.INITIALIZING, E.STOP): S.STOPPING,
        (S.INITIALIZING, E.CANCEL): S.CANCELLED,
        (S.INITIALIZING, E.EXPIRED): S.STOPPING,
        (S.RECORDING, E.CAPTURE_LOST): S.INTERRUPTED,
        (S.RECORDING, E.STOP): S.STOPPING,
        (S.RECORDING, E.CANCEL): S.CANCELLED,
        (S.INTERRUPTED, E.MEDIA): S.RECORDING,
        (S.INTERRUPTED, E.STOP): S.STOPPING,
        (S.INTERRUPTED, E.CANCEL): S.CANCELLED,
        (S.INTERRUPTED, E.EXPIRED): S.STOPPING,
        (S.STOPPING, E.DRAINED): S.PROCESSING,
        (S.STOPPING, E.NO_MEDIA): S.FAILED,
        (S.STOPPING, E.CANCEL): S.CANCELLED,
        (S.PROCESSING, E.FINALIZED): S.COMPLETED,
        (S.PROCESSING, E.FINALIZE_FAILED): S.FAILED,
        (S.PROCESSING, E.NO_MEDIA): S.FAILED,
        (S.PROCESSING, E.KEPT): S.COMPLETED,
        (S.PROCESSING, E.CANCEL): S.CANCELLED,
        (S.FAILED, E.RETRY): S.PROCESSING,
        (S.FAILED, E.LATE_MEDIA): S.PROCESSING,
        (S.COMPLETED, E.LATE_MEDIA): S.PROCESSING,
    }
)

FINAL = frozenset({S.COMPLETED, S.FAILED, S.CANCELLED})
"""States a job rests in; only new media or an explicit retry wakes it, a cancelled one never."""
CAPTURING = frozenset({S.INITIALIZING, S.RECORDING, S.INTERRUPTED})
"""States in which a live capture belongs to the job."""


def next_status(status: JobStatus, signal: JobSignal) -> JobStatus | None:
    """The status after `signal`, or None where the signal is refused."""
    return TRANSITIONS.get((status, signal))


@unique
class Reason(StrEnum):
    """Why a job is where it is; stable words, shown with a human sentence beside them."""

    STOPPED = "stopped"
    STOPPED_BEFORE_START = "stopped_before_start"
    CANCELLED = "cancelled"
    MAX_DURATION = "max_duration"
    NO_MEDIA = "no_media"
    MEDIA_ENDED = "media_ended"
    ROOM_SERVER_UNREACHABLE = "room_server_unreachable"
    ROOM_SERVER_REFUSED = "room_server_refused"
    ROOM_SERVER_LOST = "room_server_lost"
    NO_CAPACITY = "no_capacity"
    SRTP_ERROR = "srtp_error"
    NODE_LOST = "node_lost"
    NODE_UNREACHABLE = "node_unreachable"
    NODE_REFUSED = "node_refused"
    QUEUE_DEADLINE = "queue_deadline"
    DRAIN_DEADLINE = "drain_deadline"
    FINALIZE_ERROR = "finalize_error"


BLOCKED_BY = frozenset({Reason.ROOM_SERVER_UNREACHABLE, Reason.ROOM_SERVER_REFUSED, Reason.SRTP_ERROR})
"""Why a recording that has not begun gets no media; such a reason outlives a stop."""


@dataclass(frozen=True, slots=True)
class Job:
    """A stored recording job, as far as decisions need it; `version` guards every change (compare-and-set).

    `deadline` ends the present state (`domain/deadlines.py`), `not_before` holds back the next placement.
    `allowed_regions`: patterns of where its media may be, None: anywhere; `file_storage`: where its file goes.
    """

    id: str
    tenant_id: str | None
    room_server_id: str
    room_id: str
    peer_id: str
    region: str
    rtp_streams: tuple[RequestStream, ...]
    options: JobOptions
    forwarding: Forwarding
    allowed_regions: tuple[str, ...] | None
    cost_mcpu: int
    cost_bytes_per_s: int
    status: JobStatus
    reason: str | None
    reason_detail: str | None
    version: int
    epoch: int
    attempts: int
    not_before: datetime | None
    deadline: datetime | None
    created_at: datetime
    started_at: datetime | None
    stopped_at: datetime | None
    processing_node_id: str | None
    processing_attempt: int
    processing_lease_until: datetime | None
    finalizers_lost: int
    finalizers_tried: tuple[str, ...]
    file_key: str | None
    file_storage: str
    legal_hold: bool

    @property
    def price(self) -> Price:
        """What each of its captures takes of a node."""
        return Price(self.cost_mcpu, self.cost_bytes_per_s, self.cost_bytes_per_s)


def accepted(
    new: NewJob,
    *,
    job_id: str,
    region: str,
    price: Price,
    allowed_regions: tuple[str, ...] | None,
    deadline: datetime | None,
    now: datetime,
) -> Job:
    """The pending job that `new` becomes; `region` is its room server's."""
    return Job(
        id=job_id,
        tenant_id=new.tenant_id,
        room_server_id=new.room_server_id,
        room_id=new.room_id,
        peer_id=new.peer_id,
        region=region,
        rtp_streams=new.rtp_streams,
        options=new.options,
        forwarding=new.forwarding,
        allowed_regions=allowed_regions,
        cost_mcpu=price.mcpu,
        cost_bytes_per_s=price.bytes_per_s,
        status=JobStatus.PENDING,
        reason=None,
        reason_detail=None,
        version=1,
        epoch=0,
        attempts=0,
        not_before=None,
        deadline=deadline,
        created_at=now,
        started_at=None,
        stopped_at=None,
        processing_node_id=None,
        processing_attempt=0,
        processing_lease_until=None,
        finalizers_lost=0,
        finalizers_tried=(),
        file_key=None,
        file_storage="",
        legal_hold=False,
    )
