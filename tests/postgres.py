"""PostgreSQL for tests: an embedded server owned by a process of its own, and databases on it that come and go.

As a program, `python -m tests.postgres STATE_DIR` owns a server until its standard input closes, so that it ends with
whoever started it, however that ends.
"""

import asyncio
import subprocess
import sys
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path
from urllib.parse import urlsplit, urlunsplit

import asyncpg
from tests.waiting import eventually

from edumeet_recording.store.embedded import embedded_postgres


async def _own(state_dir: Path) -> None:
    async with embedded_postgres(state_dir) as dsn:
        sys.stdout.write(f"{dsn}\n")
        sys.stdout.flush()
        await asyncio.to_thread(sys.stdin.read)


@contextmanager
def server(state_dir: Path) -> Iterator[str]:
    """The DSN of an embedded server in `state_dir` that runs until the block is left."""
    command = [sys.executable, "-m", "tests.postgres", str(state_dir)]
    root = Path(__file__).parents[1]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, cwd=root) as owner:
        assert owner.stdout
        dsn = owner.stdout.readline().strip()
        assert dsn, "the embedded server did not start"
        yield dsn
        owner.communicate(timeout=100)


@asynccontextmanager
async def database(server_dsn: str, name: str, *, template: str = "template0") -> AsyncIterator[str]:
    """The DSN of a database `name`, copied from `template`; dropped when the block is left."""
    admin = await asyncpg.connect(server_dsn)
    try:
        await admin.execute(f'DROP DATABASE IF EXISTS "{name}" WITH (FORCE)')
        await admin.execute(f'CREATE DATABASE "{name}" TEMPLATE "{template}"')
        yield urlunsplit(urlsplit(server_dsn)._replace(path=f"/{name}"))
        await admin.execute(f'DROP DATABASE "{name}" WITH (FORCE)')
    finally:
        await admin.close()


async def no_connection_left(dsn: str) -> None:
    """Fails where somebody is still connected to the database of `dsn` after a moment of grace."""
    connection = await asyncpg.connect(dsn)

    async def alone() -> bool:
        left = await connection.fetch(
            "SELECT application_name, query FROM pg_stat_activity "
            "WHERE datname = current_database() AND pid <> pg_backend_pid() AND backend_type = 'client backend'"
        )
        assert not left, f"connections left open: {[tuple(row) for row in left]}"
        return True

    try:
        await eventually(alone, timeout=2)
    finally:
        await connection.close()


async def empty_tables(dsn: str) -> None:
    """Delete every row; in one statement, at whose end foreign keys are checked, so no order matters."""
    connection = await asyncpg.connect(dsn)
    try:
        deletes = await connection.fetchval(
            "SELECT string_agg(format('%I AS (DELETE FROM %I)', 'from_' || tablename, tablename), ', ') FROM pg_tables "
            "WHERE schemaname = 'public' AND tablename <> 'alembic_version'"
        )
        await connection.execute(f"WITH {deletes} SELECT")
    finally:
        await connection.close()


if __name__ == "__main__":
    asyncio.run(_own(Path(sys.argv[1])))
