"""Finds a node for a job: at start, and for those that wait or were interrupted."""

from uuid import uuid4

import structlog

from edumeet_recording.config import OrchestratorSettings
from edumeet_recording.control.transitions import limits_of, signal
from edumeet_recording.domain.codecs import Kind
from edumeet_recording.domain.deadlines import Limits
from edumeet_recording.domain.job import CAPTURING, Job, JobSignal, JobStatus, Reason
from edumeet_recording.domain.placement import PlacementRequest, place
from edumeet_recording.store import captures, jobs, nodes
from edumeet_recording.store.captures import Capture
from edumeet_recording.store.transaction import Channel, Stale, Transactor, Tx
from edumeet_recording.wire.node_link import Stream

log = structlog.get_logger()

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
    failed = frozenset(capture.node_id for capture in before)
    placement = place(_request(job, failed), await nodes.snapshots(tx.conn))
    for node_id in placement.candidates[:TRIED_NODES]:
        if await nodes.claim_capacity(tx.conn, node_id, job.cost_mcpu):
            await _assign(tx, limits, job, node_id, "reassigned")
            return True
    await jobs.explain_wait(tx.conn, job.id, Reason.NO_CAPACITY, placement.explanation)
    return False


async def _move(tx: Tx, limits: Limits, capture: Capture) -> None:
    """Begin a successor on another node; the capture goes on until that one receives. Without room it stays."""
    job = await jobs.by_id(tx.conn, capture.job_id)
    if job is None or job.status not in CAPTURING:
        return
    placement = place(_request(job, frozenset({capture.node_id})), await nodes.snapshots(tx.conn))
    for node_id in placement.candidates[:TRIED_NODES]:
        if node_id != capture.node_id and await nodes.claim_capacity(tx.conn, node_id, job.cost_mcpu):
            if not await captures.leave(tx.conn, capture.id):
                raise Stale
            await _assign(tx, limits, job, node_id, "moving")
            return
    log.warning("capture_cannot_move", capture_id=capture.id, node_id=capture.node_id, reason=placement.explanation)


async def drain_tick(db: Transactor, settings: OrchestratorSettings) -> None:
    """Move every capture away from draining nodes (make before break)."""
    limits = limits_of(settings)
    for capture in await db.run(lambda tx: captures.to_move(tx.conn)):

        async def work(tx: Tx, capture: Capture = capture) -> None:
            await _move(tx, limits, capture)

        await db.run(work)


def _request(job: Job, avoid: frozenset[str]) -> PlacementRequest:
    return PlacementRequest(
        cost_mcpu=job.cost_mcpu, region=job.region, room=(job.room_server_id, job.room_id), avoid=avoid
    )


async def _assign(tx: Tx, limits: Limits, job: Job, node_id: str, event: str) -> None:
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
            event=event,
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
