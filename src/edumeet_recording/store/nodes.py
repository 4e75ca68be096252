"""Room servers and FFmpeg nodes in PostgreSQL: registration, heartbeats, capacity, what a node should do."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Literal

import asyncpg

from edumeet_recording.domain.capacity import CHEAPEST, DEAREST, corrected_mcpu
from edumeet_recording.domain.capture import CaptureRole
from edumeet_recording.domain.failure_domain import FailureDomain, parse_failure_domain
from edumeet_recording.domain.fleet import UNLIMITED, NodeSnapshot
from edumeet_recording.domain.job import Job
from edumeet_recording.domain.price import Price
from edumeet_recording.domain.regions import located
from edumeet_recording.domain.request import FFmpegNodeRegistration, RoomServerRegistration
from edumeet_recording.store.db import Connection, load_queries
from edumeet_recording.store.jobs import job_of
from edumeet_recording.wire.node_link import DesiredCapture, NodeLoad, Stream

_sql = load_queries("nodes")

NodeKind = Literal["room-server", "ffmpeg-node"]


@dataclass(frozen=True, slots=True)
class NodeRecord:
    """A registered room server or FFmpeg node. `health_reason` begins with the verdict on one that is not healthy."""

    kind: NodeKind
    id: str
    url: str
    region: str
    token_sha256: bytes
    is_healthy: bool
    health_reason: str | None
    last_heartbeat: datetime | None
    linked_replica: str | None
    unlinked_at: datetime | None
    load_mcpu: int


@dataclass(frozen=True, slots=True)
class SilentNode:
    """A node or room server whose heartbeat is overdue."""

    id: str
    url: str
    is_healthy: bool
    health_reason: str | None
    last_heartbeat: datetime | None
    unlinked_at: datetime | None = None


def _node_of(kind: NodeKind, row: asyncpg.Record | None) -> NodeRecord | None:
    if row is None:
        return None
    return NodeRecord(
        kind=kind,
        id=row["id"],
        url=row["url"],
        region=row["region"],
        token_sha256=row["token_sha256"],
        is_healthy=row["is_healthy"],
        health_reason=row["health_reason"],
        last_heartbeat=row["last_heartbeat"],
        linked_replica=row["linked_replica"],
        unlinked_at=row["unlinked_at"],
        load_mcpu=row.get("load_mcpu", 0),
    )


async def by_id(conn: Connection, kind: NodeKind, node_id: str) -> NodeRecord | None:
    """A registered node of one kind."""
    query = _sql.room_server_by_id if kind == "room-server" else _sql.ffmpeg_node_by_id
    return _node_of(kind, await query(conn, id=node_id))


async def token_sha256s(conn: Connection, node_ids: Sequence[str]) -> dict[tuple[NodeKind, str], bytes]:
    """Of the tokens that nodes, of either kind, got at registration."""
    return {(row["kind"], row["id"]): row["token_sha256"] async for row in _sql.tokens_of_nodes(conn, ids=node_ids)}


async def register_room_server(
    conn: Connection, new: RoomServerRegistration, token_sha256: bytes, now: datetime
) -> bool:
    """Store a room server; True where the id is new."""
    return await _sql.register_room_server(
        conn,
        id=new.server_id,
        url=new.url,
        region=new.region,
        capacity=new.capacity,
        specs=new.specs,
        token_sha256=token_sha256,
        now=now,
    )


async def register_ffmpeg_node(
    conn: Connection,
    new: FFmpegNodeRegistration,
    *,
    node_id: str,
    capacity_mcpu: int,
    token_sha256: bytes,
    now: datetime,
) -> bool:
    """Store an FFmpeg node; True where the id is new."""
    return await _sql.register_ffmpeg_node(
        conn,
        id=node_id,
        url=new.url,
        region=new.region,
        specs=new.specs,
        failure_domain=new.failure_domain,
        version=new.version,
        capacity_mcpu=capacity_mcpu,
        processing_slots=new.processing_slots,
        token_sha256=token_sha256,
        now=now,
    )


async def registered(conn: Connection) -> set[str]:
    """Ids of the registered FFmpeg nodes."""
    return set(await _sql.registered_nodes(conn))


async def snapshots(conn: Connection, node_ids: Sequence[str], now: datetime) -> list[NodeSnapshot]:
    """What placement looks at: the registered FFmpeg nodes among `node_ids`."""
    return [_snapshot_of(row) async for row in _sql.node_snapshots(conn, ids=list(node_ids), now=now)]


def _snapshot_of(row: asyncpg.Record) -> NodeSnapshot:
    columns: dict[str, Any] = dict(row)
    columns["failure_domain"] = _failure_domain_of(row)
    if row["capacity_bytes_per_s"] is None:
        columns["capacity_bytes_per_s"] = UNLIMITED
    for name in ("storages", "codecs"):
        columns[name] = None if row[name] is None else frozenset(row[name])
    return NodeSnapshot(**columns)


def _failure_domain_of(row: asyncpg.Record) -> FailureDomain:
    """A node that names nothing is a host of its own."""
    kept = row["failure_domain"]
    return FailureDomain(host=row["id"]) if kept is None else parse_failure_domain(kept)


async def claim_capacity(conn: Connection, node_id: str, price: Price) -> bool:
    """Promise what `price` says of the node's capacity, where it is still free."""
    claimed = await _sql.claim_capacity(conn, id=node_id, cost_mcpu=price.mcpu, cost_bytes_per_s=price.bytes_per_s)
    return claimed is not None


