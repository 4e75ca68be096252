"""The second capture of what is recorded twice (`options.redundancy = 2`), on a node that does not die with the first.

A recording never waits for it: it begins with one, says so, and gets the other as soon as there is a node.
"""

from datetime import timedelta

from edumeet_recording.config import OrchestratorSettings
from edumeet_recording.control.dispatch import BATCH, assign, claim_node
from edumeet_recording.control.fleet import LiveFleet
from edumeet_recording.control.transitions import NOT_TWICE
from edumeet_recording.domain.capture import CaptureRole
from edumeet_recording.domain.job import CAPTURING
from edumeet_recording.store import jobs
from edumeet_recording.store.captures import NewCapture
from edumeet_recording.store.transaction import Channel, Transactor, Tx

MISSING_RETRY_S = 3.0
"""A standby that nobody can take is asked for again after this."""


async def standby_tick(db: Transactor, settings: OrchestratorSettings, fleet: LiveFleet) -> None:
    """Place the standby of every recording that lacks it."""
    for job in await db.read(lambda tx: jobs.without_standby(tx.conn, tx.now, BATCH)):

        async def work(tx: Tx, job_id: str = job.id) -> None:
            await place_standby(tx, settings, fleet, job_id)

        await db.run(work)


async def place_standby(tx: Tx, settings: OrchestratorSettings, fleet: LiveFleet, job_id: str) -> None:
    """Claim a node apart from the primary's and write its capture; else say once that there is none."""
    job = await jobs.locked(tx.conn, job_id)
    if job is None or job.status not in CAPTURING:
        return
    found = await claim_node(tx, settings, fleet, job, CaptureRole.STANDBY)
    if isinstance(found, NewCapture):
        await jobs.delay_standby(tx.conn, job.id, None)
        await assign(tx, settings, job, found, event="standby_placed")
        return
    retry_at = tx.now + timedelta(seconds=MISSING_RETRY_S)
    if await jobs.miss_standby(tx.conn, job.id, NOT_TWICE, retry_at):
        await jobs.note(tx.conn, job.id, event="standby_missing", now=tx.now, data={"detail": found})
        tx.hint(Channel.EVENTS)
