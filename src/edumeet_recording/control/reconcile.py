"""Finds what does not fit together, mends what can be mended, and says each time what it did; loops on the leader.

None of it should happen. It does after a database was restored from a backup, objects were deleted by hand, or a
release had a bug; nobody should have to notice that a month later.
"""

from collections.abc import Awaitable, Callable, Mapping
from datetime import timedelta

import structlog
from prometheus_client import Counter

from edumeet_recording.config import OrchestratorSettings
from edumeet_recording.control.transitions import capture_over, limits_of, signal
from edumeet_recording.domain.capture import LIVE, CaptureState
from edumeet_recording.domain.job import CAPTURING, Job, JobSignal, JobStatus, Reason
from edumeet_recording.domain.stock import Stock, take_stock
from edumeet_recording.storage.regional import RegionalStore
from edumeet_recording.store import captures, conduct, jobs, reconcile
from edumeet_recording.store.transaction import Channel, Transactor, Tx

log = structlog.get_logger()

SETTLED_S = 15.0
"""What was changed within this may be on its way still."""
STOCK_AFTER_S = 3600.0
"""Objects of a recording are looked over when it has been over for so long: who was still writing is done by then."""
BATCH = 20
NAMED = 10
"""As many keys are named in one finding."""
FINDINGS = Counter("edumeet_recording_findings", "What did not fit together, and was mended or told of.", ["finding"])


async def reconcile_tick(db: Transactor, settings: OrchestratorSettings) -> None:
    """Captures that no job wants, jobs that nothing records, and capacity that is promised to nobody."""
    await _each(db, reconcile.jobs_of_ghosts, _end_ghosts)
    gone = timedelta(seconds=settings.drain_deadline_s)
    for capture_id, node_id in await db.read(lambda tx: reconcile.abandoned_captures(tx.conn, tx.now - gone)):
        await db.run(lambda tx, each=capture_id, node_id=node_id: _end_abandoned(tx, settings, each, node_id))
    settled = timedelta(seconds=SETTLED_S)
    for job_id in await db.read(lambda tx: reconcile.jobs_without_capture(tx.conn, tx.now - settled)):
        await db.run(lambda tx, job_id=job_id: _interrupt(tx, settings, job_id))
    await _each(db, reconcile.nodes_with_wrong_load, _correct_load)


async def _each(
    db: Transactor, find: Callable[..., Awaitable[list[str]]], mend: Callable[[Tx, str], Awaitable[None]]
) -> None:
    for found in await db.read(lambda tx: find(tx.conn)):
        await db.run(lambda tx, found=found: mend(tx, found))


def _tell(finding: str, **facts: object) -> None:
    FINDINGS.labels(finding).inc()
    log.warning("reconciled", finding=finding, **facts)


async def _note(tx: Tx, job_id: str, finding: str, facts: Mapping[str, object]) -> None:
    await jobs.note(tx.conn, job_id, event="reconciled", now=tx.now, data={"finding": finding, **facts})
    tx.hint(Channel.EVENTS)
    _tell(finding, job_id=job_id, **facts)


async def _end_ghosts(tx: Tx, job_id: str) -> None:
    job = await jobs.locked(tx.conn, job_id)
    if job is not None and job.status in CAPTURING:
        return
    nodes = await captures.unwant(tx.conn, job_id)
    for node_id in nodes:
        tx.hint(Channel.NODE, node_id)
    if nodes:
        await _note(tx, job_id, "capture_without_job", {"nodes": sorted(nodes), "did": "had them drained"})


async def _end_abandoned(tx: Tx, settings: OrchestratorSettings, capture_id: str, node_id: str) -> None:
    found = await jobs.locked_with(tx.conn, capture_id)
    if found is None:
        return
    capture, job = found
    if capture.wanted or capture.state not in LIVE:
        return
    detail, reason = f"node {node_id} has not ended it", Reason.DRAIN_DEADLINE
    await capture_over(tx, limits_of(settings), capture, CaptureState.LOST, reason=reason, detail=detail, job=job)
    facts = {"captureId": capture_id, "nodeId": node_id, "did": "gave its capacity back"}
    await _note(tx, capture.job_id, "capture_never_ended", facts)


