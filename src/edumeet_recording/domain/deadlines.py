"""When a state of a job has lasted long enough, and what follows: explicit policies, each with a reason; pure."""

from dataclasses import astuple, dataclass
from datetime import datetime, timedelta

from edumeet_recording.domain.job import BLOCKED_BY, Job, JobSignal, JobStatus, Reason

HEARD_AGAIN_S = 30.0
"""So long after the service was away every node has told what it has, and recordings that wait were placed again."""


@dataclass(frozen=True, slots=True)
class Limits:
    """Longest times, in seconds; the settings of the same names say what they mean."""

    queue_deadline_s: float
    no_media_timeout_s: float
    media_ended_timeout_s: float
    max_duration_s: float
    drain_deadline_s: float
    interrupted_deadline_s: float
    room_server_grace_s: float


@dataclass(frozen=True, slots=True)
class Heard:
    """When a recording was last heard of. `room_lost_at`: since when it is not known whether its room server sends."""

    last_packet_at: datetime | None = None
    room_lost_at: datetime | None = None


@dataclass(frozen=True, slots=True)
class Due:
    """The signal a policy sends, and why."""

    signal: JobSignal
    reason: Reason
    detail: str


def grace(limits: Limits) -> timedelta:
    """For how long nothing is due after the service was away; where limits are shorter than that, the shortest."""
    return timedelta(seconds=min(HEARD_AGAIN_S, *astuple(limits)))


def deadline_after(status: JobStatus, now: datetime, limits: Limits) -> datetime | None:
    """The deadline of a state that begins `now`; recording is limited by its own clock, see `due`."""
    seconds = {
        JobStatus.PENDING: limits.queue_deadline_s,
        JobStatus.INITIALIZING: limits.no_media_timeout_s,
        JobStatus.INTERRUPTED: limits.interrupted_deadline_s,
        JobStatus.STOPPING: limits.drain_deadline_s,
        # not for the work itself: until then a storage that is away is waited for
        JobStatus.PROCESSING: limits.drain_deadline_s,
    }.get(status)
    return None if seconds is None else now + timedelta(seconds=seconds)


def due(job: Job, heard: Heard, now: datetime, limits: Limits) -> Due | None:
    """What has to happen to `job` by `now`, or None. Processing is bounded by its lease and attempts instead."""
    if job.status is JobStatus.RECORDING:
        return _recording_due(job, heard, now, limits)
    overdue = job.deadline is not None and now >= job.deadline
    match job.status if overdue else None:
        case JobStatus.PENDING:
            waited = f"no node within {limits.queue_deadline_s:g} s"
            return Due(JobSignal.EXPIRED, Reason.QUEUE_DEADLINE, f"{waited}: {job.reason_detail or 'no capacity'}")
        case JobStatus.INITIALIZING:
            return _never_started(job, limits)
        case JobStatus.INTERRUPTED:
            detail = f"nobody could take over within {limits.interrupted_deadline_s:g} s"
            return Due(JobSignal.EXPIRED, Reason.NODE_LOST, detail)
        case JobStatus.STOPPING:
            detail = f"the node did not ship its tape within {limits.drain_deadline_s:g} s"
            return Due(JobSignal.DRAINED, Reason.DRAIN_DEADLINE, detail)
        case _:
            return None


def _never_started(job: Job, limits: Limits) -> Due:
    """Without media the failure that was noted, where there was one, is the reason; else nobody sent anything."""
    if job.reason in BLOCKED_BY:
        return Due(JobSignal.EXPIRED, Reason(job.reason), job.reason_detail or "")
    return Due(JobSignal.EXPIRED, Reason.NO_MEDIA, f"no RTP packet came within {limits.no_media_timeout_s:g} s")


def _recording_due(job: Job, heard: Heard, now: datetime, limits: Limits) -> Due | None:
    longest = min(job.options.max_duration_s or limits.max_duration_s, limits.max_duration_s)
    if job.started_at is not None and now >= job.started_at + timedelta(seconds=longest):
        return Due(JobSignal.STOP, Reason.MAX_DURATION, f"recorded for {longest:g} s")
    silent = timedelta(0) if heard.last_packet_at is None else now - heard.last_packet_at
    if silent >= timedelta(seconds=limits.media_ended_timeout_s):
        return Due(JobSignal.STOP, Reason.MEDIA_ENDED, f"no RTP packet for {limits.media_ended_timeout_s:g} s")
    return _room_server_due(job, heard, now, limits)


def _room_server_due(job: Job, heard: Heard, now: datetime, limits: Limits) -> Due | None:
    """Packets that still come show that a room server only seems to be lost."""
    if job.reason != Reason.ROOM_SERVER_LOST or heard.room_lost_at is None:
        return None
    since = max(heard.room_lost_at, heard.last_packet_at or heard.room_lost_at)
    if now < since + timedelta(seconds=limits.room_server_grace_s):
        return None
    waited = f"the room server did not send again within {limits.room_server_grace_s:g} s"
    return Due(JobSignal.STOP, Reason.ROOM_SERVER_LOST, f"{waited}: {job.reason_detail}")
