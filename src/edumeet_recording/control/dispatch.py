"""Finds a node for a job: at start, and for those that wait or were interrupted."""

import secrets
from base64 import b64encode
from collections.abc import Collection
from dataclasses import asdict, replace
from uuid import uuid4

import structlog

from edumeet_recording.config import OrchestratorSettings
from edumeet_recording.control.fleet import LiveFleet
from edumeet_recording.control.transitions import capture_over, limits_of, signal
from edumeet_recording.domain.capture import LIVE, CaptureRole, CaptureState
from edumeet_recording.domain.codecs import Kind
from edumeet_recording.domain.errors import Unavailable
from edumeet_recording.domain.fleet import NodeSnapshot
from edumeet_recording.domain.job import CAPTURING, Job, JobSignal, JobStatus, Reason
from edumeet_recording.domain.placement import Placement, PlacementRequest
from edumeet_recording.domain.price import Price
from edumeet_recording.domain.queueing import Waiting
from edumeet_recording.domain.regions import allowed_storages, nearest_storage, ranked
from edumeet_recording.domain.srtp import KEY_BYTES
from edumeet_recording.store import captures, jobs, queue
from edumeet_recording.store.captures import Capture, NewCapture
from edumeet_recording.store.transaction import Channel, Stale, Transactor, Tx
from edumeet_recording.wire.node_link import SrtpKey, Stream

log = structlog.get_logger()

BATCH = 100
"""Captures or jobs of a tick, which must end in time; the next one goes on."""
Kin = tuple[str, tuple[str, ...] | None, Price, int, frozenset[str]]
"""What a job asks of the fleet: where one finds no node, its kin find none either."""


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


def placement_request(
    settings: OrchestratorSettings, fleet: LiveFleet, job: Job, room_nodes: frozenset[str]
) -> PlacementRequest:
    """What a capture of `job` asks of a node; `room_nodes`: those that record its room."""
    return PlacementRequest(
        price=job.price,
        regions=tuple(ranked(job.region, fleet.regions, job.allowed_regions, settings.spill)),
        room_nodes=room_nodes,
        codecs=frozenset(stream.codec for stream in expected_streams(job)),
        storages=frozenset(allowed_storages(settings.storage_regions, job.allowed_regions)),
        seed=job.id,
    )


def new_capture(
    settings: OrchestratorSettings, job: Job, role: CaptureRole, node: NodeSnapshot, placement: Placement
) -> NewCapture:
    """The next capture of `job`, on the node that `placement` found. Raises `Unavailable` where it has no storage."""
    asks = job.forwarding == "room-server" and settings.room_server_srtp != "none"
    suite = settings.room_server_srtp if asks else None
    storage = nearest_storage(
        node.region, settings.storage_regions, job.allowed_regions, settings.spill, node.known_storages
    )
    if storage is None:
        raise Unavailable(f"node {node.id} knows no storage that is allowed")
    return NewCapture(
        id=uuid4().hex,
        node_id=node.id,
        role=role,
        epoch=job.epoch + 1,
        streams=with_our_keys(expected_streams(job), suite),
        storage=storage,
        placement=placement.record(node.id),
    )


def capture_request(
    settings: OrchestratorSettings,
    fleet: LiveFleet,
    job: Job,
    role: CaptureRole,
    *,
    known: Collection[Capture],
    room_nodes: frozenset[str],
    without: frozenset[str] = frozenset(),
) -> PlacementRequest:
    """What the next capture of `job` asks: apart from what records it in another role; not on `without`.

    `known`: all captures it had.
    """
    elsewhere = {each.node_id for each in known if each.wanted and each.state in LIVE and each.role is not role}
    return replace(
        placement_request(settings, fleet, job, room_nodes),
        avoid=frozenset(capture.node_id for capture in known),
        exclude_nodes=without | elsewhere,
        apart_from=fleet.domains_of(elsewhere),
    )


