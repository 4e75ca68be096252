"""The pool on a real server: JSON, clock, queries, and what "the database is away" looks like to callers."""

import asyncio
import json
import os
import signal
from datetime import UTC
from pathlib import Path

import asyncpg
import pytest
from tests.postgres import database, no_connection_left
from tests.waiting import eventually

from edumeet_recording.domain.errors import Unavailable
from edumeet_recording.store import db
from edumeet_recording.store.db import Pool, db_now, load_queries, mapped_errors, open_pool
from edumeet_recording.store.embedded import embedded_postgres


@pytest.mark.parametrize("value", [{"a": [1, 2.5, None, True, "ü\n"]}, [], "text", 7, None])
async def test_json_goes_in_and_out_as_python_objects(db_pool: Pool, value: object) -> None:
    text, back = await db_pool.fetchrow("SELECT $1::jsonb::text, $1::jsonb", value)
    assert back == value
    assert text is None if value is None else json.loads(text) == value


async def test_a_number_json_does_not_know_is_refused_before_it_is_sent(db_pool: Pool) -> None:
    with pytest.raises(asyncpg.DataError):
        await db_pool.fetchval("SELECT $1::jsonb", float("nan"))


async def test_the_clock_goes_on_within_a_transaction(db_pool: Pool) -> None:
    async with db_pool.acquire() as conn, conn.transaction():
        first, second = await db_now(conn), await db_now(conn)
    assert second > first
    assert first.tzinfo == UTC


@pytest.mark.parametrize("noun", [path.stem for path in Path(db.__file__).parent.glob("sql/*.sql")])
async def test_every_query_is_one_that_postgres_can_prepare(db_pool: Pool, noun: str) -> None:
    queries = load_queries(noun)
    async with db_pool.acquire() as conn:
        for name in queries.available_queries:
            if not name.endswith("_cursor"):
                await conn.prepare(getattr(queries, name).sql)


async def test_no_server_is_unavailable() -> None:
    with pytest.raises(Unavailable, match="not available"):
        async with open_pool("postgresql://nobody:x@127.0.0.1:1/none", 2):
            pass


async def test_a_database_or_password_that_is_not_there_is_unavailable(dsn: str) -> None:
    for wrong in (dsn + "_gone", dsn.replace("@", "x@")):
        with pytest.raises(Unavailable, match="not available"):
            async with open_pool(wrong, 2):
                pass


async def test_a_refusal_by_the_database_passes_as_it_is(db_pool: Pool) -> None:
    with pytest.raises(asyncpg.CheckViolationError):
        async with mapped_errors():
            await db_pool.execute("INSERT INTO tenants (id, max_active_recordings) VALUES ('t', -1)")
    with pytest.raises(asyncpg.InterfaceError):
        async with mapped_errors():
            await db_pool.execute("SELECT $1::int", 1, 2)


async def test_a_server_that_goes_is_unavailable_and_comes_back_to_the_same_pool(tmp_path: Path) -> None:
    async with embedded_postgres(tmp_path) as server, open_pool(server, 3) as pool:

        async def answers() -> bool:
            try:
                async with mapped_errors():
                    return await pool.fetchval("SELECT 1") == 1
            except Unavailable:
                return False

        with pytest.raises(Unavailable):
            async with mapped_errors(), pool.acquire() as conn:
                await conn.execute("SELECT pg_terminate_backend(pg_backend_pid())")
        assert await answers()
        async with pool.acquire() as conn:
            os.kill(int((tmp_path / "postgres/data/postmaster.pid").read_text().split()[0]), signal.SIGKILL)
            with pytest.raises(Unavailable):
                async with mapped_errors():
                    await conn.execute("SELECT pg_sleep(10)")
        await eventually(answers, timeout=10)


async def test_who_hangs_in_a_transaction_holds_up_nobody_for_long(dsn: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(db, "IDLE_IN_TRANSACTION_S", 0.5)
    async with open_pool(dsn, 2) as pool, pool.acquire() as hangs:
        await hangs.execute("BEGIN; SELECT pg_advisory_xact_lock(1)")
        async with asyncio.timeout(10), pool.acquire() as other:
            await other.execute("SELECT pg_advisory_lock(1)")
            await other.execute("SELECT pg_advisory_unlock(1)")
        with pytest.raises(Unavailable, match="not available"):
            async with mapped_errors():
                await hangs.execute("SELECT 1")


async def test_leaving_the_block_does_not_wait_for_a_connection_in_use(
    postgres_dsn: str, worker_name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("edumeet_recording.store.db.CLOSE_TIMEOUT_S", 0.2)
    async with database(postgres_dsn, f"{worker_name}_close") as dsn, asyncio.timeout(5):
        async with open_pool(dsn, 2) as pool:
            await pool.acquire()
        await no_connection_left(dsn)
