"""What does not fit together in PostgreSQL, and between it and what is stored: read here, mended in `control`."""

from collections.abc import Collection
from datetime import datetime

from edumeet_recording.domain.job import Job
from edumeet_recording.store.db import Connection, load_queries
from edumeet_recording.store.jobs import job_of

_sql = load_queries("reconcile")


async def jobs_of_ghosts(conn: Connection) -> list[str]:
    """Ids of jobs that record no more, and whose captures are wanted all the same."""
    return [row["job_id"] async for row in _sql.jobs_of_ghosts(conn)]


async def abandoned_captures(conn: Connection, before: datetime) -> list[tuple[str, str]]:
    """Captures that nobody has wanted since `before`, and that go on by the book: (id, node)."""
    return [(row["id"], row["node_id"]) async for row in _sql.abandoned_captures(conn, before=before)]


async def jobs_without_capture(conn: Connection, before: datetime) -> list[str]:
    """Ids of jobs that should record, unchanged since `before`, and that nothing records."""
    return [row["id"] async for row in _sql.jobs_without_capture(conn, before=before)]


async def nodes_with_wrong_load(conn: Connection) -> list[str]:
    """Ids of nodes whose promised capacity is not what their captures cost."""
    return [row["id"] async for row in _sql.nodes_with_wrong_load(conn)]


async def correct_load(conn: Connection, node_id: str) -> tuple[int, int] | None:
    """Make a node's load what its captures cost: milli-cores before and after, or None where it was right."""
    before = await _sql.hold_node(conn, id=node_id)
    after = await _sql.correct_load(conn, id=node_id)
    return None if after is None else (before, after)


async def jobs_to_take_stock_of(conn: Connection, ended_before: datetime, most: int) -> list[Job]:
    """Jobs that ended before then, and whose objects nobody has looked over since."""
    return [job_of(row) async for row in _sql.jobs_to_take_stock_of(conn, ended_before=ended_before, most=most)]


async def take_stock(conn: Connection, job_id: str, now: datetime) -> None:
    """The objects of a job were looked over."""
    await _sql.take_stock(conn, id=job_id, now=now)


async def chunk_keys(conn: Connection, job_id: str) -> set[str]:
    """Where the tape of a job is, as far as rows know."""
    return {row["key"] async for row in _sql.chunk_keys(conn, job_id=job_id)}


async def known_jobs(conn: Connection, job_ids: Collection[str]) -> set[str]:
    """Those of the ids that are a job's."""
    return {row["id"] async for row in _sql.known_jobs(conn, ids=list(job_ids))}
