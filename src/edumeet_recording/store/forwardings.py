"""What room servers send where, in PostgreSQL: who is to be told to send, asked again, or told to stop.

`captures.forwarding` is `none` until the room server was told, `configured` while it sends, `unconfirmed` where it may
have forgotten since, `changed` where it sends something else now, and `stopped`.
"""

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Literal

import asyncpg

from edumeet_recording.store.captures import Capture, capture_of, stream_rows
from edumeet_recording.store.db import Connection, load_queries
from edumeet_recording.wire.node_link import Stream

_sql = load_queries("forwardings")
AT_ONCE = 200
"""Captures that are read to be spoken of; the rest has its turn once these are busy."""


@dataclass(frozen=True, slots=True)
class Forwarding:
    """A capture whose room server is to be told something, with what that takes."""

    capture: Capture
    room_server_id: str
    room_server_url: str
    room_id: str
    peer_id: str
    requested: tuple[dict[str, Any], ...]


async def forward(
    conn: Connection, capture_id: str, streams: Sequence[Stream], retry_at: datetime | None = None
) -> str | None:
    """The sender knows where to send, and a room server is asked again at `retry_at` for what it does not send yet.

    Gives the node's id, or None where the capture is not wanted any more.
    """
    return await _sql.forward_capture(conn, id=capture_id, streams=stream_rows(streams), retry_at=retry_at)


async def renew_streams(
    conn: Connection, asked: Capture, *, streams: Sequence[Stream], former: Sequence[Stream], retry_at: datetime | None
) -> str | None:
    """The sender of the capture `asked` was asked again; the node's id.

    None where the capture is not wanted any more, or there was a reason meanwhile to ask once more.
    """
    return await _sql.renew_streams(
        conn,
        id=asked.id,
        asked_for=asked.streams_retry_at,
        streams=stream_rows(streams),
        former=stream_rows(former),
        retry_at=retry_at,
    )


async def ask_again(conn: Connection, capture_id: str, now: datetime) -> None:
    """A stream stalled: its room server is to be asked what it sends."""
    await _sql.ask_again(conn, id=capture_id, now=now)


async def ask_again_for_peer(conn: Connection, room_server_id: str, room_id: str, peer_id: str, now: datetime) -> None:
    """What a peer publishes has changed: its room server is to be asked what it sends."""
    await _sql.ask_again_for_peer(conn, room_server_id=room_server_id, room_id=room_id, peer_id=peer_id, now=now)


async def fail_forwarding(conn: Connection, capture: Capture, error: str, retry_at: datetime) -> bool:
    """The room server could not be told; False where another replica has told it meanwhile."""
    failed = _sql.fail_forwarding(conn, id=capture.id, forwarding=capture.forwarding, error=error, retry_at=retry_at)
    return await failed is not None


async def end_forwarding(conn: Connection, capture_id: str, error: str | None) -> None:
    """The room server does not send any more."""
    await _sql.end_forwarding(conn, id=capture_id, error=error)


async def to_forward(
    conn: Connection, linked: list[str], leading: bool, now: datetime, busy: Collection[str]
) -> list[Forwarding]:
    """Some captures whose room server this replica should tell where to send, or ask again; without the `busy`."""
    rows = _sql.captures_to_forward(conn, linked=linked, leading=leading, now=now, busy=list(busy), most=AT_ONCE)
    return [
        Forwarding(
            capture_of(row),
            row["room_server_id"],
            row["room_server_url"],
            row["room_id"],
            row["peer_id"],
            tuple(row["rtp_streams"]),
        )
        async for row in rows
    ]


async def to_unforward(
    conn: Connection, linked: list[str], leading: bool, now: datetime, *, lost_before: datetime, busy: Collection[str]
) -> list[Forwarding]:
    """Some captures that are over, whose room server this replica should tell to stop; without the `busy`.

    One that was lost is sent to until its successor receives; where it gets none, and another role receives, until
    `lost_before`.
    """
    rows = _sql.captures_to_unforward(
        conn, linked=linked, leading=leading, now=now, lost_before=lost_before, busy=list(busy), most=AT_ONCE
    )
    return [_without_streams(row) async for row in rows]


def _without_streams(row: asyncpg.Record) -> Forwarding:
    """For what is said of a capture as a whole."""
    return Forwarding(capture_of(row), row["room_server_id"], row["room_server_url"], "", "", ())


async def without_key_frame(
    conn: Connection, linked: list[str], leading: bool, asked_before: datetime
) -> list[Forwarding]:
    """A capture of each job that needs a key frame, of whose room server this replica should ask it.

    None was asked for since `asked_before`.
    """
    rows = _sql.captures_without_key_frame(conn, linked=linked, leading=leading, asked_before=asked_before)
    return [_without_streams(row) async for row in rows]


async def key_frame_asked(conn: Connection, capture_id: str, now: datetime) -> None:
    """The room server was asked for a key frame, whatever came of it."""
    await _sql.key_frame_asked(conn, id=capture_id, now=now)


async def settle_doubt(conn: Connection, capture_id: str, forwarding: Literal["configured", "changed"]) -> bool:
    """The room server has answered again; False where the capture was not in doubt any more."""
    return await _sql.settle_doubt(conn, id=capture_id, forwarding=forwarding) is not None


async def jobs_of(conn: Connection, room_server_id: str) -> list[str]:
    """Ids of the jobs for which a room server sends, or is to be told to."""
    return [row["job_id"] async for row in _sql.jobs_forwarded_by(conn, room_server_id=room_server_id)]


async def jobs_to_tell_lost(conn: Connection, room_server_id: str) -> list[str]:
    """Ids of the recordings that do not know yet that their room server is lost."""
    return [row["job_id"] async for row in _sql.jobs_to_tell_lost(conn, room_server_id=room_server_id)]


async def doubt(conn: Connection, job_id: str, now: datetime) -> bool:
    """The room server may have forgotten what it sends for this job; False where it was not known to send."""
    return bool([row["id"] async for row in _sql.doubt_forwardings(conn, job_id=job_id, now=now)])


async def hurry(conn: Connection, job_id: str) -> None:
    """Tell the room server at once what it could not be told of this job."""
    await _sql.hurry_forwardings(conn, job_id=job_id)
