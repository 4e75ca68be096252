"""`system_metrics`, the history of the fleet's numbers."""

from datetime import datetime, timedelta
from typing import Any

from edumeet_recording.store.db import Connection, load_queries

_sql = load_queries("metrics")

COUNTS = (
    "total_room_servers",
    "healthy_room_servers",
    "total_ffmpeg_nodes",
    "healthy_ffmpeg_nodes",
    "active_recordings",
    "total_capacity",
    "current_load",
    "queue_length",
)
"""Columns of `system_metrics`; capacity and load are milli-cores."""

REGIONAL = (*COUNTS, "demand", "finalizing", "rooms", "peers")
"""What is kept of each region beside the totals; demand in milli-cores."""


async def regional_numbers(conn: Connection) -> dict[str, dict[str, int]]:
    """The present numbers of each region."""
    return {row["region"]: {name: int(row[name]) for name in REGIONAL} async for row in _sql.regional_numbers(conn)}


async def store(conn: Connection, regions: dict[str, dict[str, Any]], now: datetime) -> None:
    """Append a row: the sums over all regions, and each region's numbers."""
    totals = {name: sum(numbers[name] for numbers in regions.values()) for name in COUNTS}
    await _sql.store_metrics(conn, now=now, regional_metrics=regions, **totals)


async def thin(conn: Connection, since: datetime, until: datetime, step: timedelta) -> int:
    """Keep one row of the history in each `step`, the busiest; how many went."""
    return await _sql.thin_metrics(conn, since=since, until=until, step=step)


async def forget(conn: Connection, before: datetime) -> None:
    """Delete what of the history is older: numbers, events of scaling and nodes, closed requests, ended alerts."""
    await _sql.forget_history(conn, before=before)


async def in_steps(
    conn: Connection, since: datetime, until: datetime, step: timedelta, aggregate: str
) -> list[tuple[datetime, dict[str, int], dict[str, dict[str, int]]]]:
    """When each step with any rows begins, its totals, and its numbers by region; steps begin at `since`.

    `aggregate`: `avg`, `min`, `max` or `last`; results are rounded.
    """
    rows = _sql.history_in_steps(conn, since=since, until=until, step=step, aggregate=aggregate)
    return [(row["at"], row["numbers"].pop(""), row["numbers"]) async for row in rows]
