"""Carries out what `domain/deadlines.py` says is due."""

from dataclasses import dataclass, field

from edumeet_recording.config import OrchestratorSettings
from edumeet_recording.control.transitions import capture_over, end_recording, end_waiting, limits_of, settle
from edumeet_recording.control.vigil import Vigil
from edumeet_recording.domain.capture import LIVE, CaptureState
from edumeet_recording.domain.deadlines import Heard, Limits, due, grace
from edumeet_recording.domain.job import JobSignal, JobStatus, Reason
from edumeet_recording.store import captures, jobs
from edumeet_recording.store.transaction import Transactor, Tx

BATCH = 100
"""Jobs of a tick, each by a transaction of its own: a tick must end in time, and the next one goes on."""


@dataclass(slots=True)
class DeadlineLoop:
    """Runs on the leader. While the service was away nobody could be heard: for a while after it nothing is due."""

    db: Transactor
    settings: OrchestratorSettings
    vigil: Vigil = field(init=False)

    def __post_init__(self) -> None:
        self.vigil = Vigil(self.db)

    async def tick(self) -> None:
        """One look at all that may be due."""
        async with self.vigil.tick():
            now, since = await self.vigil.look()
            if now >= since + grace(limits_of(self.settings)):
                await deadline_tick(self.db, self.settings)


async def deadline_tick(db: Transactor, settings: OrchestratorSettings) -> None:
    """End the states that have lasted too long, and settle stopping jobs that were left behind."""
    limits = limits_of(settings)

    async def read(tx: Tx) -> list[tuple[str, Heard]]:
        found = await jobs.in_time(tx.conn, tx.now, limits)
        return [(job.id, heard) for job, heard in found if due(job, heard, tx.now, limits) is not None]

    for job_id, heard in (await db.read(read))[:BATCH]:

        async def work(tx: Tx, job_id: str = job_id, heard: Heard = heard) -> None:
            await _carry_out(tx, limits, job_id, heard)

        await db.run(work)
    for left in await db.read(lambda tx: jobs.to_settle(tx.conn, BATCH)):

        async def settle_left(tx: Tx, job_id: str = left.id) -> None:
            job = await jobs.locked(tx.conn, job_id)
            if job is not None:
                await settle(tx, limits, job)

        await db.run(settle_left)


async def _carry_out(tx: Tx, limits: Limits, job_id: str, heard: Heard) -> None:
    job = await jobs.locked(tx.conn, job_id)
    verdict = None if job is None else due(job, heard, tx.now, limits)
    if job is None or verdict is None:
        return
    if job.status is JobStatus.PENDING:
        await end_waiting(tx, limits, job, reason=verdict.reason, detail=verdict.detail)
    elif verdict.signal is JobSignal.DRAINED:
        for capture in await captures.of_job(tx.conn, job.id):
            if capture.state in LIVE:
                await capture_over(
                    tx, limits, capture, CaptureState.LOST, reason=Reason.DRAIN_DEADLINE, detail=verdict.detail
                )
    else:
        await end_recording(tx, limits, job, verdict.signal, reason=verdict.reason, detail=verdict.detail)
