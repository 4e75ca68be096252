"""What the API can ask for: one transaction a command, with its checks, its idempotency and its events."""

import hashlib
import hmac
import secrets
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta

import structlog

from edumeet_recording.config import OrchestratorSettings
from edumeet_recording.control.captures import CaptureCommands
from edumeet_recording.control.conduct import forgive
from edumeet_recording.control.desired import desired_of
from edumeet_recording.control.node_links import apply_heartbeat
from edumeet_recording.control.room_servers import room_server_back
from edumeet_recording.control.starts import Starts
from edumeet_recording.control.together import Together
from edumeet_recording.control.transitions import end_recording, limits_of, signal
from edumeet_recording.domain.errors import Conflict, NotFound, Unauthenticated
from edumeet_recording.domain.job import FINAL, Job, JobSignal, JobStatus, Reason
from edumeet_recording.domain.liveness import Verdict
from edumeet_recording.domain.price import capacity_mcpu
from edumeet_recording.domain.request import (
    FFmpegNodeRegistration,
    NewJob,
    Registered,
    RoomServerRegistration,
    StartOutcome,
)
from edumeet_recording.domain.tenant import Tenant
from edumeet_recording.store import captures, jobs, nodes, tenants
from edumeet_recording.store.nodes import NodeKind, NodeRecord
from edumeet_recording.store.transaction import Channel, Transactor, Tx
from edumeet_recording.wire.node_link import HeartbeatAnswer, HeartbeatPost
from edumeet_recording.wire.room_link import RoomHeartbeat

log = structlog.get_logger()
DEFAULT_CORES = 1
TOKENS_TOGETHER = 50


