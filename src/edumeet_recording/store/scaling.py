"""What autoscaling looks at and keeps: the fleet by region, nodes that were asked for, decisions."""

from collections import defaultdict
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime

import asyncpg

from edumeet_recording.domain.forecast import Sample
from edumeet_recording.domain.price import USUAL
from edumeet_recording.domain.scaling import (
    CANDIDATES,
    SHRINK_SHARE,
    FleetNode,
    FleetRequest,
    FleetSums,
    RequestState,
)
from edumeet_recording.store.db import Connection, load_queries
from edumeet_recording.wire.views import ScalingEvent

_sql = load_queries("scaling")


@dataclass(frozen=True, slots=True)
class Note:
    """What is kept of a decision or alert; `data`: its numbers."""

    region: str
    action: str
    reason: str
    data: Mapping[str, object]


@dataclass(frozen=True, slots=True)
class RecentRequests:
    """What a region asked for lately; `refused`: requests in a row that came to nothing."""

    asked_at: datetime | None = None
    drained_at: datetime | None = None
    refused: int = 0


@dataclass(slots=True)
class RequestsOfNote:
    """A region's open requests of which something may become, with the nodes that are there."""

    requests: list[FleetRequest] = field(default_factory=list[FleetRequest])
    nodes: list[FleetNode] = field(default_factory=list[FleetNode])


async def fleet_sums(conn: Connection, now: datetime) -> dict[str, FleetSums]:
    """Of each region with registered FFmpeg nodes."""
    rows = _sql.fleet_sums(conn, now=now, usual_mcpu=USUAL.mcpu, usual_bytes_per_s=USUAL.bytes_per_s)
    return {
        row["region"]: FleetSums(
            usable=row["usable"],
            sized=row["sized"],
            capacity_mcpu=int(row["capacity_mcpu"]),
            load_mcpu=int(row["load_mcpu"]),
            load_bytes_per_s=int(row["load_bytes_per_s"]),
        )
        async for row in rows
    }


async def requests_of_note(conn: Connection, provider: str, now: datetime) -> dict[str, RequestsOfNote]:
    """What a provider was asked for, by region, but for nodes that are plainly at work: of these the emptiest."""
    found: dict[str, RequestsOfNote] = defaultdict(RequestsOfNote)
    async for row in _sql.requests_of_note(conn, provider=provider, share=SHRINK_SHARE, few=CANDIDATES, now=now):
        noted = found[row["region"]]
        noted.requests.append(FleetRequest(row["node_id"], RequestState(row["state"]), row["asked_at"]))
        if row["is_there"]:
            noted.nodes.append(_node_of(row))
    return found


def _node_of(row: asyncpg.Record) -> FleetNode:
    return FleetNode(
        row["node_id"],
        row["capacity_mcpu"],
        row["load_mcpu"],
        is_usable=row["is_usable"],
        is_empty=row["is_empty"],
        is_healthy=row["is_healthy"],
        heard_at=row["last_heartbeat"],
        capacity_bytes_per_s=row["capacity_bytes_per_s"],
        load_bytes_per_s=row["load_bytes_per_s"],
    )


async def asked(conn: Connection, provider: str) -> list[tuple[str, str]]:
    """Nodes that a provider was asked for and that have not come yet: (region, id)."""
    return [(row["region"], row["node_id"]) async for row in _sql.asked_requests(conn, provider=provider)]


async def closed(conn: Connection, node_ids: Collection[str]) -> list[str]:
    """Those of the nodes that we have asked for and do not want any more."""
    return [row["node_id"] async for row in _sql.closed_requests(conn, ids=list(node_ids))]


async def recent_requests(conn: Connection, provider: str, since: datetime) -> dict[str, RecentRequests]:
    """What each region asked for that is open or ended after `since`."""
    return {
        row["region"]: RecentRequests(row["asked_at"], row["drained_at"], row["refused"])
        async for row in _sql.recent_requests(conn, provider=provider, since=since)
    }


async def samples(conn: Connection, spans: Sequence[tuple[datetime, datetime]]) -> dict[str, list[Sample]]:
    """The history of each region within `spans`, in order."""
    found: dict[str, list[Sample]] = defaultdict(list)
    since, until = zip(*spans, strict=True)
    async for row in _sql.samples(conn, since=list(since), until=list(until)):
        found[row["region"]].append(Sample(row["at"], row["demand_mcpu"], row["peers"]))
    return found


async def ask(
    conn: Connection,
    node_ids: Sequence[str],
    *,
    region: str,
    provider: str,
    reason: str,
    last_asked_at: datetime | None,
    now: datetime,
) -> bool:
    """Keep that nodes are wanted; False where somebody else has asked for the region since `last_asked_at`."""
    await _sql.lock_region(conn, region=region)
    before = await _sql.last_asked(conn, provider=provider, region=region)
    if before is not None and (last_asked_at is None or before > last_asked_at):
        return False
    await _sql.insert_requests(conn, ids=list(node_ids), region=region, provider=provider, reason=reason, now=now)
    return True


async def advance(conn: Connection, node_id: str, before: RequestState, after: RequestState, now: datetime) -> bool:
    """Compare-and-set of a request; False where somebody else was first."""
    return await _sql.advance_request(conn, node_id=node_id, before=before, after=after, now=now) is not None


async def note(
    conn: Connection, *, region: str, action: str, reason: str, data: Mapping[str, object], now: datetime
) -> None:
    """Keep a decision, with its numbers; the last thing that a transaction does, for all others wait for its end."""
    await note_together(conn, [Note(region, action, reason, data)], now)


async def note_together(conn: Connection, notes: Sequence[Note], now: datetime) -> None:
    """Keep several, in their order."""
    await _sql.insert_scaling_events(
        conn,
        regions=[each.region for each in notes],
        actions=[each.action for each in notes],
        reasons=[each.reason for each in notes],
        data=[dict(each.data) for each in notes],
        now=now,
    )


async def last_recommended(conn: Connection, region: str) -> int | None:
    """The desired number of nodes that was last recommended for a region; None where none ever was."""
    return await _sql.last_recommended(conn, region=region)


async def to_deregister(conn: Connection, provider: str) -> list[str]:
    """Nodes that were given back or given up, and are still registered."""
    return [row["id"] async for row in _sql.nodes_to_deregister(conn, provider=provider)]


async def page_of_events(
    conn: Connection,
    *,
    region: str | None,
    since: datetime | None,
    until: datetime | None,
    before: int | None,
    most: int,
) -> list[ScalingEvent]:
    """At most `most` decisions and alerts with an id below `before`, newest first."""
    rows = _sql.page_of_scaling_events(conn, region=region, since=since, until=until, before=before, most=most)
    return [ScalingEvent(**dict(row)) async for row in rows]