async def claim_at_once(conn: Connection, claims: Sequence[tuple[str, Price]]) -> set[str]:
    """Claim capacity of nodes, by id, for several captures at once; the nodes that could be claimed for all of theirs.

    It waits for nobody: what somebody else is about to change counts as taken.
    """
    ids, prices = [node_id for node_id, _ in claims], [price for _, price in claims]
    rows = _sql.claim_at_once(
        conn, ids=ids, mcpu=[each.mcpu for each in prices], bytes_per_s=[each.bytes_per_s for each in prices]
    )
    return {row["id"] async for row in rows}


async def keep_alive(conn: Connection, node_ids: Sequence[str], now: datetime) -> list[str]:
    """Heartbeats that say what was written of the nodes before; ids of those of which all is to be written."""
    return [row["id"] async for row in _sql.keep_alive(conn, ids=node_ids, now=now)]


async def store_heartbeats(conn: Connection, loads: Mapping[str, NodeLoad], now: datetime) -> list[str]:
    """Heartbeats of many nodes, by id; the ids of those whose readiness changed."""
    return [
        row["id"]
        async for row in _sql.store_heartbeats(
            conn,
            ids=list(loads),
            loads=[load.model_dump_json(by_alias=True) for load in loads.values()],
            least_of_a_core=corrected_mcpu(1, DEAREST),
            most_of_a_core=corrected_mcpu(1, CHEAPEST),
            now=now,
        )
    ]


async def store_room_heartbeat(conn: Connection, server_id: str, rooms: int, peers: int, now: datetime) -> bool:
    """A room server's sign of life; True where it was away."""
    return await _sql.store_room_heartbeat(conn, id=server_id, rooms=rooms, peers=peers, now=now) is False


async def introduce(
    conn: Connection, node_ids: Sequence[str], storages: Sequence[str] | None, codecs: Sequence[str] | None
) -> list[str]:
    """Nodes have said which storages and codecs they know, or their release does not say; those of whom it is news."""
    return [
        row["id"]
        async for row in _sql.introduce_ffmpeg_nodes(
            conn, ids=node_ids, storages=storages and list(storages), codecs=codecs and list(codecs)
        )
    ]


async def link(conn: Connection, kind: NodeKind, node_ids: Sequence[str], replica: str) -> None:
    """This replica holds the nodes' links now."""
    query = _sql.link_room_servers if kind == "room-server" else _sql.link_ffmpeg_nodes
    await query(conn, ids=node_ids, replica=replica)


async def unlink(
    conn: Connection, kind: NodeKind, node_ids: Sequence[str], replica: str, broken_at: datetime | None
) -> None:
    """This replica does not hold the nodes' links any more; `broken_at` None: it has closed them itself."""
    query = _sql.unlink_room_servers if kind == "room-server" else _sql.unlink_ffmpeg_nodes
    await query(conn, ids=node_ids, replica=replica, broken_at=broken_at)


async def silent_ffmpeg_nodes(conn: Connection, before: datetime) -> list[SilentNode]:
    """FFmpeg nodes without a heartbeat since `before`, or since their link closed."""
    return [SilentNode(**dict(row)) async for row in _sql.silent_ffmpeg_nodes(conn, before=before)]


