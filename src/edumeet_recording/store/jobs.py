"""Recording jobs in PostgreSQL: insert, read, and compare-and-set with the event in the same statement."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import datetime, timedelta
from typing import Any, Literal

import asyncpg

from edumeet_recording.domain.codecs import Codec, Container, CopyPolicy, Kind, Quality
from edumeet_recording.domain.deadlines import Heard, Limits
from edumeet_recording.domain.job import Job, JobStatus
from edumeet_recording.domain.request import JobOptions, NewJob, RequestStream, SrtpParameters
from edumeet_recording.domain.tenant import Tenant
from edumeet_recording.store import captures
from edumeet_recording.store.captures import Capture, NewCapture, stream_rows
from edumeet_recording.store.db import Connection, load_queries
from edumeet_recording.store.tenants import tenant_of
from edumeet_recording.store.transaction import lock_key

_sql = load_queries("jobs")


def job_of(row: asyncpg.Record) -> Job:
    """The job of a row of `recording_jobs`."""
    plain: dict[str, Any] = {name: row[name] for name in _PLAIN_COLUMNS}
    return Job(
        **plain,
        status=JobStatus(row["status"]),
        rtp_streams=tuple(stream_of(stream) for stream in row["rtp_streams"]),
        options=options_of(row["options"]),
        allowed_regions=None if row["allowed_regions"] is None else tuple(row["allowed_regions"]),
        finalizers_tried=tuple(row["finalizers_tried"]),
    )


Blamed = Literal["job", "finalizer", "surroundings"]
_TYPED_COLUMNS = {"status", "rtp_streams", "options", "allowed_regions", "finalizers_tried"}
_PLAIN_COLUMNS = tuple(name for name in Job.__dataclass_fields__ if name not in _TYPED_COLUMNS)


def stream_of(value: dict[str, Any]) -> RequestStream:
    """A stream as it is kept in `recording_jobs.rtp_streams`."""
    typed: dict[str, Any] = {**value, "kind": Kind(value["kind"]), "codec": Codec(value["codec"])}
    if value.get("srtp") is not None:
        typed["srtp"] = SrtpParameters(**value["srtp"])
    return RequestStream(**typed)


def options_of(value: Mapping[str, Any]) -> JobOptions:
    """The options as they are kept in `recording_jobs.options`."""
    quality = value["quality"]
    return JobOptions(
        container=Container(value["container"]),
        quality=None if quality is None else Quality(quality),
        include_audio=value["include_audio"],
        include_video=value["include_video"],
        max_duration_s=value["max_duration_s"],
        # Jobs of an older release lack these.
        copy=CopyPolicy(value.get("copy", CopyPolicy.PREFER)),
        thumbnails=value.get("thumbnails", True),
        ffmpeg_args=tuple(value.get("ffmpeg_args", ())),
        redundancy=value.get("redundancy", 1),
    )


@dataclass(frozen=True, slots=True)
class Circumstances:
    """All that a start is decided by. `earlier`: the job its idempotency key named before, with the request's digest.

    `region` None: the room server is not registered. `running`: a job that records the peer now, or waits to.
    """

    earlier: tuple[str, bytes] | None
    region: str | None
    running: str | None
    room_nodes: frozenset[str]
    tenant: Tenant | None


@dataclass(frozen=True, slots=True)
class Start:
    """A job that was accepted, to be stored; `capture` None: it is to wait."""

    new: NewJob
    job: Job
    capture: NewCapture | None


def peer_lock(new: NewJob) -> str:
    """What a start of the same peer waits for, so that two cannot both find it free (`Transactor.run`)."""
    return f"{new.room_server_id}\n{new.room_id}\n{new.peer_id}"


async def lock_peers(conn: Connection, peers: Sequence[str]) -> set[str]:
    """Those of some `peer_lock`s that nobody else holds; this transaction now does."""
    keys = {lock_key(peer): peer for peer in peers}
    return {keys[row["key"]] async for row in _sql.lock_peers(conn, keys=list(keys))}


async def circumstances(conn: Connection, news: Sequence[NewJob]) -> list[Circumstances]:
    """What is there when each of `news` is to start; the caller holds its `peer_lock`."""
    rows = _sql.circumstances(
        conn,
        keys=[new.idempotency_key for new in news],
        tenant_ids=[new.tenant_id for new in news],
        room_server_ids=[new.room_server_id for new in news],
        room_ids=[new.room_id for new in news],
        peer_ids=[new.peer_id for new in news],
    )
    return [_circumstances_of(row) async for row in rows]


def _circumstances_of(row: asyncpg.Record) -> Circumstances:
    return Circumstances(
        earlier=None if row["earlier_id"] is None else (row["earlier_id"], row["earlier_sha256"]),
        region=row["region"],
        running=row["running"],
        room_nodes=frozenset(row["room_nodes"]),
        tenant=None if row["id"] is None else tenant_of(row),
    )


async def insert(conn: Connection, starts: Iterable[Start]) -> None:
    """Store jobs that were accepted, pending or with a capture on a node whose capacity was claimed."""
    await _sql.insert_jobs(conn, starts=[_start_row(start) for start in starts])


def _start_row(start: Start) -> dict[str, object]:
    new, job, capture = start.new, start.job, start.capture
    row: dict[str, object] = {
        "id": job.id,
        "tenant_id": job.tenant_id,
        "room_server_id": job.room_server_id,
        "room_id": job.room_id,
        "peer_id": job.peer_id,
        "region": job.region,
        "allowed_regions": job.allowed_regions,
        "peer_info": new.peer_info,
        "rtp_streams": [asdict(stream) for stream in job.rtp_streams],
        "options": asdict(job.options),
        "requester_info": new.requester_info,
        "requested_by": new.requested_by,
        "forwarding": job.forwarding,
        "priority": new.priority,
        "cost_mcpu": job.price.mcpu,
        "cost_bytes_per_s": job.price.bytes_per_s,
        "idempotency_key": new.idempotency_key,
        "request_sha256": f"\\x{new.request_sha256.hex()}",
        "deadline": job.deadline and job.deadline.isoformat(),
        "created_at": job.created_at.isoformat(),
    }
    if capture is not None:
        row |= {
            "node_id": capture.node_id,
            "capture_id": capture.id,
            "streams": stream_rows(capture.streams),
            "storage": capture.storage,
            "placement": capture.placement,
            "told": capture.told,
        }
    return row


async def locked(conn: Connection, job_id: str) -> Job | None:
    """A job that exists and was not deleted; nobody else changes it, or its captures, before the transaction ends.

    Every command takes the job first, then its captures, then nodes: so none waits for another in a circle.
    """
    row = await _sql.locked_job(conn, id=job_id)
    return None if row is None else job_of(row)


async def locked_with(conn: Connection, capture_id: str) -> tuple[Capture, Job | None] | None:
    """A capture, read after its job was locked, and that; no job where it was deleted. None: no such capture."""
    row = await _sql.locked_job_of(conn, capture_id=capture_id)
    capture = None if row is None else await captures.by_id(conn, capture_id)
    if row is None or capture is None:
        return None
    return capture, None if row["deleted_at"] else job_of(row)


async def locked_together(conn: Connection, job_ids: Sequence[str]) -> list[Job]:
    """Several jobs, locked in an order that is the same for everybody."""
    return [job_of(row) async for row in _sql.locked_jobs(conn, ids=list(job_ids))]


async def advance(
    conn: Connection,
    job: Job,
    *,
    status: JobStatus,
    event: str,
    now: datetime,
    reason: str | None,
    detail: str | None,
    deadline: datetime | None,
    not_before: datetime | None = None,
    epoch: int | None = None,
    attempts: int | None = None,
    node_id: str | None = None,
    at: datetime | None = None,
    data: Mapping[str, object] | None = None,
) -> Job | None:
    """Compare-and-set `job` to `status` and write `event`; None where somebody else changed the job first.

    `at` is when recording really began, where that is what the event says.
    """
    row = await _sql.advance_job(
        conn,
        id=job.id,
        version=job.version,
        status=status,
        type=event,
        now=now,
        reason=reason,
        detail=detail,
        deadline=deadline,
        not_before=not_before,
        epoch=job.epoch if epoch is None else epoch,
        attempts=job.attempts if attempts is None else attempts,
        node_id=node_id,
        at=at or now,
        data=dict(data or {}),
    )
    return None if row is None else job_of(row)


async def note(
    conn: Connection,
    job_id: str,
    *,
    event: str,
    now: datetime,
    data: Mapping[str, object] | None = None,
    reason: str | None = None,
    detail: str | None = None,
) -> None:
    """Write an event that changes no status; `reason` and `detail` replace the job's where given."""
    await _sql.note_event(conn, id=job_id, type=event, now=now, data=dict(data or {}), reason=reason, detail=detail)


