"""Removes what nobody needs any more: tapes after their time, all of deleted or cancelled jobs, fine old history."""

from datetime import UTC, datetime, timedelta

import structlog

from edumeet_recording.config import OrchestratorSettings
from edumeet_recording.storage.regional import RegionalStore
from edumeet_recording.store import jobs, metrics
from edumeet_recording.store.transaction import Transactor, Tx

log = structlog.get_logger()
BATCH = 50
FINE, COARSE = timedelta(minutes=5), timedelta(hours=1)
BEGINNING = datetime.fromtimestamp(0, UTC)


async def retention_tick(db: Transactor, settings: OrchestratorSettings, storage: RegionalStore) -> None:
    """Purge a batch of jobs; a job is marked only after its objects are gone."""
    keep = timedelta(seconds=settings.tape_retention_s)
    for job_id, everything in await db.read(lambda tx: jobs.to_purge(tx.conn, tx.now - keep, BATCH)):
        await storage.delete_everywhere(f"tapes/{job_id}")
        if everything:
            await storage.delete_everywhere(f"recordings/{job_id}")
        await db.run(
            lambda tx, job_id=job_id, everything=everything: jobs.mark_purged(
                tx.conn, job_id, everything=everything, now=tx.now
            )
        )
        log.info("purged", job_id=job_id, everything=everything)


async def history_tick(db: Transactor, settings: OrchestratorSettings) -> None:
    """Thin the history with age: all of it, then a row in five minutes, then one in an hour, then nothing."""

    async def work(tx: Tx) -> int:
        raw = tx.now - timedelta(days=settings.metrics_raw_days)
        fine = tx.now - timedelta(days=settings.metrics_five_minutes_days)
        await metrics.forget(tx.conn, tx.now - timedelta(days=settings.metrics_hourly_days))
        coarsened = await metrics.thin(tx.conn, BEGINNING, fine, COARSE)
        return coarsened + await metrics.thin(tx.conn, fine, raw, FINE)

    thinned = await db.run(work)
    if thinned:
        log.info("history_thinned", rows=thinned)
