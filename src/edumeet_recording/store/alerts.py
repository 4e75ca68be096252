"""Alerts: what they are made from, which are open, and who is still to be told."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from datetime import datetime

import asyncpg

from edumeet_recording.domain.alerting import FULL_PERCENT, Condition, MachineState, Missing, Rule, Severity, Waiting
from edumeet_recording.store.db import Connection, load_queries
from edumeet_recording.wire.scaling import AlertView

_sql = load_queries("alerts")


@dataclass(frozen=True, slots=True)
class Alert:
    """A condition that was noticed; over since `recovered_at`."""

    id: int
    rule: Rule
    subject: str
    region: str
    severity: Severity
    detail: str
    opened_at: datetime
    recovered_at: datetime | None


def _alert_of(row: asyncpg.Record) -> Alert:
    return Alert(
        id=row["id"],
        rule=Rule(row["rule"]),
        subject=row["subject"],
        region=row["region"],
        severity=Severity(row["severity"]),
        detail=row["detail"],
        opened_at=row["opened_at"],
        recovered_at=row["recovered_at"],
    )


async def waiting(conn: Connection) -> list[Waiting]:
    """Recordings that wait for capacity, by region."""
    return [Waiting(**dict(row)) async for row in _sql.waiting_by_region(conn)]


async def registered(conn: Connection) -> dict[str, int]:
    """How many FFmpeg nodes each region has."""
    return {row["region"]: row["count"] async for row in _sql.registered_by_region(conn)}


async def nodes(conn: Connection, now: datetime) -> list[MachineState]:
    """Registered FFmpeg nodes with anything that may be wrong."""
    rows = _sql.node_states(conn, now=now, full_percent=FULL_PERCENT)
    return [MachineState(**dict(row)) async for row in rows]


async def sick_room_servers(conn: Connection) -> list[MachineState]:
    """Room servers that are not healthy."""
    return [MachineState(**dict(row)) async for row in _sql.room_server_states(conn)]


async def missing(conn: Connection, since: datetime) -> list[Missing]:
    """Nodes that were given up since `since`, by region, where none has come after them."""
    return [Missing(**dict(row)) async for row in _sql.missing_by_region(conn, since=since)]


async def see(conn: Connection, found: Sequence[Condition], now: datetime) -> list[Alert]:
    """Keep that these conditions hold; the alerts that are new."""
    rows = _sql.see_conditions(conn, conditions=[asdict(each) for each in found], now=now)
    return [_alert_of(row) async for row in rows if row["is_new"]]


async def recover(conn: Connection, before: datetime, now: datetime) -> list[Alert]:
    """End the alerts whose condition was last seen before `before`."""
    return [_alert_of(row) async for row in _sql.recover_alerts(conn, before=before, now=now)]


async def to_tell(conn: Connection, now: datetime, most: int) -> list[Alert]:
    """At most `most` alerts that somebody is to be told of now, in their present state."""
    return [_alert_of(row) async for row in _sql.alerts_to_tell(conn, now=now, most=most)]


async def mark_told(conn: Connection, told: Sequence[Alert], now: datetime) -> None:
    """Everybody knows how these stand."""
    over = [each.recovered_at is not None for each in told]
    await _sql.mark_told(conn, ids=[each.id for each in told], over=over, now=now)


async def postpone(conn: Connection, ids: Sequence[int], now: datetime, *, first_s: float, most_s: float) -> None:
    """Somebody could not be told of these: again after `first_s` seconds, then twice as long, up to `most_s`."""
    await _sql.postpone_telling(conn, ids=list(ids), now=now, first_s=first_s, most_s=most_s)


async def page(conn: Connection, *, is_open: bool | None, before: int | None, most: int) -> list[AlertView]:
    """At most `most` alerts with an id below `before`, newest first; None: open and over."""
    rows = _sql.page_of_alerts(conn, is_open=is_open, before=before, most=most)
    return [AlertView(**dict(row)) async for row in rows]
