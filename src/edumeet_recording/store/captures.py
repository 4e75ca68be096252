"""Captures and their tape chunks in PostgreSQL."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import asyncpg

from edumeet_recording.domain.capture import CaptureRole, CaptureState
from edumeet_recording.domain.job import Job
from edumeet_recording.store.db import Connection, load_queries
from edumeet_recording.wire.node_link import CaptureReport, ChunkStored, Stream, TapeChunk, TaskCapture

_sql = load_queries("captures")


@dataclass(frozen=True, slots=True)
class NewCapture:
    """A capture that is to be on a node, and why there (`Placement.record`). `storage`: the name of its tape's."""

    id: str
    node_id: str
    role: CaptureRole
    epoch: int
    streams: tuple[Stream, ...]
    storage: str
    placement: dict[str, object]

    @property
    def told(self) -> dict[str, object]:
        """What the event of it says."""
        return {
            "captureId": self.id,
            "nodeId": self.node_id,
            "epoch": self.epoch,
            "role": self.role,
            "placement": self.placement,
        }


@dataclass(frozen=True, slots=True)
class Capture:
    """A stored capture."""

    id: str
    job_id: str
    node_id: str
    role: CaptureRole
    epoch: int
    state: CaptureState
    wanted: bool
    leaving: bool
    streams: tuple[Stream, ...]
    former_streams: tuple[Stream, ...]
    """What was sent before under other numbers."""
    ip: str | None
    ports: tuple[dict[str, int], ...]
    forwarding: str
    forwarding_attempts: int
    streams_asked: int
    streams_retry_at: datetime | None
    stats: dict[str, Any]
    first_packet_at: datetime | None


def capture_of(row: asyncpg.Record) -> Capture:
    """The capture of a row of `captures`."""
    return Capture(
        id=row["id"],
        job_id=row["job_id"],
        node_id=row["node_id"],
        role=CaptureRole(row["role"]),
        epoch=row["epoch"],
        state=CaptureState(row["state"]),
        wanted=row["wanted"],
        leaving=row["leaving"],
        streams=tuple(Stream.model_validate(stream) for stream in row["streams"]),
        former_streams=tuple(Stream.model_validate(stream) for stream in row["former_streams"]),
        ip=row["ip"],
        ports=tuple(row["ports"] or ()),
        forwarding=row["forwarding"],
        forwarding_attempts=row["forwarding_attempts"],
        streams_asked=row["streams_asked"],
        streams_retry_at=row["streams_retry_at"],
        stats=row["stats"] or {},
        first_packet_at=row["first_packet_at"],
    )


def stream_rows(streams: Sequence[Stream]) -> list[dict[str, Any]]:
    """Streams as they are kept in `captures.streams`."""
    return [stream.model_dump(mode="json", by_alias=True) for stream in streams]


async def insert(conn: Connection, job: Job, new: NewCapture, now: datetime) -> None:
    """A new capture; the unique index refuses a second live one of the job and role."""
    await _sql.insert_capture(
        conn,
        id=new.id,
        job_id=job.id,
        node_id=new.node_id,
        role=new.role,
        epoch=new.epoch,
        cost_mcpu=job.price.mcpu,
        cost_bytes_per_s=job.price.bytes_per_s,
        streams=stream_rows(new.streams),
        storage=new.storage,
        placement=new.placement,
        now=now,
    )


async def by_id(conn: Connection, capture_id: str) -> Capture | None:
    """One capture. Who is to change it takes `jobs.locked_with`."""
    row = await _sql.capture_by_id(conn, id=capture_id)
    return None if row is None else capture_of(row)


async def of_job(conn: Connection, job_id: str) -> list[Capture]:
    """All captures of a job, oldest epoch first."""
    return [capture_of(row) async for row in _sql.captures_of_job(conn, job_id=job_id)]


async def live_of_node(conn: Connection, node_id: str) -> list[Capture]:
    """What a node records, or was told to."""
    return [capture_of(row) async for row in _sql.live_captures_of_node(conn, node_id=node_id)]


async def of_jobs(conn: Connection, job_ids: Sequence[str]) -> dict[str, list[Capture]]:
    """All captures of each of some jobs, oldest epoch first."""
    found: dict[str, list[Capture]] = {job_id: [] for job_id in job_ids}
    async for row in _sql.captures_of_jobs(conn, job_ids=list(job_ids)):
        found[row["job_id"]].append(capture_of(row))
    return found


async def nodes_of_rooms(conn: Connection, job_ids: Sequence[str]) -> dict[str, frozenset[str]]:
    """Of each of some jobs, the nodes that record somebody of its room."""
    found: dict[str, set[str]] = {job_id: set() for job_id in job_ids}
    async for row in _sql.nodes_of_rooms(conn, job_ids=list(job_ids)):
        found[row["job_id"]].add(row["node_id"])
    return {job_id: frozenset(ids) for job_id, ids in found.items()}


async def to_move(conn: Connection, most: int) -> list[Capture]:
    """Live captures that have no successor yet, on draining nodes or with streams that are not sent any more."""
    return [capture_of(row) async for row in _sql.captures_to_move(conn, most=most)]


