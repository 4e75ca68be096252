"""Finds a node for a job: at start, and for those that wait or were interrupted."""

import secrets
from base64 import b64encode
from dataclasses import asdict
from uuid import uuid4

import structlog

from edumeet_recording.config import OrchestratorSettings
from edumeet_recording.control.fleet import LiveFleet
from edumeet_recording.control.transitions import capture_over, limits_of, signal
from edumeet_recording.domain.capture import LIVE, CaptureRole, CaptureState
from edumeet_recording.domain.codecs import Kind
from edumeet_recording.domain.job import CAPTURING, Job, JobSignal, JobStatus, Reason
from edumeet_recording.domain.placement import Placement, PlacementRequest
from edumeet_recording.domain.regions import ranked
from edumeet_recording.domain.srtp import KEY_BYTES
from edumeet_recording.store import captures, jobs
from edumeet_recording.store.captures import Capture
from edumeet_recording.store.transaction import Channel, Stale, Transactor, Tx
from edumeet_recording.wire.node_link import SrtpKey, Stream

log = structlog.get_logger()

BATCH = 100


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
            srtp=SrtpKey.model_validate(asdict(stream.srtp)) if from_client and stream.srtp else None,
        )
        for stream in job.rtp_streams
        if wanted[stream.kind]
    )


def with_our_keys(streams: tuple[Stream, ...], suite: str | None) -> tuple[Stream, ...]:
    """The streams with new keys, one a suite, for the feedback of the node that receives them.

    The suite is that of the stream where its sender is known to encrypt it, else `suite`; None: it comes in the clear.
    """
    keys: dict[str, SrtpKey] = {}
    keyed: list[Stream] = []
    for stream in streams:
        its = stream.srtp.suite if stream.srtp else suite
        if its is not None and its not in keys:
            key = b64encode(secrets.token_bytes(KEY_BYTES[its])).decode()
            keys[its] = SrtpKey.model_validate({"suite": its, "key_base64": key})
        keyed.append(stream.model_copy(update={"srtp_ours": keys[its] if its else None}))
    return tuple(keyed)


async def claim_node(
    tx: Tx, fleet: LiveFleet, job: Job, role: CaptureRole, *, without: frozenset[str] = frozenset()
) -> tuple[str | None, Placement]:
    """Claim capacity for a capture of `job`, apart from what records it in another role; not on nodes of `without`.

    The node, or None where there is none, and the decision.
    """
    known = await captures.of_job(tx.conn, job.id)
    elsewhere = {each.node_id for each in known if each.wanted and each.state in LIVE and each.role is not role}
    request = PlacementRequest(
        price=job.price,
        regions=tuple(ranked(job.region, fleet.regions, None, {})),
        room_nodes=await captures.nodes_of_room(tx.conn, job.room_server_id, job.room_id),
        avoid=frozenset(capture.node_id for capture in known),
        exclude_nodes=without | elsewhere,
        apart_from=fleet.domains_of(elsewhere),
        codecs=frozenset(stream.codec for stream in expected_streams(job)),
        seed=job.id,
    )
    return await fleet.claim(tx, request)


async def place_job(tx: Tx, settings: OrchestratorSettings, fleet: LiveFleet, job: Job) -> bool:
    """Claim a node's capacity and write the capture of the next epoch; False where nothing fits, with a reason."""
    node_id, placement = await claim_node(tx, fleet, job, CaptureRole.PRIMARY)
    if node_id is None:
        await jobs.explain_wait(tx.conn, job.id, Reason.NO_CAPACITY, placement.explanation)
        return False
    await assign(
        tx, settings, job, node_id, role=CaptureRole.PRIMARY, event="reassigned", decision=placement.record(node_id)
    )
    return True


async def _move(tx: Tx, settings: OrchestratorSettings, fleet: LiveFleet, capture: Capture) -> None:
    """Begin a successor on another node; the capture goes on until that one receives. Without room it stays.

    One whose room server sends other streams now may be followed on its own node. It gets no media any more: without
    room for both it gives way.
    """
    job = await jobs.locked(tx.conn, capture.job_id)
    if job is None or job.status not in CAPTURING:
        return
    if not await captures.leave(tx.conn, capture.id):
        return
    changed = capture.forwarding == "changed"
    without = frozenset[str]() if changed else frozenset({capture.node_id})
    node_id, placement = await claim_node(tx, fleet, job, capture.role, without=without)
    if node_id is not None:
        event = "following" if changed else "moving"
        await assign(tx, settings, job, node_id, role=capture.role, event=event, decision=placement.record(node_id))
        return
    await captures.keep(tx.conn, capture)
    if changed:
        detail = "the room server sends other streams now, and no node has room for both"
        await capture_over(
            tx, limits_of(settings), capture, CaptureState.LOST, reason=Reason.ROOM_SERVER_LOST, detail=detail
        )
        return
    log.warning("capture_cannot_move", capture_id=capture.id, node_id=capture.node_id, reason=placement.explanation)


async def drain_tick(db: Transactor, settings: OrchestratorSettings, fleet: LiveFleet) -> None:
    """Move every capture away from draining nodes (make before break)."""
    for capture in await db.read(lambda tx: captures.to_move(tx.conn)):

        async def work(tx: Tx, capture: Capture = capture) -> None:
            await _move(tx, settings, fleet, capture)

        await db.run(work)


async def assign(
    tx: Tx,
    settings: OrchestratorSettings,
    job: Job,
    node_id: str,
    *,
    role: CaptureRole,
    event: str,
    decision: dict[str, object],
) -> None:
    """Write the capture of the job's next epoch on a node whose capacity was claimed.

    `event` tells of it, with the `decision` that `Placement.record` made.
    """
    epoch = job.epoch + 1
    capture_id = uuid4().hex
    asks = job.forwarding == "room-server" and settings.room_server_srtp != "none"
    suite = settings.room_server_srtp if asks else None
    await captures.insert(
        tx.conn,
        capture_id=capture_id,
        job_id=job.id,
        node_id=node_id,
        role=role,
        epoch=epoch,
        cost_mcpu=job.cost_mcpu,
        streams=with_our_keys(expected_streams(job), suite),
        now=tx.now,
    )
    data = {"captureId": capture_id, "nodeId": node_id, "epoch": epoch, "role": role, "placement": decision}
    if job.status is JobStatus.PENDING:
        await signal(tx, limits_of(settings), job, JobSignal.PLACED, data=data, epoch=epoch, node_id=node_id)
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
            node_id=node_id if role is CaptureRole.PRIMARY else None,
            data=data,
        )
        if changed is None:
            raise Stale
    tx.hint(Channel.NODE, node_id)
    tx.hint(Channel.EVENTS)


async def dispatch_tick(db: Transactor, settings: OrchestratorSettings, fleet: LiveFleet) -> None:
    """Try every job that waits for a node, by priority and age."""
    for job in await db.read(lambda tx: jobs.to_place(tx.conn, tx.now, BATCH)):

        async def work(tx: Tx, job_id: str = job.id) -> None:
            fresh = await jobs.locked(tx.conn, job_id)
            if fresh is not None and fresh.status in {JobStatus.PENDING, JobStatus.INTERRUPTED}:
                await place_job(tx, settings, fleet, fresh)

        await db.run(work)
