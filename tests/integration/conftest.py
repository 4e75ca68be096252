"""Integration tests may use PostgreSQL, children and sockets; each leaves an empty database and nothing else behind."""

import asyncio
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest
from tests.integration.finalizer import Finalizer
from tests.leftovers import nothing_left
from tests.postgres import database, empty_tables, no_connection_left

from edumeet_recording.store.db import Pool, open_pool
from edumeet_recording.store.migrate import upgrade


@pytest.fixture(autouse=True)
async def _nothing_left() -> AsyncIterator[None]:
    async with nothing_left():
        yield


@pytest.fixture(scope="session")
def migrated_database(postgres_dsn: str, worker_name: str) -> Iterator[str]:
    """DSN of this worker's database at the newest revision."""
    with asyncio.Runner() as runner:
        made = database(postgres_dsn, worker_name)
        dsn = runner.run(made.__aenter__())
        runner.run(upgrade(dsn))
        yield dsn
        runner.run(made.__aexit__(None, None, None))


@pytest.fixture
async def dsn(migrated_database: str) -> AsyncIterator[str]:
    """DSN of a database with the schema and no rows."""
    yield migrated_database
    await no_connection_left(migrated_database)
    await empty_tables(migrated_database)


@pytest.fixture
async def db_pool(dsn: str) -> AsyncIterator[Pool]:
    """A pool on a database with the schema and no rows."""
    async with open_pool(dsn, 5) as pool:
        yield pool


@pytest.fixture
def finalizer(tmp_path: Path) -> Finalizer:
    """Makes files in this process."""
    return Finalizer(tmp_path)