async def to_shed(conn: Connection, most: int) -> list[Capture]:
    """The emptiest capture of each node that has too much to do, and has none on its way already."""
    return [capture_of(row) async for row in _sql.captures_to_shed(conn, most=most)]


async def leave(conn: Connection, capture_id: str) -> bool:
    """Have a capture go on only until its successor receives; False where it is over or leaving already."""
    return await _sql.leave_capture(conn, id=capture_id) is not None


async def relieve(conn: Connection, successor: Capture) -> list[str]:
    """Drain the captures that waited for `successor`; the ids of their nodes."""
    rows = _sql.relieve_captures(conn, job_id=successor.job_id, role=successor.role, epoch=successor.epoch)
    return [row["id"] async for row in rows]


async def keep(conn: Connection, lost: Capture) -> bool:
    """`lost` was the successor of a capture that is leaving: that one stays after all; False where there is none."""
    return await _sql.keep_capture(conn, job_id=lost.job_id, role=lost.role) is not None


async def promote(conn: Connection, job_id: str) -> None:
    """The primary capture is lost: the standby, where there is one, is the primary from now on."""
    await _sql.promote_standby(conn, job_id=job_id)


async def late(conn: Connection, before: datetime, most: int) -> list[Capture]:
    """Captures assigned before `before` that their node has not prepared, the oldest."""
    return [capture_of(row) async for row in _sql.late_captures(conn, before=before, most=most)]


async def has_media(conn: Connection, job_id: str) -> bool:
    """True where any packet of the job was received."""
    return await _sql.has_media(conn, job_id=job_id)


async def has_chunks(conn: Connection, job_id: str) -> bool:
    """True where the object store holds records of the job."""
    return await _sql.has_chunks(conn, job_id=job_id)


async def prepare(conn: Connection, node_id: str, report: CaptureReport, now: datetime) -> str | None:
    """The node's ports are open; the job's id, or None where the capture was not waiting for that."""
    ports = [port.model_dump(by_alias=True) for port in report.ports]
    return await _sql.prepare_capture(conn, id=report.capture_id, node_id=node_id, ip=report.ip, ports=ports, now=now)


async def receive(conn: Connection, node_id: str, capture_id: str, first_packet_at: datetime) -> str | None:
    """The first packet is on the tape; the job's id, or None where that was known."""
    return await _sql.receive_capture(conn, id=capture_id, node_id=node_id, first_packet_at=first_packet_at)


async def end(
    conn: Connection, capture_id: str, state: CaptureState, now: datetime, lost_reason: str | None = None
) -> str | None:
    """Drained or lost: the capacity is given back; the job's id, or None where it was over already."""
    return await _sql.end_capture(conn, id=capture_id, state=state, now=now, lost_reason=lost_reason)


async def unwant(conn: Connection, job_id: str) -> list[str]:
    """Have a job's live captures drained; the ids of their nodes."""
    return [row["id"] async for row in _sql.unwant_captures(conn, job_id=job_id)]


async def store_stats(conn: Connection, reports: list[dict[str, Any]]) -> None:
    """Live numbers of many captures: {id, node_id, stats, last_packet_at, wants_key_frame}."""
    await _sql.store_stats(conn, reports=reports)


async def insert_chunks(conn: Connection, node_id: str, stored: Sequence[ChunkStored], now: datetime) -> list[str]:
    """Chunks are stored; ids of the jobs that got one which was not known, of a capture of this node."""
    rows = [{"capture_id": each.capture_id, **each.chunk.model_dump()} for each in stored]
    return [row["job_id"] async for row in _sql.insert_chunks(conn, node_id=node_id, chunks=rows, now=now)]


async def tape_of_jobs(conn: Connection, job_ids: Sequence[str]) -> dict[str, tuple[TaskCapture, ...]]:
    """Of each job every capture with its stored chunks, for the finalizer."""
    if not job_ids:
        return {}
    chunks: dict[str, list[TapeChunk]] = {}
    async for row in _sql.chunks_of_jobs(conn, job_ids=list(job_ids)):
        chunks.setdefault(row["capture_id"], []).append(TapeChunk.model_validate(dict(row)))
    tape: dict[str, list[TaskCapture]] = {job_id: [] for job_id in job_ids}
    async for row in _sql.captures_of_jobs(conn, job_ids=list(job_ids)):
        capture = capture_of(row)
        if capture.id in chunks:
            tape[capture.job_id].append(_task_capture(capture, chunks[capture.id]))
    return {job_id: tuple(each) for job_id, each in tape.items()}


async def cut_short(conn: Connection, job_ids: Sequence[str]) -> frozenset[str]:
    """Of some jobs those that no node is known to have recorded until they were stopped."""
    if not job_ids:
        return frozenset()
    return frozenset([row["id"] async for row in _sql.cut_short(conn, job_ids=list(job_ids))])


def _task_capture(capture: Capture, chunks: Sequence[TapeChunk]) -> TaskCapture:
    return TaskCapture(
        capture_id=capture.id,
        node_id=capture.node_id,
        epoch=capture.epoch,
        role=capture.role,
        # The present ones last: a finalizer that knows but one of an index takes that.
        streams=(*capture.former_streams, *capture.streams),
        chunks=tuple(chunks),
    )
