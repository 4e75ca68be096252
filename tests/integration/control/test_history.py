"""The history of the fleet's numbers: thinned with age, and told in steps."""

from datetime import UTC, datetime, timedelta

import pytest
from tests.integration.control.conftest import SETTINGS, Service

from edumeet_recording.control.retention import history_tick
from edumeet_recording.store import metrics

NOON = datetime(2026, 11, 20, 12, tzinfo=UTC)


async def write(service: Service, at: datetime, load: int, **regions: int) -> None:
    numbers = {region: {"current_load": each, "odd": "word"} for region, each in regions.items()}
    await service.pool.execute(
        "INSERT INTO system_metrics VALUES (DEFAULT, $1, 1, 1, 1, 1, 1, 1, $2, 0, $3)", at, load, numbers
    )


async def loads(service: Service) -> list[int]:
    return [row[0] for row in await service.pool.fetch("SELECT current_load FROM system_metrics ORDER BY timestamp")]


async def test_the_busiest_row_of_each_step_is_kept(service: Service) -> None:
    now = await service.pool.fetchval("SELECT date_bin('1 h', now(), 'epoch')")
    hours_old, days_old, months_old, years_old = (now - timedelta(days=days) for days in (0.5, 10, 100, 1000))
    for minute, load in enumerate((1, 3, 2)):
        for number, begin in enumerate((hours_old, days_old, months_old, years_old)):
            await write(service, begin + timedelta(minutes=minute), 10 * number + load)
            await write(service, begin + timedelta(minutes=10 + minute), 100 + 10 * number + load)
    for _ in range(2):
        await history_tick(service.commands.db, SETTINGS)
        assert await loads(service) == [123, 13, 113, 1, 3, 2, 101, 103, 102]


async def test_old_events_requests_and_alerts_go_open_ones_stay(service: Service) -> None:
    old = await service.pool.fetchval("SELECT now() - interval '1000 days'")
    await service.pool.execute(
        "INSERT INTO scaling_events (at, region, action, reason) VALUES ($1, 'eu', 'start', 'trend')", old
    )
    await service.pool.execute(
        "INSERT INTO fleet_requests (node_id, region, provider, state, reason, asked_at, ended_at) "
        "VALUES ('closed', 'eu', 'x', 'lost', 'y', $1, $1), ('open', 'eu', 'x', 'seen', 'y', $1, NULL)",
        old,
    )
    await service.pool.execute(
        "INSERT INTO alerts (rule, subject, region, severity, detail, opened_at, seen_at, next_attempt_at, "
        "recovered_at) VALUES ('a', 'over', 'eu', 'warning', '', $1, $1, $1, $1), "
        "('a', 'open', 'eu', 'warning', '', $1, $1, $1, NULL)",
        old,
    )
    await service.pool.execute(
        "INSERT INTO node_events (node_id, type, at) VALUES ('node-1', 'dead', $1), ('node-1', 'returned', now())", old
    )
    await history_tick(service.commands.db, SETTINGS)
    assert await service.pool.fetchval("SELECT count(*) FROM scaling_events") == 0
    assert await service.pool.fetchval("SELECT string_agg(type, '') FROM node_events") == "returned"
    assert await service.pool.fetchval("SELECT string_agg(node_id, '') FROM fleet_requests") == "open"
    assert await service.pool.fetchval("SELECT string_agg(subject, '') FROM alerts") == "open"


@pytest.mark.parametrize(("aggregate", "total", "eu"), [("avg", 4, 3), ("min", 2, 1), ("max", 7, 6), ("last", 2, 1)])
async def test_each_number_is_aggregated_by_region(service: Service, aggregate: str, total: int, eu: int) -> None:
    for seconds, load in ((0, 2), (10, 7), (20, 2), (60, 9)):
        await write(service, NOON + timedelta(seconds=seconds), load, eu=load - 1, us=1)
    step = timedelta(minutes=1)
    async with service.pool.acquire() as conn:
        rows = await metrics.in_steps(conn, NOON, NOON + 2 * step, step, aggregate)
    assert [at for at, _, _ in rows] == [NOON, NOON + step]
    _, totals, regions = rows[0]
    assert (totals["current_load"], totals["total_capacity"]) == (total, 1)
    assert regions == {"eu": {"current_load": eu}, "us": {"current_load": 1}}
    assert rows[1][1]["current_load"] == 9
