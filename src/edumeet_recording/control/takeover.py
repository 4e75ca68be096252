"""Has other nodes take over what was interrupted: many recordings in one transaction, which waits for no node.

What is not straightforward (a node that somebody else has locked, or without room for all that it should take) is left
out, and placed alone.
"""

from collections import defaultdict
from collections.abc import Sequence
from contextlib import suppress

from edumeet_recording.config import OrchestratorSettings
from edumeet_recording.control.dispatch import assign, capture_request, dispatch_tick, due, new_capture
from edumeet_recording.control.fleet import LiveFleet
from edumeet_recording.domain.capture import LIVE, CaptureRole
from edumeet_recording.domain.errors import OrchestratorError
from edumeet_recording.domain.job import Job, JobStatus
from edumeet_recording.store import captures, jobs, nodes
from edumeet_recording.store.captures import NewCapture
from edumeet_recording.store.transaction import Transactor, Tx

TOGETHER = 32
"""Recordings of a transaction: with more of them the first would wait for the last."""


async def takeover_tick(db: Transactor, settings: OrchestratorSettings, fleet: LiveFleet) -> None:
    """Place what was interrupted together, then what is left, and all that waits for its first node, one by one."""
    interrupted = [each.job_id for each in await db.read(due) if each.interrupted]
    for first in range(0, len(interrupted), TOGETHER):

        async def work(tx: Tx, first: int = first) -> None:
            await take_over(tx, settings, fleet, interrupted[first : first + TOGETHER])

        await db.run(work)
    await dispatch_tick(db, settings, fleet)


async def take_over(tx: Tx, settings: OrchestratorSettings, fleet: LiveFleet, job_ids: Sequence[str]) -> None:
    """Place interrupted recordings, in this order, as far as that is straightforward."""
    found = {job.id: job for job in await jobs.locked_together(tx.conn, job_ids)}
    interrupted = [found[each] for each in job_ids if each in found and found[each].status is JobStatus.INTERRUPTED]
    known = await captures.of_jobs(tx.conn, job_ids)
    room_nodes = await captures.nodes_of_rooms(tx.conn, job_ids)
    joined = defaultdict[tuple[str, str], set[str]](set)
    chosen: list[tuple[Job, NewCapture]] = []
    for job in interrupted:
        its = known[job.id]
        if any(each.wanted and each.state in LIVE and each.role is CaptureRole.PRIMARY for each in its):
            continue
        nodes_here = joined[job.room_server_id, job.room_id]
        request = capture_request(
            settings, fleet, job, CaptureRole.PRIMARY, known=its, room_nodes=room_nodes[job.id] | nodes_here
        )
        node, placement = await fleet.choose(tx, request)
        if node is None:
            continue
        with suppress(OrchestratorError):  # alone it meets that again, and is told
            chosen.append((job, new_capture(settings, job, CaptureRole.PRIMARY, node, placement)))
            nodes_here.add(node.id)
    claimed = await nodes.claim_at_once(tx.conn, [(new.node_id, job.price) for job, new in chosen])
    for job, new in chosen:
        if new.node_id in claimed:
            await assign(tx, settings, job, new, event="reassigned")
