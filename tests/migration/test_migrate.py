"""Migrations from empty, one revision at a time, by several replicas at once; and the checked-in schema is theirs."""

import asyncio
import sys

import asyncpg
import pytest

from edumeet_recording.domain.capture import CaptureRole, CaptureState
from edumeet_recording.domain.errors import Unavailable
from edumeet_recording.domain.job import JobStatus
from edumeet_recording.domain.scaling import RequestState
from edumeet_recording.store.migrate import SCHEMA, current, dump_schema, head, revisions, upgrade


async def _server_version(dsn: str) -> int:
    connection = await asyncpg.connect(dsn)
    try:
        return connection.get_server_version().major
    finally:
        await connection.close()


async def test_from_empty_to_head(empty_dsn: str) -> None:
    assert await current(empty_dsn) is None
    await upgrade(empty_dsn)
    assert await current(empty_dsn) == head()


async def test_one_revision_at_a_time(empty_dsn: str) -> None:
    for revision in revisions():
        await upgrade(empty_dsn, revision)
        assert await current(empty_dsn) == revision
    assert revisions()[-1] == head()


async def test_replicas_may_start_at_once(empty_dsn: str) -> None:
    program = (
        f"import asyncio; from edumeet_recording.store.migrate import upgrade; asyncio.run(upgrade({empty_dsn!r}))"
    )

    async def replica() -> None:
        process = await asyncio.create_subprocess_exec(sys.executable, "-c", program)
        try:
            assert await process.wait() == 0
        finally:
            if process.returncode is None:
                process.kill()
                await process.wait()

    async with asyncio.timeout(90), asyncio.TaskGroup() as tasks:
        for _ in range(2):
            tasks.create_task(replica())
            tasks.create_task(upgrade(empty_dsn))
    assert await current(empty_dsn) == head()


async def test_again_changes_nothing(empty_dsn: str) -> None:
    await upgrade(empty_dsn)
    before = await dump_schema(empty_dsn)
    await upgrade(empty_dsn)
    assert await dump_schema(empty_dsn) == before


async def test_checked_in_schema_is_fresh(empty_dsn: str) -> None:
    if await _server_version(empty_dsn) != 18:
        pytest.skip("schema.sql is what PostgreSQL 18 says; this server is another")
    await upgrade(empty_dsn)
    assert await dump_schema(empty_dsn) == SCHEMA.read_text(), "run python -m edumeet_recording.store.migrate"


async def test_a_failed_migration_changes_nothing(empty_dsn: str) -> None:
    connection = await asyncpg.connect(empty_dsn)
    try:
        # the last statements of the first revision clash with this
        await connection.execute("CREATE TABLE recording_jobs_page (id INTEGER)")
        with pytest.raises(asyncpg.DuplicateTableError):
            await upgrade(empty_dsn)
        assert await current(empty_dsn) is None
        assert await connection.fetchval("SELECT to_regclass('recording_jobs')") is None
    finally:
        await connection.close()


@pytest.mark.parametrize(
    ("enum", "words"),
    [
        ("job_status", JobStatus),
        ("capture_state", CaptureState),
        ("capture_role", CaptureRole),
        ("fleet_request_state", RequestState),
    ],
)
async def test_enums_are_those_of_the_domain(empty_dsn: str, enum: str, words: type) -> None:
    await upgrade(empty_dsn)
    connection = await asyncpg.connect(empty_dsn)
    try:
        labels = await connection.fetchval(f"SELECT enum_range(NULL::{enum})::text[]")
    finally:
        await connection.close()
    assert labels == list(words)


async def test_no_database_is_unavailable() -> None:
    for call in (upgrade, current):
        with pytest.raises(Unavailable, match="not available"):
            await call("postgresql://nobody@127.0.0.1:1/none")
