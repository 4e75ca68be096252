"""Finds a node for a job: at start, and for those that wait or were interrupted."""

from uuid import uuid4

from edumeet_recording.config import OrchestratorSettings
from edumeet_recording.control.transitions import limits_of, signal
from edumeet_recording.domain.codecs import Kind
from edumeet_recording.domain.deadlines import Limits
from edumeet_recording.domain.job import Job, JobSignal, JobStatus, Reason
from edumeet_recording.domain.placement import PlacementRequest, place
from edumeet_recording.store import captures, jobs, nodes
from edumeet_recording.store.transaction import Channel, Stale, Transactor, Tx
from edumeet_recording.wire.node_link import Stream

BATCH = 100
TRIED_NODES = 5


def expected_streams(job: Job) -> tuple[Stream, ...]:
    """What a node should listen for: the wanted streams; SSRCs are the sender's own only where the client sends."""
    wanted = {Kind.AUDIO: job.options.include_audio, Kind.VIDEO: job.options.include_video}
    from_client = job.forwarding == "client"
    return tuple(
        Stream(
            index=stream.index,
            kind=stream.kind,
            codec=stream.codec,
            payload_type=stream.payload_type,
            ssrc=stream.ssrc if from_client else None,
            clock_rate=stream.clock_rate,
            channels=stream.channels,
        )
        for stream in job.rtp_streams
        if wanted[stream.kind]
    )


async def place_job(tx: Tx, limits: Limits, job: Job) -> bool:
    """Claim a node's capacity and write the capture of the next epoch; False where nothing fits, with a reason."""
    before = await captures.of_job(tx.conn, job.id)
    request = PlacementRequest(
        cost_mcpu=job.cost_mcpu,
        region=job.region,
        room=(job.room_server_id, job.room_id),
        avoid=frozenset(capture.node_id for capture in before),
    )
    placement = place(request, await nodes.snapshots(tx.conn))
    for node_id in placement.candidates[:TRIED_NODES]:
        if await nodes.claim_capacity(tx.conn, node_id, job.cost_mcpu):
            await _assign(tx, limits, job, node_id)
            return True
    await jobs.explain_wait(tx.conn, job.id, Reason.NO_CAPACITY, placement.explanation)
    return False


async def _assign(tx: Tx, limits: Limits, job: Job, node_id: str) -> None:
    epoch = job.epoch + 1
    capture_id = uuid4().hex
    await captures.insert(
        tx.conn,
        capture_id=capture_id,
        job_id=job.id,
        node_id=node_id,
        epoch=epoch,
        cost_mcpu=job.cost_mcpu,
        streams=expected_streams(job),
        now=tx.now,
    )
    data = {"captureId": capture_id, "nodeId": node_id, "epoch": epoch}
    if job.status is JobStatus.PENDING:
        await signal(tx, limits, job, JobSignal.PLACED, data=data, epoch=epoch, node_id=node_id)
    else:
        changed = await jobs.advance(
            tx.conn,
            job,
            status=job.status,
            event="reassigned",
            now=tx.now,
            reason=job.reason,
            detail=job.reason_detail,
            deadline=job.deadline,
            epoch=epoch,
            node_id=node_id,
            data=data,
        )
        if changed is None:
            raise Stale
    tx.hint(Channel.NODE, node_id)
    tx.hint(Channel.EVENTS)


async def dispatch_tick(db: Transactor, settings: OrchestratorSettings) -> None:
    """Try every job that waits for a node, by priority and age."""
    limits = limits_of(settings)
    for job in await db.run(lambda tx: jobs.to_place(tx.conn, tx.now, BATCH)):

        async def work(tx: Tx, job_id: str = job.id) -> None:
            fresh = await jobs.by_id(tx.conn, job_id)
            if fresh is not None and fresh.status in {JobStatus.PENDING, JobStatus.INTERRUPTED}:
                await place_job(tx, limits, fresh)

        await db.run(work)
