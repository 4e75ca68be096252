"""Sends signals to jobs and captures in a transaction: the tables of `domain` decide, the store compares and sets."""

from collections.abc import Mapping
from datetime import datetime, timedelta

from edumeet_recording.config import OrchestratorSettings
from edumeet_recording.domain.capture import LIVE, CaptureRole, CaptureState
from edumeet_recording.domain.deadlines import Limits, deadline_after
from edumeet_recording.domain.failover import Consequence, after_loss
from edumeet_recording.domain.job import BLOCKED_BY, Job, JobSignal, JobStatus, Reason, next_status
from edumeet_recording.store import captures, jobs
from edumeet_recording.store.captures import Capture
from edumeet_recording.store.transaction import Channel, Stale, Tx

RETRY_BASE_S = 0.5
RETRY_MOST_S = 30.0
NOT_TWICE = "for a while this was not recorded twice: no node in another failure domain was to be had"


def limits_of(settings: OrchestratorSettings) -> Limits:
    """The deadlines that the settings name."""
    return Limits(**{name: getattr(settings, name) for name in Limits.__dataclass_fields__})


def retry_at(attempts: int, now: datetime) -> datetime:
    """When to try again after `attempts` failures: exponential, at most `RETRY_MOST_S` seconds away."""
    return now + timedelta(seconds=min(RETRY_BASE_S * 2 ** min(attempts, 10), RETRY_MOST_S))


async def signal(
    tx: Tx,
    limits: Limits,
    job: Job,
    sent: JobSignal,
    *,
    reason: Reason | str | None = None,
    detail: str | None = None,
    data: Mapping[str, object] | None = None,
    not_before: datetime | None = None,
    epoch: int | None = None,
    attempts: int | None = None,
    node_id: str | None = None,
    at: datetime | None = None,
) -> Job | None:
    """Move `job` by `sent` and write its event; None where its state refuses that, which changes nothing.

    Raises `Stale` where the job was changed after it was read.
    """
    status = next_status(job.status, sent)
    if status is None:
        return None
    changed = await jobs.advance(
        tx.conn,
        job,
        status=status,
        event=status.value,
        now=tx.now,
        reason=reason,
        detail=detail,
        deadline=deadline_after(status, tx.now, limits),
        not_before=not_before,
        epoch=epoch,
        attempts=attempts,
        node_id=node_id,
        at=at,
        data={key: value for key, value in {"reason": reason, "detail": detail, **(data or {})}.items() if value},
    )
    if changed is None:
        raise Stale
    tx.hint(Channel.EVENTS)
    return changed


async def end_recording(
    tx: Tx, limits: Limits, job: Job, sent: JobSignal, *, reason: Reason, detail: str | None = None
) -> None:
    """Stop or cancel: the job's captures are not wanted any more; a job without any is settled at once."""
    if job.status is JobStatus.PENDING and sent is JobSignal.STOP and job.epoch > 0:
        await end_waiting(
            tx, limits, job, reason=Reason.NO_MEDIA, detail=f"stopped while it waited: {job.reason_detail}"
        )
        return
    if job.status is JobStatus.INITIALIZING and sent is JobSignal.STOP and job.reason in BLOCKED_BY:
        reason, detail = Reason(job.reason), job.reason_detail
    changed = await signal(tx, limits, job, sent, reason=reason, detail=detail)
    if changed is None:
        return
    for node_id in await captures.unwant(tx.conn, job.id):
        tx.hint(Channel.NODE, node_id)
    tx.hint(Channel.FORWARDING)
    await settle(tx, limits, changed)


async def end_waiting(tx: Tx, limits: Limits, job: Job, *, reason: Reason, detail: str) -> None:
    """A pending job fails. Nodes that are lost may have media of it that nobody has heard of: that will wake it."""
    if await signal(tx, limits, job, JobSignal.EXPIRED, reason=reason, detail=detail) is None:
        return
    if await captures.has_chunks(tx.conn, job.id):
        await jobs.mark_late_media(tx.conn, job.id, tx.now)