@dataclass(slots=True)
class Commands:
    """The commands of the API; each raises errors of `domain.errors`. `tenant` None sees every tenant's jobs."""

    db: Transactor
    settings: OrchestratorSettings
    captures: CaptureCommands
    starts: Starts
    _tokens: Together[tuple[NodeKind, str], bytes | None] = field(init=False)

    def __post_init__(self) -> None:
        self._tokens = Together(self._held_tokens, TOKENS_TOGETHER, repeatable=True)

    async def start(self, new: NewJob) -> StartOutcome:
        """Accept a recording and place it at once where a node is free; else it waits in the queue."""
        return await self.starts.start(new)

    async def stop(self, job_id: str, tenant: str | None) -> None:
        """End a recording and keep what was recorded; an ended job stays as it is."""
        await self._end(job_id, tenant, JobSignal.STOP, Reason.STOPPED)

    async def cancel(self, job_id: str, tenant: str | None) -> None:
        """End a recording and throw away what was recorded; refused under legal hold, and where it ended otherwise."""
        job = await self._end(job_id, tenant, JobSignal.CANCEL, Reason.CANCELLED)
        if job.status in FINAL and job.status is not JobStatus.CANCELLED:
            raise Conflict(f"recording {job_id} is {job.status} already", code="already_ended")

    async def _end(self, job_id: str, tenant: str | None, sent: JobSignal, reason: Reason) -> Job:
        async def work(tx: Tx) -> Job:
            job = await _job_of(tx, job_id, tenant)
            if sent is JobSignal.CANCEL:
                _check_hold(job)
            why = Reason.STOPPED_BEFORE_START if (job.status, sent) == (JobStatus.PENDING, JobSignal.STOP) else reason
            await end_recording(tx, limits_of(self.settings), job, sent, reason=why)
            return job

        return await self.db.run(work)

    async def retry(self, job_id: str, tenant: str | None) -> None:
        """Finalize a failed job again from its tape; refused where there is none."""

        async def work(tx: Tx) -> None:
            job = await _job_of(tx, job_id, tenant)
            if job.status is not JobStatus.FAILED:
                raise Conflict(f"recording {job_id} is {job.status}; only a failed one is retried", code="not_failed")
            kept = await jobs.tape_is_kept(tx.conn, job_id)
            if not (kept and await captures.has_chunks(tx.conn, job_id)):
                raise Conflict(f"recording {job_id} has no tape to make a file of", code="no_tape")
            await signal(tx, limits_of(self.settings), job, JobSignal.RETRY, attempts=0)
            tx.hint(Channel.DISPATCH)

        await self.db.run(work)

    async def delete(self, job_id: str, tenant: str | None) -> None:
        """Remove an ended recording with its files; refused under legal hold and while it runs."""

        async def work(tx: Tx) -> None:
            job = await _job_of(tx, job_id, tenant)
            _check_hold(job)
            if job.status not in FINAL:
                raise Conflict(f"recording {job_id} is {job.status}; stop or cancel it first", code="not_ended")
            await jobs.mark_deleted(tx.conn, job, tx.now)

        await self.db.run(work)

    async def hold(self, job_id: str, tenant: str | None, *, held: bool, by: str) -> None:
        """Put a recording under legal hold, in whatever state, or lift that; what is so already tells nothing."""

        async def work(tx: Tx) -> None:
            job = await _job_of(tx, job_id, tenant)
            if job.legal_hold is held:
                return
            await jobs.set_legal_hold(tx.conn, job.id, held=held)
            event = "legal_hold" if held else "legal_hold_lifted"
            await jobs.note(tx.conn, job.id, event=event, now=tx.now, data={"by": by})
            tx.hint(Channel.EVENTS)

        await self.db.run(work)

    async def put_tenant(self, tenant: Tenant) -> bool:
        """Replace a tenant's limits, for starts from now on; True where it had none."""
        return await self.db.run(lambda tx: tenants.put(tx.conn, tenant, tx.now))

    async def delete_tenant(self, tenant_id: str) -> bool:
        """Lift a tenant's limits; False where it had none."""
        return await self.db.run(lambda tx: tenants.delete(tx.conn, tenant_id))

    async def register_room_server(self, new: RoomServerRegistration, token: str | None) -> Registered:
        """Register a room server; an id that lives is only given to who shows its token."""
        fresh = secrets.token_urlsafe(32)

        async def work(tx: Tx) -> bool:
            await self._check_takeover(tx, "room-server", new.server_id, token)
            return await nodes.register_room_server(tx.conn, new, _digest(fresh), tx.now)

        created = await self.db.run(work)
        if not created:
            await room_server_back(self.db, new.server_id)
        log.info("room_server_registered", server_id=new.server_id, url=new.url, region=new.region)
        return Registered(new.server_id, fresh, created)

    async def register_ffmpeg_node(self, new: FFmpegNodeRegistration, token: str | None) -> Registered:
        """Register an FFmpeg node; without an id it gets one that its URL determines, so repeating is harmless."""
        fresh = secrets.token_urlsafe(32)
        node_id = new.node_id or "ffmpeg-node-" + hashlib.sha256(new.url.encode()).hexdigest()[:12]
        cores = new.specs.get("cpuCores", DEFAULT_CORES)
        capacity = capacity_mcpu(cores if isinstance(cores, int | float) else DEFAULT_CORES)

        async def work(tx: Tx) -> bool:
            await self._check_takeover(tx, "ffmpeg-node", node_id, token)
            tx.hint(Channel.NODE, node_id)
            tx.hint(Channel.FLEET, node_id)
            return await nodes.register_ffmpeg_node(
                tx.conn, new, node_id=node_id, capacity_mcpu=capacity, token_sha256=_digest(fresh), now=tx.now
            )

        created = await self.db.run(work)
        log.info("ffmpeg_node_registered", node_id=node_id, url=new.url, region=new.region)
        return Registered(node_id, fresh, created)

    async def _check_takeover(self, tx: Tx, kind: NodeKind, node_id: str, token: str | None) -> None:
        held = await nodes.by_id(tx.conn, kind, node_id)
        if held is None or _token_fits(held.token_sha256, token):
            return
        if self._is_alive(held, tx.now):
            raise Conflict(f"{node_id} is alive, and only its own token can register it again", code="node_alive")

    def _is_alive(self, held: NodeRecord, now: datetime) -> bool:
        if held.linked_replica is not None:
            return True
        if held.last_heartbeat is None or (held.health_reason or "").startswith(Verdict.DEAD):
            return False
        if held.kind == "ffmpeg-node":
            return now - held.last_heartbeat < timedelta(seconds=self.settings.heartbeat_timeout_s)
        # a room server keeps no token: restarted, it cannot show the one that it had before its link closed
        if held.unlinked_at is not None and held.last_heartbeat <= held.unlinked_at:
            return False
        return now - held.last_heartbeat < timedelta(seconds=self.settings.room_server_timeout_s)

    async def authenticate_node(self, kind: NodeKind, node_id: str, token: str | None) -> None:
        """Raises `Unauthenticated` unless `token` is the one that this node got at registration."""
        held = await self._tokens((kind, node_id))
        if held is None or not _token_fits(held, token):
            raise Unauthenticated(f"this is not the token of {node_id}")

    async def _held_tokens(self, whose: Sequence[tuple[NodeKind, str]]) -> list[bytes | None]:
        """Read together: where a replica dies, thousands of nodes come to the others at once."""
        held = await self.db.read(lambda tx: nodes.token_sha256s(tx.conn, [node_id for _, node_id in whose]))
        return [held.get(each) for each in whose]

    async def deregister_node(self, node_id: str) -> None:
        """Forget a node or room server; what a node still records ends, or moves, as if it had died.

        Raises `NotFound`, and `Conflict` for a room server with recordings that are not ended.
        """

        async def work(tx: Tx) -> bool:
            if await nodes.deregister(tx.conn, "ffmpeg-node", node_id, tx.now):
                tx.hint(Channel.FLEET, node_id)
                return True
            if await nodes.by_id(tx.conn, "room-server", node_id) is None:
                raise NotFound(f"node {node_id} is not registered")
            running = await nodes.live_jobs_of_room_server(tx.conn, node_id)
            if running:
                message = f"room server {node_id} has {running} recordings that are not ended"
                raise Conflict(message, code="room_server_in_use")
            await nodes.deregister(tx.conn, "room-server", node_id, tx.now)
            return False

        if await self.db.run(work):
            await self.captures.node_lost(node_id, "deregistered")

    async def set_draining(self, node_id: str, draining: bool) -> None:
        """Have an FFmpeg node take no new captures, or take them again, also where it was put aside.

        Raises `NotFound`.
        """

        async def work(tx: Tx) -> None:
            if not await nodes.set_draining(tx.conn, node_id, draining):
                raise NotFound(f"FFmpeg node {node_id} is not registered")
            if not draining:
                await forgive(tx, node_id)
            tx.hint(Channel.NODE, node_id)
            tx.hint(Channel.FLEET, node_id)
            tx.hint(Channel.DISPATCH)

        await self.db.run(work)

    async def node_heartbeat(self, node_id: str, post: HeartbeatPost) -> HeartbeatAnswer:
        """The posted heartbeat of a node without a link, answered with what it should do."""
        await apply_heartbeat(self.captures, node_id, post)
        await self.captures.journal(node_id, post.journal)
        ack = max((entry.seq for entry in post.journal), default=0)
        (desired,) = await desired_of(self.db, [node_id])
        return HeartbeatAnswer(desired=desired, ack=ack)

    async def room_server_heartbeat(self, beat: RoomHeartbeat) -> None:
        """The posted heartbeat of a room server."""
        was_away = await self.db.run(
            lambda tx: nodes.store_room_heartbeat(tx.conn, beat.server_id, beat.rooms, beat.peers, tx.now)
        )
        if was_away:
            await room_server_back(self.db, beat.server_id)


def _check_hold(job: Job) -> None:
    if job.legal_hold:
        raise Conflict(f"recording {job.id} is under legal hold", code="legal_hold")


async def _job_of(tx: Tx, job_id: str, tenant: str | None) -> Job:
    job = await jobs.locked(tx.conn, job_id)
    if job is None or (tenant is not None and job.tenant_id != tenant):
        raise NotFound(f"recording {job_id} does not exist")
    return job


def _digest(token: str) -> bytes:
    return hashlib.sha256(token.encode()).digest()


def _token_fits(held_sha256: bytes, token: str | None) -> bool:
    return token is not None and hmac.compare_digest(held_sha256, _digest(token))
