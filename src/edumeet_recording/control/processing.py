"""Finalization as a queue with leases: which node makes which file, and what came of it."""

from collections.abc import Sequence
from datetime import datetime, timedelta

from edumeet_recording.config import OrchestratorSettings
from edumeet_recording.control.transitions import NOT_TWICE, limits_of, retry_at, signal
from edumeet_recording.domain.finalizers import Finalizer, FreeSlots, uses_gpu
from edumeet_recording.domain.job import Job, JobSignal, JobStatus, Reason
from edumeet_recording.domain.regions import located, nearest_storage, ranked
from edumeet_recording.store import jobs, nodes, processing
from edumeet_recording.store.processing import Lease, Unheld
from edumeet_recording.store.transaction import Channel, Transactor, Tx
from edumeet_recording.wire.node_link import (
    FinalizeDone,
    FinalizeFailed,
    FinalizeProgress,
    FinalizeTask,
    OutputOptions,
    TaskCapture,
)

BATCH, ROUNDS = 100, 10
"""Jobs in one transaction, and transactions in a tick: with ten thousand that wait, a tick must still end."""
LATE_MEDIA_CALM_S = 10.0
"""A file is made anew once nothing more has come for so long."""
STORAGE_PAUSE_S = 10.0
"""Between attempts while the storage is away. They do not count until the job's deadline."""
FINALIZERS_LOST_AT_MOST = 20
"""Nodes that ended in the midst of one job. Far more patience than with failures: nodes end by any cause, many in a
bad night, and a recording weighs more than what nodes lose by a job that ends them, which is rare."""
LATE_MEDIA = "a node has shipped media after the file was made"


async def assign_tick(db: Transactor, settings: OrchestratorSettings) -> None:
    """Give every job that no finalizer holds to a node with a free slot, its own region's first: a batch at a time."""
    for _ in range(ROUNDS):
        waiting = await db.read(lambda tx: processing.unheld(tx.conn, tx.now))
        lost = [each.id for each in waiting if each.lost is not None][:BATCH]
        for job_id in lost:

            async def work(tx: Tx, job_id: str = job_id) -> None:
                await _take_back(tx, settings, job_id)

            await db.run(work)
        assigned = await _assign(db, settings, [each for each in waiting if each.lost is None])
        if not lost and assigned < BATCH:
            return


async def late_media_tick(db: Transactor, settings: OrchestratorSettings) -> None:
    """Make files anew that lack what a node has shipped since."""
    calm = timedelta(seconds=LATE_MEDIA_CALM_S)
    found = await db.read(lambda tx: jobs.with_late_media(tx.conn, tx.now - calm))
    for late in found[:BATCH]:

        async def work(tx: Tx, job_id: str = late.id) -> None:
            job = await jobs.locked(tx.conn, job_id)
            if job is not None:
                await signal(
                    tx, limits_of(settings), job, JobSignal.LATE_MEDIA, reason=job.reason, detail=LATE_MEDIA, attempts=0
                )
                tx.hint(Channel.DISPATCH)

        await db.run(work)


async def _take_back(tx: Tx, settings: OrchestratorSettings, job_id: str) -> None:
    """From a node whose lease ran out; the job waits for another then, or fails."""
    job = await jobs.locked(tx.conn, job_id)
    if job is None or job.status is not JobStatus.PROCESSING:
        return
    lost, until = job.processing_node_id, job.processing_lease_until
    if lost is None or (until is not None and until > tx.now):
        return
    await _finalizer_lost(tx, settings, job, f"node {lost} gave no sign of life", again=tx.now)
    await _free(tx, lost)


async def _assign(db: Transactor, settings: OrchestratorSettings, waiting: Sequence[Unheld]) -> int:
    """Give at most `BATCH` of those that wait to finalizers, by one transaction; how many found one."""
    if not waiting:
        return 0
    known = await db.read(lambda tx: processing.finalizers(tx.conn, BATCH + FINALIZERS_LOST_AT_MOST))
    leases = _leases(settings, waiting, known)
    if not leases:
        return 0

    async def work(tx: Tx) -> None:
        node_ids = await processing.lease(tx.conn, leases, lease_s=settings.processing_lease_s, now=tx.now)
        await nodes.raise_revisions(tx.conn, node_ids)
        for node_id in node_ids:
            tx.hint(Channel.NODE, node_id)

    await db.run(work)
    return len(leases)


def _leases(settings: OrchestratorSettings, waiting: Sequence[Unheld], known: Sequence[Finalizer]) -> list[Lease]:
    slots = FreeSlots(known)
    leases: list[Lease] = []
    for job in waiting:
        regions = tuple(ranked(job.region, slots.regions, job.allowed_regions, settings.spill))
        gpu = uses_gpu(job.options, job.codecs)
        node = slots.take(regions, job.storages, gpu=gpu, tried=job.tried)
        if node is None:
            continue
        storage = nearest_storage(
            node.region, settings.storage_regions, job.allowed_regions, settings.spill, node.storages
        )
        if storage is not None:
            leases.append(Lease(job.id, job.version, node.id, storage))
        if len(leases) == BATCH:
            break
    return leases


