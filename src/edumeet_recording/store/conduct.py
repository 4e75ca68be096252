"""How nodes have done, and what happened to them and to room servers, in PostgreSQL."""

from collections.abc import Mapping
from datetime import datetime

from edumeet_recording.domain.quarantine import Conduct
from edumeet_recording.store.db import Connection, load_queries
from edumeet_recording.wire.views import NodeEvent

_sql = load_queries("conduct")


async def locked(conn: Connection, node_id: str) -> Conduct | None:
    """How a node has done; nobody else changes it before the transaction ends. None where it is not registered."""
    row = await _sql.locked_conduct(conn, id=node_id)
    return None if row is None else Conduct(tuple(row["failures"]), row["quarantines"], row["quarantined_until"])


async def keep(conn: Connection, node_id: str, conduct: Conduct, reason: str | None) -> None:
    """Keep how a node has done; `reason`: why it is put aside, shown with its health for that long."""
    await _sql.keep_conduct(
        conn,
        id=node_id,
        failures=list(conduct.failures),
        quarantines=conduct.quarantines,
        quarantined_until=conduct.quarantined_until,
        reason=reason,
    )


async def note(
    conn: Connection, node_id: str, event: str, now: datetime, data: Mapping[str, object] | None = None
) -> None:
    """Write what happened to a node or room server."""
    await _sql.note_node_event(conn, node_id=node_id, type=event, now=now, data=dict(data or {}))


async def events_of(conn: Connection, node_id: str, *, most: int) -> list[NodeEvent]:
    """The newest `most` events of a node or room server, newest first."""
    return [NodeEvent(**dict(row)) async for row in _sql.events_of_node(conn, node_id=node_id, most=most)]


async def quarantined_by_region(conn: Connection, now: datetime) -> dict[str, int]:
    """How many nodes are put aside."""
    return {row["region"]: row["count"] async for row in _sql.quarantined_by_region(conn, now=now)}