async def explain_wait(conn: Connection, job_id: str, reason: str, detail: str) -> None:
    """Say why a waiting job still waits."""
    await _sql.explain_wait(conn, id=job_id, reason=reason, detail=detail)


async def without_standby(conn: Connection, now: datetime, most: int) -> list[Job]:
    """Jobs that are to be recorded twice, are recorded once, and may be tried now."""
    return [job_of(row) async for row in _sql.jobs_without_standby(conn, now=now, most=most)]


async def miss_standby(conn: Connection, job_id: str, warning: str, retry_at: datetime) -> bool:
    """No node can be the standby's; True where that is news. `warning` is shown with the job, and stays."""
    return await _sql.miss_standby(conn, id=job_id, warning=warning, retry_at=retry_at)


async def delay_standby(conn: Connection, job_id: str, retry_at: datetime | None) -> None:
    """The next standby is placed at `retry_at`, or at once; none is missed until then."""
    await _sql.delay_standby(conn, id=job_id, retry_at=retry_at)


async def in_time(conn: Connection, now: datetime, limits: Limits) -> list[tuple[Job, Heard]]:
    """Jobs for which something may be due (`domain/deadlines.py`), each with when it was last heard of."""
    silent_since = now - timedelta(seconds=limits.media_ended_timeout_s)
    rows = _sql.jobs_in_time(conn, now=now, max_duration_s=limits.max_duration_s, silent_since=silent_since)
    return [(job_of(row), Heard(row["last_packet_at"], row["room_lost_at"])) async for row in rows]


