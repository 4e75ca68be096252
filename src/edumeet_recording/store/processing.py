"""Finalizations in PostgreSQL: jobs that wait for a node, nodes that could make their files, and leases."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from edumeet_recording.domain.codecs import Codec
from edumeet_recording.domain.finalizers import Finalizer
from edumeet_recording.domain.regions import DEFAULT_STORAGE
from edumeet_recording.domain.request import JobOptions
from edumeet_recording.store.db import Connection, load_queries
from edumeet_recording.store.jobs import options_of, stream_of

_sql = load_queries("processing")


@dataclass(frozen=True, slots=True)
class Unheld:
    """A job that no finalizer holds. `lost`: the node whose lease ran out. `storages`: those that its tape is in."""

    id: str
    version: int
    region: str
    allowed_regions: tuple[str, ...] | None
    options: JobOptions
    codecs: tuple[Codec, ...]
    lost: str | None
    tried: frozenset[str]
    storages: frozenset[str]


@dataclass(frozen=True, slots=True)
class Lease:
    """A job, in the version that was read, for a node, which is to write its file to `storage`."""

    job_id: str
    version: int
    node_id: str
    storage: str


async def unheld(conn: Connection, now: datetime) -> list[Unheld]:
    """Jobs that wait for a finalizer, whose turn it is first."""
    return [
        Unheld(
            id=row["id"],
            version=row["version"],
            region=row["region"],
            allowed_regions=None if row["allowed_regions"] is None else tuple(row["allowed_regions"]),
            options=options_of(row["options"]),
            codecs=tuple(stream_of(stream).codec for stream in row["rtp_streams"]),
            lost=row["processing_node_id"],
            tried=frozenset(row["finalizers_tried"]),
            storages=frozenset(row["storages"]),
        )
        async for row in _sql.jobs_to_process(conn, now=now)
    ]


async def finalizers(conn: Connection, most: int) -> list[Finalizer]:
    """Healthy nodes with free processing slots, the emptiest first: at most so many of each kind."""
    return [
        Finalizer(
            row["id"],
            row["region"],
            row["free_slots"],
            row["has_gpu"],
            frozenset(row["storages"] or (DEFAULT_STORAGE,)),
        )
        async for row in _sql.finalizers(conn, most=most)
    ]


async def lease(conn: Connection, leases: Sequence[Lease], *, lease_s: float, now: datetime) -> set[str]:
    """Give jobs to finalizers; the nodes that got one. A job that somebody else changed meanwhile is left out."""
    rows = _sql.lease(
        conn,
        ids=[each.job_id for each in leases],
        versions=[each.version for each in leases],
        node_ids=[each.node_id for each in leases],
        storages=[each.storage for each in leases],
        until=now + timedelta(seconds=lease_s),
        now=now,
    )
    return {row["node_id"] async for row in rows}
