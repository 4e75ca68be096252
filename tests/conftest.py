"""What all tests share: a PostgreSQL, TEST_DATABASE_URL or an embedded one that the first to ask starts; patience."""

import os
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import settings
from tests.postgres import server

# how long an example takes says more about the machine than about us
settings.register_profile("any time", deadline=None)
settings.load_profile("any time")

SYSTEM = Path(__file__).with_name("system")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """The longest files first; the many short ones of tests/unit, last, fill what those leave of the workers' time."""
    items.sort(key=lambda item: not item.path.is_relative_to(SYSTEM))


@pytest.fixture(scope="session")
def postgres_dsn(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """DSN of a server on which we may make databases."""
    given = os.environ.get("TEST_DATABASE_URL")
    if given:
        yield given
    else:
        with server(tmp_path_factory.mktemp("server")) as dsn:
            yield dsn


@pytest.fixture(scope="session")
def worker_name() -> str:
    """Part of the names of this worker's databases; sessions and workers may share a server."""
    return f"edumeet_test_{os.getpid()}"