async def claim_node(
    tx: Tx,
    settings: OrchestratorSettings,
    fleet: LiveFleet,
    job: Job,
    role: CaptureRole,
    *,
    without: frozenset[str] = frozenset(),
) -> NewCapture | str:
    """Claim capacity for the next capture of `job`: the capture, still to be written, or why there is none."""
    known = await captures.of_job(tx.conn, job.id)
    room_nodes = await captures.nodes_of_rooms(tx.conn, [job.id])
    request = capture_request(settings, fleet, job, role, known=known, room_nodes=room_nodes[job.id], without=without)
    node, placement = await fleet.claim(tx, request)
    return placement.explanation if node is None else new_capture(settings, job, role, node, placement)


async def place_job(tx: Tx, settings: OrchestratorSettings, fleet: LiveFleet, job: Job) -> str | None:
    """Claim a node's capacity and write the capture of the next epoch; why not, where nothing fits."""
    found = await claim_node(tx, settings, fleet, job, CaptureRole.PRIMARY)
    if isinstance(found, str):
        return found
    await assign(tx, settings, job, found, event="reassigned")
    return None


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
    found = await claim_node(tx, settings, fleet, job, capture.role, without=without)
    if isinstance(found, NewCapture):
        await assign(tx, settings, job, found, event="following" if changed else "moving")
        return
    await captures.keep(tx.conn, capture)
    if changed:
        detail = "the room server sends other streams now, and no node has room for both"
        await capture_over(
            tx, limits_of(settings), capture, CaptureState.LOST, reason=Reason.ROOM_SERVER_LOST, detail=detail
        )
        return
    log.warning("capture_cannot_move", capture_id=capture.id, node_id=capture.node_id, reason=found)


async def drain_tick(db: Transactor, settings: OrchestratorSettings, fleet: LiveFleet) -> None:
    """Move every capture away from draining nodes, and one at a time from those that have too much to do."""
    draining = await db.read(lambda tx: captures.to_move(tx.conn, BATCH))
    for capture in draining + await db.read(lambda tx: captures.to_shed(tx.conn, BATCH)):

        async def work(tx: Tx, capture: Capture = capture) -> None:
            await _move(tx, settings, fleet, capture)

        await db.run(work)


async def assign(tx: Tx, settings: OrchestratorSettings, job: Job, new: NewCapture, *, event: str) -> None:
    """Write the capture of the job's next epoch on a node whose capacity was claimed; `event` tells of it."""
    await captures.insert(tx.conn, job, new, tx.now)
    if job.status is JobStatus.PENDING:
        limits = limits_of(settings)
        await signal(tx, limits, job, JobSignal.PLACED, data=new.told, epoch=new.epoch, node_id=new.node_id)
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
            epoch=new.epoch,
            node_id=new.node_id if new.role is CaptureRole.PRIMARY else None,
            data=new.told,
        )
        if changed is None:
            raise Stale
    tx.hint(Channel.NODE, new.node_id)
    tx.hint(Channel.EVENTS)


async def dispatch_tick(db: Transactor, settings: OrchestratorSettings, fleet: LiveFleet) -> None:
    """Try the jobs that wait for a node, in the order of the queue; where one finds none, its kin wait for the same."""
    hopeless: dict[Kin, str] = {}
    for waiting in (await db.read(due))[:BATCH]:

        async def work(tx: Tx, job_id: str = waiting.job_id) -> tuple[Kin, str] | None:
            job = await jobs.locked(tx.conn, job_id)
            if job is None or job.status not in {JobStatus.PENDING, JobStatus.INTERRUPTED}:
                return None
            kin = kin_of(job)
            why = hopeless.get(kin) or await place_job(tx, settings, fleet, job)
            if why is None:
                return None
            await jobs.explain_wait(tx.conn, job.id, Reason.NO_CAPACITY, why)
            return kin, why

        refused = await db.run(work)
        if refused is not None:
            hopeless[refused[0]] = refused[1]


def kin_of(job: Job) -> Kin:
    """What makes jobs equal to the fleet."""
    codecs = frozenset(stream.codec for stream in expected_streams(job))
    return job.region, job.allowed_regions, job.price, job.options.redundancy, codecs


async def due(tx: Tx) -> list[Waiting]:
    """Those that wait for a node and may be tried now, in the order of the queue."""
    ordered = await queue.in_order(tx.conn, tx.now)
    return [job for job in ordered if job.not_before is None or job.not_before <= tx.now]
