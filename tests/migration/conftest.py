"""Migration tests get an empty database each."""

from collections.abc import AsyncIterator

import pytest
from tests.postgres import database, no_connection_left


@pytest.fixture
async def empty_dsn(postgres_dsn: str, worker_name: str) -> AsyncIterator[str]:
    """DSN of an empty database."""
    async with database(postgres_dsn, f"{worker_name}_empty") as dsn:
        yield dsn
        await no_connection_left(dsn)
