"""Migrations, forward only: a revision is a .sql file and a few lines for Alembic; schema.sql is what they add up to.

`python -m edumeet_recording.store.migrate` writes schema.sql anew.
"""

import asyncio
import re
import tempfile
from pathlib import Path
from typing import cast

import asyncpg
from alembic import command, op
from alembic.config import Config
from alembic.script import ScriptDirectory
from sqlalchemy import AdaptedConnection, Connection, text
from sqlalchemy.ext.asyncio import create_async_engine
from sqlalchemy.pool import NullPool

from edumeet_recording.domain.errors import Unavailable
from edumeet_recording.store.db import CONNECT_TIMEOUT_S, mapped_errors
from edumeet_recording.store.embedded import embedded_postgres, program

LOCK_KEY = 0x65647532
"""Any number that no other advisory lock of this database uses."""
ATTEMPTS = 20

SCHEMA = Path(__file__).with_name("schema.sql")
_SESSION_NOISE = re.compile(r"^(--.*|SET .*|SELECT pg_catalog\.set_config.*|\\(un)?restrict .*)\n", re.MULTILINE)


async def upgrade(dsn: str, revision: str = "head") -> None:
    """Bring the database to `revision`, in one transaction; several replicas may do so at once, while others work.

    Raises `Unavailable` where the database is away, or is written to so much that no moment was found.
    """
    for _ in range(ATTEMPTS):
        try:
            return await _upgrade_once(dsn, revision)
        except asyncpg.DeadlockDetectedError:
            # replicas of the last release go on writing, and take their rows in another order than we our tables
            continue
    raise Unavailable("the database is too busy to be brought up to date; try again")


async def _upgrade_once(dsn: str, revision: str) -> None:
    async def connect() -> asyncpg.Connection:
        return await asyncpg.connect(dsn, timeout=CONNECT_TIMEOUT_S)

    engine = create_async_engine("postgresql+asyncpg://", async_creator=connect, poolclass=NullPool)
    async with mapped_errors(), engine.begin() as connection:
        # before Alembic looks: a second replica waits here for the commit, then finds nothing left to do
        await connection.execute(text("SELECT pg_advisory_xact_lock(:key)"), {"key": LOCK_KEY})
        await connection.run_sync(_upgrade, revision)


async def current(dsn: str) -> str | None:
    """The revision the database is at; None where it is empty. Raises `Unavailable`."""
    async with mapped_errors():
        connection = await asyncpg.connect(dsn, timeout=CONNECT_TIMEOUT_S)
        try:
            if await connection.fetchval("SELECT to_regclass('alembic_version')") is None:
                return None
            return await connection.fetchval("SELECT version_num FROM alembic_version")
        finally:
            await connection.close()


def head() -> str | None:
    """The newest revision this release knows."""
    return ScriptDirectory.from_config(_config()).get_current_head()


def revisions() -> list[str]:
    """All revisions, oldest first."""
    found = ScriptDirectory.from_config(_config()).walk_revisions()
    return [script.revision for script in found][::-1]


def run_sql_of(revision_file: str) -> None:
    """Run the .sql file beside a revision, which may hold many statements; for use in its `upgrade`."""
    sql = Path(revision_file).with_suffix(".sql").read_text()

    async def run(driver: asyncpg.Connection) -> None:
        await driver.execute(sql)

    # the driver itself: SQLAlchemy prepares, and PostgreSQL prepares single statements only
    cast("AdaptedConnection", op.get_bind().connection.dbapi_connection).run_async(run)


async def dump_schema(dsn: str) -> str:
    """The schema of a database as SQL, without what differs from run to run. Raises `Unavailable`."""
    process = await asyncio.create_subprocess_exec(
        program("pg_dump"),
        "--schema-only",
        "--no-owner",
        "--no-privileges",
        f"--dbname={dsn}",
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
        env={},
    )
    output, complaint = await process.communicate()
    if process.returncode != 0:
        raise Unavailable(f"pg_dump: {complaint.decode().strip()}")
    return re.sub(r"\n{3,}", "\n\n", _SESSION_NOISE.sub("", output.decode())).strip() + "\n"


def _config() -> Config:
    config = Config()
    config.set_main_option("script_location", str(Path(__file__).with_name("migrations")))
    return config


def _upgrade(connection: Connection, revision: str) -> None:
    config = _config()
    config.attributes["connection"] = connection
    command.upgrade(config, revision)


async def _write_schema() -> None:
    with tempfile.TemporaryDirectory() as folder:
        async with embedded_postgres(Path(folder)) as dsn:
            await upgrade(dsn)
            SCHEMA.write_text(await dump_schema(dsn))


if __name__ == "__main__":
    asyncio.run(_write_schema())
