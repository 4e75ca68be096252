"""What becomes of recordings when their room server goes away, and when it comes back.

A room server that was away may have forgotten what it sends, so it is asked again: the same answer as before, and
nothing has happened; another one, and the recording goes on with the next epoch. While it is away, recordings that get
no packets wait `ROOM_SERVER_GRACE_S`, then are finalized (`domain/deadlines.py`).
"""

from edumeet_recording.domain.job import CAPTURING, Job, JobStatus, Reason
from edumeet_recording.store import forwardings, jobs
from edumeet_recording.store.transaction import Channel, Stale, Transactor, Tx


async def room_server_lost(db: Transactor, server_id: str, evidence: str) -> None:
    """Its recordings are told so, and wait for it."""
    for job_id in await db.read(lambda tx: forwardings.jobs_to_tell_lost(tx.conn, server_id)):

        async def work(tx: Tx, job_id: str = job_id) -> None:
            job = await jobs.locked(tx.conn, job_id)
            if job is None or job.status not in CAPTURING:
                return
            await forwardings.doubt(tx.conn, job.id, tx.now)
            await note_lost(tx, job, evidence)

        await db.run(work)


async def room_server_back(db: Transactor, server_id: str) -> None:
    """It has registered, opened its link, or is heard again: what it should send is asked for again."""
    for job_id in await db.read(lambda tx: forwardings.jobs_of(tx.conn, server_id)):

        async def work(tx: Tx, job_id: str = job_id) -> None:
            await jobs.locked(tx.conn, job_id)
            await forwardings.doubt(tx.conn, job_id, tx.now)
            await forwardings.hurry(tx.conn, job_id)
            tx.hint(Channel.FORWARDING)

        await db.run(work)


async def note_lost(tx: Tx, job: Job, evidence: str) -> None:
    """Say of a recording that its room server does not send any more; once, until it does again."""
    if job.status is not JobStatus.RECORDING or job.reason == Reason.ROOM_SERVER_LOST:
        return
    await jobs.note(
        tx.conn,
        job.id,
        event="room_server_lost",
        now=tx.now,
        data={"roomServerId": job.room_server_id, "evidence": evidence},
        reason=Reason.ROOM_SERVER_LOST,
        detail=evidence,
    )
    tx.hint(Channel.EVENTS)


async def note_returned(tx: Tx, job: Job) -> None:
    """Say of a recording whose room server was lost that it sends again."""
    if job.status is not JobStatus.RECORDING or job.reason != Reason.ROOM_SERVER_LOST:
        return
    changed = await jobs.advance(
        tx.conn,
        job,
        status=job.status,
        event="room_server_returned",
        now=tx.now,
        reason=None,
        detail=None,
        deadline=job.deadline,
        data={"roomServerId": job.room_server_id},
    )
    if changed is None:
        raise Stale
    tx.hint(Channel.EVENTS)
