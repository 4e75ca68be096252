"""Decisions and alerts in the order in which watchers are told of them."""

import asyncio
from datetime import UTC, datetime

from tests.waiting import eventually

from edumeet_recording.store import scaling, views
from edumeet_recording.store.db import Connection, Pool

NOON = datetime(2026, 11, 22, 12, tzinfo=UTC)
WAITING = (
    "SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND NOT granted "
    "AND database = (SELECT oid FROM pg_database WHERE datname = current_database())"
)


async def note(conn: Connection, action: str) -> None:
    await scaling.note(conn, region="eu", action=action, reason="demand", data={}, now=NOON)


async def test_a_watcher_that_has_seen_an_event_has_seen_all_before_it(db_pool: Pool) -> None:
    """The loops of autoscaling and of alerts write at the same time."""
    async with (
        db_pool.acquire() as one,
        db_pool.acquire() as other,
        db_pool.acquire() as watcher,
        asyncio.TaskGroup() as tasks,
        one.transaction(),
    ):
        await note(one, "start")
        later = tasks.create_task(note(other, "alert"))
        await eventually(lambda: watcher.fetchval(WAITING), 3)
        assert not later.done()
        assert await views.scaling_events_after(watcher, 0, most=10) == []
    async with db_pool.acquire() as watcher:
        assert [each.action for each in await views.scaling_events_after(watcher, 0, most=10)] == ["start", "alert"]
