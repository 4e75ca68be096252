"""Removes from storage what nobody needs any more: tapes after their time, everything of deleted or cancelled jobs."""

from datetime import timedelta

import structlog

from edumeet_recording.config import OrchestratorSettings
from edumeet_recording.storage.regional import RegionalStore
from edumeet_recording.store import jobs
from edumeet_recording.store.transaction import Transactor

log = structlog.get_logger()
BATCH = 50


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