async def _interrupt(tx: Tx, settings: OrchestratorSettings, job_id: str) -> None:
    job = await jobs.locked(tx.conn, job_id)
    if job is None or any(each.wanted and each.state in LIVE for each in await captures.of_job(tx.conn, job_id)):
        return
    sent = JobSignal.CAPTURE_LOST if job.status is JobStatus.RECORDING else JobSignal.UNPLACED
    detail = "no node was recording it"
    if await signal(tx, limits_of(settings), job, sent, reason=Reason.NODE_LOST, detail=detail) is not None:
        await _note(tx, job_id, "job_without_capture", {"did": "placed it again"})
        tx.hint(Channel.DISPATCH)


async def _correct_load(tx: Tx, node_id: str) -> None:
    corrected = await reconcile.correct_load(tx.conn, node_id)
    if corrected is None:
        return
    facts = {"loadMcpuBefore": corrected[0], "loadMcpu": corrected[1]}
    await conduct.note(tx.conn, node_id, "load_corrected", tx.now, facts)
    tx.hint(Channel.FLEET, node_id)
    tx.hint(Channel.DISPATCH)
    _tell("wrong_load", node_id=node_id, **facts)


async def stock_tick(db: Transactor, storage: RegionalStore) -> None:
    """Look over what is stored of recordings that are over: once each, and again when a file was made anew."""
    over_for = timedelta(seconds=STOCK_AFTER_S)
    for job in await db.read(lambda tx: reconcile.jobs_to_take_stock_of(tx.conn, tx.now - over_for, BATCH)):
        tape = {info.key for info in await storage.list_everywhere(f"tapes/{job.id}")}
        files = {info.key for info in await storage.list_everywhere(f"recordings/{job.id}")}
        chunks = await db.run(lambda tx, job=job: reconcile.chunk_keys(tx.conn, job.id))
        stock = take_stock(tape, files, chunks=chunks, file_key=job.file_key, attempt=job.processing_attempt)
        for key in stock.leftovers:
            await storage.delete(key)
        await db.run(lambda tx, job=job, stock=stock: _stock_taken(tx, job, stock))


async def _stock_taken(tx: Tx, listed: Job, stock: Stock) -> None:
    """Tell what was found, unless the job was changed since: then it is looked over again."""
    job = await jobs.locked(tx.conn, listed.id)
    if job is None or job.version != listed.version:
        return
    for finding, facts in _facts_of(stock).items():
        await _note(tx, job.id, finding, facts)
    await reconcile.take_stock(tx.conn, job.id, tx.now)


def _facts_of(stock: Stock) -> dict[str, dict[str, object]]:
    """By finding, what to tell of it."""
    found: dict[str, dict[str, object]] = {}
    for finding, keys, did in (
        ("tape_missing", stock.missing_tape, "told of it"),
        ("tape_without_row", stock.unknown_tape, "left it"),
        ("leftovers_of_attempts", stock.leftovers, "deleted them"),
    ):
        if keys:
            found[finding] = {"count": len(keys), "keys": keys[:NAMED], "did": did}
    if stock.file_is_missing:
        found["file_missing"] = {"did": "told of it"}
    return found


async def orphans_tick(db: Transactor, settings: OrchestratorSettings, storage: RegionalStore) -> None:
    """Look for folders of recordings that no row knows; delete old ones only where that was asked for."""
    for place in ("tapes", "recordings"):
        folders = await storage.folders_everywhere(place)
        known = await db.read(lambda tx, folders=folders: reconcile.known_jobs(tx.conn, folders))
        for job_id in sorted(folders - known):
            await _orphan(db, settings, storage, f"{place}/{job_id}")


async def _orphan(db: Transactor, settings: OrchestratorSettings, storage: RegionalStore, folder: str) -> None:
    newest = max((info.last_modified for info in await storage.list_everywhere(folder)), default=None)

    async def is_old(tx: Tx) -> bool:
        keep = settings.orphan_retention_s
        return newest is not None and bool(keep) and tx.now - newest > timedelta(seconds=keep)

    # asked in a transaction, for only the leader may delete
    old = await db.run(is_old)
    if old:
        await storage.delete_everywhere(folder)
    _tell("objects_without_job", folder=folder, did="deleted them" if old else "left them")