async def silent_room_servers(conn: Connection, before: datetime) -> list[SilentNode]:
    """Room servers without a heartbeat since `before`, or since their link closed; one that has a link may be young."""
    return [SilentNode(**dict(row)) async for row in _sql.silent_room_servers(conn, before=before)]


async def judge(conn: Connection, kind: NodeKind, node: SilentNode, *, is_healthy: bool, reason: str | None) -> bool:
    """Keep a verdict of the health loop; False where the node was heard, or linked again, meanwhile."""
    query = _sql.judge_room_server if kind == "room-server" else _sql.judge_ffmpeg_node
    kept = await query(
        conn,
        id=node.id,
        is_healthy=is_healthy,
        reason=reason,
        last_heartbeat=node.last_heartbeat,
        unlinked_at=node.unlinked_at,
    )
    return kept is not None


async def suspect(
    conn: Connection, silent: Sequence[SilentNode], verdict: str, evidence: str, now: datetime
) -> list[str]:
    """Keep a verdict, and tell of it, on all that were not heard, or linked again, meanwhile; their ids."""
    rows = _sql.suspect_ffmpeg_nodes(
        conn,
        ids=[node.id for node in silent],
        last_heartbeats=[node.last_heartbeat for node in silent],
        unlinked_ats=[node.unlinked_at for node in silent],
        verdict=verdict,
        reason=f"{verdict}: {evidence}",
        data={"evidence": evidence},
        now=now,
    )
    return [row["id"] async for row in rows]


async def set_draining(conn: Connection, node_id: str, draining: bool) -> bool:
    """False where the node is not registered."""
    return await _sql.set_draining(conn, id=node_id, draining=draining) is not None


async def deregister(conn: Connection, kind: NodeKind, node_id: str, now: datetime) -> bool:
    """Mark a node as gone; False where it is not registered."""
    query = _sql.deregister_room_server if kind == "room-server" else _sql.deregister_ffmpeg_node
    return await query(conn, id=node_id, now=now) is not None


async def live_jobs_of_room_server(conn: Connection, server_id: str) -> int:
    """Jobs that still record from a room server."""
    return await _sql.live_jobs_of_room_server(conn, id=server_id)


async def desired_revisions(conn: Connection, node_ids: Sequence[str]) -> dict[str, int]:
    """The revision of what each node should do."""
    return {row["id"]: row["desired_revision"] async for row in _sql.desired_revisions(conn, ids=node_ids)}


async def revised(conn: Connection, sent: Mapping[str, int]) -> list[str]:
    """Nodes that should do something else than in the revision that was sent to them."""
    rows = _sql.revised_nodes(conn, ids=list(sent), revisions=list(sent.values()))
    return [row["id"] async for row in rows]


async def desired_captures(conn: Connection, node_ids: Sequence[str]) -> dict[str, list[DesiredCapture]]:
    """What each node should record; none where that is nothing.

    A room server's streams are confirmed by its answer; a client's are what the start said.
    """
    wanted: dict[str, list[DesiredCapture]] = {}
    async for row in _sql.desired_captures(conn, node_ids=list(node_ids)):
        capture = DesiredCapture(
            capture_id=row["id"],
            job_id=row["job_id"],
            epoch=row["epoch"],
            role=CaptureRole(row["role"]),
            tape_prefix=located(row["storage"], f"tapes/{row['job_id']}/{row['id']}"),
            confirmed=row["forwarding"] != "none" or row["forwarded_by"] == "client",
            streams=tuple(Stream.model_validate(stream) for stream in row["streams"]),
        )
        wanted.setdefault(row["node_id"], []).append(capture)
    return wanted


async def desired_finalizations(conn: Connection, node_ids: Sequence[str]) -> list[Job]:
    """The jobs that nodes should finalize."""
    return [job_of(row) async for row in _sql.desired_finalizations(conn, node_ids=list(node_ids))]


async def raise_revision(conn: Connection, node_id: str) -> None:
    """What the node should do has changed."""
    await _sql.raise_revision(conn, id=node_id)


async def raise_revisions(conn: Connection, node_ids: Collection[str]) -> None:
    """What some nodes should do has changed."""
    await _sql.raise_revisions(conn, ids=list(node_ids))