def task_of(job: Job, tape: tuple[TaskCapture, ...], *, cut_short: bool) -> FinalizeTask:
    """The finalization of `job` as its node is told. Each attempt writes to a place of its own: never two results.

    `cut_short`: no node is known to have recorded until the job was stopped.
    """
    return FinalizeTask(
        job_id=job.id,
        attempt=job.processing_attempt,
        output_prefix=located(job.file_storage, f"recordings/{job.id}/{job.processing_attempt}"),
        file_stem=f"recording-{job.id}",
        output=OutputOptions(
            container=job.options.container,
            quality=job.options.quality,
            include_audio=job.options.include_audio,
            include_video=job.options.include_video,
            copy_policy=job.options.copy,
            thumbnails=job.options.thumbnails,
            ffmpeg_args=job.options.ffmpeg_args,
        ),
        captures=tape,
        stopped_at=job.stopped_at.timestamp() if job.stopped_at else None,
        cut_short=cut_short,
    )


async def finalize_done(db: Transactor, settings: OrchestratorSettings, node_id: str, done: FinalizeDone) -> None:
    """The file is stored: the job completes, unless this attempt was given up meanwhile."""

    async def work(tx: Tx) -> None:
        job = await _held(tx, node_id, done.job_id, done.attempt)
        if job is None:
            return
        await jobs.store_result(
            tx.conn,
            job.id,
            file_key=done.file_key,
            report_key=done.report_key,
            size=done.bytes,
            sha256=done.sha256,
            duration_s=done.duration_s,
            report=done.report,
            warnings=list(done.warnings),
            kept_warnings=[NOT_TWICE],
        )
        data = {"bytes": done.bytes, "sha256": done.sha256, "durationS": done.duration_s, "warnings": done.warnings}
        await signal(tx, limits_of(settings), job, JobSignal.FINALIZED, reason=job.reason, data=data)
        await _free(tx, node_id)

    await db.run(work)


async def finalize_failed(db: Transactor, settings: OrchestratorSettings, node_id: str, failed: FinalizeFailed) -> None:
    """An attempt failed: the next one after a while, or the job fails with its tape kept."""

    async def work(tx: Tx) -> None:
        job = await _held(tx, node_id, failed.job_id, failed.attempt)
        if job is None:
            return
        if failed.no_media and job.file_key is None:
            await signal(tx, limits_of(settings), job, JobSignal.NO_MEDIA, reason=Reason.NO_MEDIA, detail=failed.error)
        elif failed.unavailable and job.deadline is not None and tx.now < job.deadline:
            again = tx.now + timedelta(seconds=STORAGE_PAUSE_S)
            await jobs.release_processing(
                tx.conn,
                job.id,
                failed.attempt,
                not_before=again,
                detail=failed.error,
                blamed="surroundings",
                now=tx.now,
            )
        elif failed.finalizer_lost:
            again = retry_at(job.finalizers_lost, tx.now)
            await _finalizer_lost(tx, settings, job, f"node {node_id}: {failed.error}", again=again)
        elif failed.retryable and job.attempts < settings.processing_attempts:
            again = retry_at(job.attempts, tx.now)
            await jobs.release_processing(
                tx.conn, job.id, failed.attempt, not_before=again, detail=failed.error, blamed="job", now=tx.now
            )
            await _note_retry(tx, job, failed.error)
        else:
            await _give_up(tx, settings, job, failed.error)
        await _free(tx, node_id)

    await db.run(work)


async def _held(tx: Tx, node_id: str, job_id: str, attempt: int) -> Job | None:
    job = await jobs.locked(tx.conn, job_id)
    if job is None or (job.processing_node_id, job.processing_attempt) != (node_id, attempt):
        return None
    return job if job.status is JobStatus.PROCESSING else None


async def _finalizer_lost(tx: Tx, settings: OrchestratorSettings, job: Job, error: str, *, again: datetime) -> None:
    """A node ended in the midst of it: another one tries, which costs no attempt, unless too many ended so."""
    if job.finalizers_lost + 1 >= FINALIZERS_LOST_AT_MOST:
        await _give_up(tx, settings, job, f"{FINALIZERS_LOST_AT_MOST} nodes ended while they made the file: {error}")
        return
    await jobs.release_processing(
        tx.conn, job.id, job.processing_attempt, not_before=again, detail=error, blamed="finalizer", now=tx.now
    )
    await _note_retry(tx, job, error)


async def _note_retry(tx: Tx, job: Job, error: str) -> None:
    data = {"attempt": job.processing_attempt, "error": error}
    await jobs.note(tx.conn, job.id, event="finalize_retry", now=tx.now, data=data)
    tx.hint(Channel.EVENTS)


async def _give_up(tx: Tx, settings: OrchestratorSettings, job: Job, error: str) -> None:
    """No attempt is left: an earlier version of the file stands, else the job fails and keeps its tape."""
    if job.file_key is not None:
        await signal(tx, limits_of(settings), job, JobSignal.KEPT, reason=job.reason, detail=error)
        return
    await signal(tx, limits_of(settings), job, JobSignal.FINALIZE_FAILED, reason=Reason.FINALIZE_ERROR, detail=error)


async def _free(tx: Tx, node_id: str) -> None:
    await nodes.raise_revision(tx.conn, node_id)
    tx.hint(Channel.NODE, node_id)
    tx.hint(Channel.DISPATCH)


async def renew(
    db: Transactor, settings: OrchestratorSettings, node_id: str, running: tuple[FinalizeProgress, ...]
) -> None:
    """The finalizations that a node says it is at keep their leases."""
    if not running:
        return

    async def work(tx: Tx) -> None:
        until = tx.now + timedelta(seconds=settings.processing_lease_s)
        for progress in running:
            await jobs.renew_processing(
                tx.conn,
                progress.job_id,
                node_id,
                progress.attempt,
                until=until,
                phase=progress.phase,
                fraction=progress.fraction,
            )

    await db.run(work)
