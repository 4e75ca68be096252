"""What nodes should do, as it is sent to them: read by the same few queries for many."""

from collections.abc import Sequence

from edumeet_recording.control.processing import task_of
from edumeet_recording.store import captures, nodes
from edumeet_recording.store.transaction import Transactor, Tx
from edumeet_recording.wire.node_link import Desired, FinalizeTask


async def desired_of(db: Transactor, node_ids: Sequence[str]) -> list[Desired]:
    """The whole of what each of some nodes should do.

    The revisions are read first: what changes in between is sent again, and never missed.
    """

    async def work(tx: Tx) -> list[Desired]:
        revisions = await nodes.desired_revisions(tx.conn, node_ids)
        held = await nodes.desired_finalizations(tx.conn, node_ids)
        job_ids = [job.id for job in held]
        tape = await captures.tape_of_jobs(tx.conn, job_ids)
        cut_short = await captures.cut_short(tx.conn, job_ids)
        wanted = await nodes.desired_captures(tx.conn, node_ids)
        tasks: dict[str | None, list[FinalizeTask]] = {}
        for job in held:
            task = task_of(job, tape[job.id], cut_short=job.id in cut_short)
            tasks.setdefault(job.processing_node_id, []).append(task)
        return [
            Desired(
                revision=revisions.get(node_id, 0),
                captures=tuple(wanted.get(node_id, ())),
                finalize=tuple(tasks.get(node_id, ())),
            )
            for node_id in node_ids
        ]

    return await db.read(work)