async def settle(tx: Tx, limits: Limits, job: Job) -> None:
    """A stopping job whose captures are all over goes on to processing, or fails where nothing is on tape."""
    if job.status is not JobStatus.STOPPING:
        return
    if any(capture.state in LIVE for capture in await captures.of_job(tx.conn, job.id)):
        return
    if await captures.has_chunks(tx.conn, job.id):
        await signal(tx, limits, job, JobSignal.DRAINED, reason=job.reason, detail=job.reason_detail, attempts=0)
        tx.hint(Channel.DISPATCH)
        return
    named = job.reason in {*BLOCKED_BY, Reason.DRAIN_DEADLINE}
    detail = job.reason_detail or "no media was recorded"
    await signal(tx, limits, job, JobSignal.NO_MEDIA, reason=job.reason if named else Reason.NO_MEDIA, detail=detail)


async def capture_over(
    tx: Tx,
    limits: Limits,
    capture: Capture,
    state: CaptureState,
    *,
    reason: Reason,
    detail: str,
    job: Job | None = None,
) -> bool:
    """A capture is drained or lost: what that means for its job depends on whether it was still wanted, and on what
    else records it (`domain/failover.py`). True where its job had still wanted it.

    `job`: as it is now, where this transaction has locked and read it already.
    """
    lost_reason = detail if state is CaptureState.LOST else None
    if await captures.end(tx.conn, capture.id, state, tx.now, lost_reason) is None:
        return False
    tx.hint(Channel.NODE, capture.node_id)
    tx.hint(Channel.FORWARDING)
    tx.hint(Channel.DISPATCH)
    job = job or await jobs.locked(tx.conn, capture.job_id)
    if job is None:
        return False
    if job.status is JobStatus.STOPPING:
        await settle(tx, limits, job)
        return False
    if capture.wanted:
        await _after_loss(tx, limits, job, capture, reason=reason, detail=detail)
    return capture.wanted


async def _succeed(tx: Tx, capture: Capture, others: list[Capture]) -> None:
    """Who waited for a lost capture to receive stays; where there is nobody, the standby is the primary from now on."""
    if capture.leaving:
        return
    waits = any(each.leaving and each.role is capture.role for each in others)
    if waits and await captures.keep(tx.conn, capture):
        return
    if capture.role is CaptureRole.PRIMARY and any(each.role is CaptureRole.STANDBY for each in others):
        await captures.promote(tx.conn, capture.job_id)


async def _after_loss(tx: Tx, limits: Limits, job: Job, capture: Capture, *, reason: Reason, detail: str) -> None:
    all_of_it = await captures.of_job(tx.conn, job.id)
    live = [each for each in all_of_it if each.wanted and each.state in LIVE]
    await _succeed(tx, capture, live)
    others = [each.state for each in live]
    data = {"captureId": capture.id, "nodeId": capture.node_id, "epoch": capture.epoch}
    again = retry_at(job.attempts, tx.now)
    match after_loss(job.status, others):
        case Consequence.UNPLACED:
            sent = JobSignal.UNPLACED
        case Consequence.INTERRUPTED:
            sent, again = JobSignal.CAPTURE_LOST, None
        case Consequence.TRY_AGAIN:
            changed = await jobs.advance(
                tx.conn,
                job,
                status=job.status,
                event="capture_lost",
                now=tx.now,
                reason=reason,
                detail=detail,
                deadline=job.deadline,
                not_before=again,
                attempts=job.attempts + 1,
                data=data,
            )
            if changed is None:
                raise Stale
            return
        case Consequence.NONE:
            if job.options.redundancy > 1:
                barren = sum(each.state is CaptureState.LOST and not each.first_packet_at for each in all_of_it)
                await jobs.delay_standby(tx.conn, job.id, retry_at(barren, tx.now) if barren else None)
            await jobs.note(tx.conn, job.id, event="capture_lost", now=tx.now, data={**data, "detail": detail})
            return
    await signal(
        tx, limits, job, sent, reason=reason, detail=detail, data=data, not_before=again, attempts=job.attempts + 1
    )