async def to_settle(conn: Connection, most: int) -> list[Job]:
    """Stopping jobs whose captures are all over, the oldest."""
    return [job_of(row) async for row in _sql.jobs_to_settle(conn, most=most)]


async def release_processing(
    conn: Connection, job_id: str, attempt: int, *, not_before: datetime, detail: str, blamed: Blamed, now: datetime
) -> None:
    """Take `job_id` from its finalizer, if this attempt is the present one.

    `blamed`: what the attempt failed by; the job's own attempts and the finalizers that it lost are counted apart.
    """
    await _sql.release_processing(
        conn, id=job_id, attempt=attempt, not_before=not_before, detail=detail, blamed=blamed, now=now
    )


async def renew_processing(
    conn: Connection, job_id: str, node_id: str, attempt: int, *, until: datetime, phase: str, fraction: float
) -> None:
    """Prolong a finalizer's lease and keep its progress."""
    await _sql.renew_processing(
        conn, id=job_id, node_id=node_id, attempt=attempt, until=until, phase=phase, fraction=fraction
    )


async def store_result(
    conn: Connection,
    job_id: str,
    *,
    file_key: str,
    report_key: str,
    size: int,
    sha256: str,
    duration_s: float,
    report: Mapping[str, object],
    warnings: list[str],
    kept_warnings: list[str],
) -> None:
    """Keep what the finalizer made; `size` in bytes, `kept_warnings`: those of the job that are not the finalizer's."""
    await _sql.store_result(
        conn,
        id=job_id,
        file_key=file_key,
        report_key=report_key,
        bytes=size,
        sha256=sha256,
        duration_s=duration_s,
        report=dict(report),
        warnings=warnings,
        kept_warnings=kept_warnings,
    )


async def mark_late_media(conn: Connection, job_id: str, now: datetime) -> None:
    """A chunk was stored that the file of the job may lack; nothing where the job still records."""
    await _sql.mark_late_media(conn, id=job_id, now=now)


async def with_late_media(conn: Connection, before: datetime) -> list[Job]:
    """Ended jobs whose last late chunk came before `before`."""
    return [job_of(row) async for row in _sql.jobs_with_late_media(conn, before=before)]


async def tape_is_kept(conn: Connection, job_id: str) -> bool:
    """True where the tape was not deleted yet."""
    return await _sql.tape_is_kept(conn, id=job_id)


async def mark_deleted(conn: Connection, job: Job, now: datetime) -> bool:
    """Hide an ended job; False where it was changed meanwhile."""
    return await _sql.mark_deleted(conn, id=job.id, version=job.version, now=now) is not None


async def set_legal_hold(conn: Connection, job_id: str, *, held: bool) -> None:
    """Keep a job's tape and files from being deleted, or let them be."""
    await _sql.set_legal_hold(conn, id=job_id, held=held)


async def to_purge(conn: Connection, tape_before: datetime, most: int) -> list[tuple[str, bool]]:
    """Ended jobs whose objects are to go: (job id, True for everything or False for the tape only)."""
    rows = _sql.jobs_to_purge(conn, tape_before=tape_before, most=most)
    return [(row["id"], row["everything"]) async for row in rows]


async def mark_purged(conn: Connection, job_id: str, *, everything: bool, now: datetime) -> None:
    """The objects are gone."""
    await _sql.mark_purged(conn, id=job_id, everything=everything, now=now)
