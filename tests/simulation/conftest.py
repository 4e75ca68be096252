"""Simulations: any order of events on the real core and commands; time and network are simulated, PostgreSQL is not."""

import asyncio
from collections.abc import Iterator

import pytest
import structlog
from tests.postgres import database

from edumeet_recording.store.migrate import upgrade


@pytest.fixture(scope="session")
def simulated_dsn(postgres_dsn: str, worker_name: str) -> Iterator[str]:
    """DSN of a database with the schema, which need not survive a power failure."""
    with asyncio.Runner() as runner:
        made = database(postgres_dsn, f"{worker_name}_simulation")
        dsn = runner.run(made.__aenter__())
        runner.run(upgrade(dsn))
        yield f"{dsn}?synchronous_commit=off"
        runner.run(made.__aexit__(None, None, None))


@pytest.fixture(autouse=True)
def _no_logs() -> Iterator[None]:
    """Thousands of lines about what never was would hide the one example that fails."""
    with structlog.testing.capture_logs():
        yield
