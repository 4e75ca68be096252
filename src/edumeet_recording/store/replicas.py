"""The orchestrator's replicas in PostgreSQL: who is there, and whose links have died with them."""

from datetime import datetime

from edumeet_recording.store.db import Connection, load_queries
from edumeet_recording.store.nodes import NodeKind
from edumeet_recording.wire.replicas import ReplicaView

_sql = load_queries("replicas")


async def seen(conn: Connection, replica: str, url: str, now: datetime) -> None:
    """A replica's sign of life; `url` is where it serves the API."""
    await _sql.see_replica(conn, id=replica, url=url, now=now)


async def living(conn: Connection, since: datetime) -> set[str]:
    """Ids of the replicas that were seen since then."""
    return {row["id"] async for row in _sql.living_replicas(conn, since=since)}


async def shown(conn: Connection, since: datetime) -> list[ReplicaView]:
    """The replicas that were seen since then, the oldest first."""
    return [ReplicaView(**dict(row)) async for row in _sql.shown_replicas(conn, since=since)]


async def left(conn: Connection, replica: str) -> None:
    """A replica ends."""
    await _sql.forget_replica(conn, id=replica)


async def links(conn: Connection) -> dict[NodeKind, int]:
    """How many nodes of each kind have a link to any replica."""
    return dict(await _sql.links(conn))


async def forget_dead(conn: Connection, replica: str, before: datetime, now: datetime) -> list[str]:
    """Take the links of other replicas than `replica` that were not seen since `before` for closed; whose links."""
    return [row["id"] async for row in _sql.forget_dead_replicas(conn, replica=replica, before=before, now=now)]
