"""The queue: jobs that need a node, in the order of `domain/queueing.py`."""

from datetime import datetime, timedelta

from edumeet_recording.domain.queueing import Waiting, order
from edumeet_recording.store import tenants
from edumeet_recording.store.db import Connection, load_queries

_sql = load_queries("queue")

LOOK_BACK = timedelta(minutes=10)
"""How fast the queue moves is how fast it moved in this time."""


async def in_order(conn: Connection, now: datetime) -> list[Waiting]:
    """Jobs that need a node, whose turn it is first."""
    waiting = [Waiting(**dict(row)) async for row in _sql.waiting_jobs(conn)]
    return order(waiting, await tenants.use(conn), now) if waiting else []


async def ended(conn: Connection, now: datetime) -> int:
    """Captures that made room within `LOOK_BACK`."""
    return await _sql.ended_captures(conn, since=now - LOOK_BACK)


async def length(conn: Connection) -> int:
    """Jobs that wait for their first node."""
    return await _sql.queue_length(conn)
