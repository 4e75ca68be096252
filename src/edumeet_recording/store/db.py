"""Connections to PostgreSQL: the pool, JSON as Python objects, mapped errors, the database's clock, named queries."""

import asyncio
import json
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager, suppress
from datetime import datetime
from pathlib import Path
from typing import Any, TypeAlias, cast

import aiosql
import asyncpg
from aiosql.adapters.asyncpg import AsyncPGAdapter
from asyncpg.pool import PoolConnectionProxy

from edumeet_recording.domain.errors import Unavailable

Connection: TypeAlias = asyncpg.Connection | PoolConnectionProxy
Pool: TypeAlias = asyncpg.Pool

CONNECT_TIMEOUT_S = 5
COMMAND_TIMEOUT_S = 15
CLOSE_TIMEOUT_S = 5
IDLE_IN_TRANSACTION_S = 10.0
"""PostgreSQL ends the transaction of who hangs, or is cut off, in the middle of it: others wait for its rows."""

_AWAY = (
    OSError,
    asyncpg.PostgresConnectionError,
    asyncpg.InternalClientError,  # a connection cut between an error and its end (MagicStack/asyncpg#1069)
    asyncpg.OperatorInterventionError,  # shutting down, starting up, query cancelled by an operator
    asyncpg.InsufficientResourcesError,  # connections, memory, disk
    asyncpg.PostgresSystemError,
    asyncpg.ReadOnlySQLTransactionError,  # a standby, until the fail-over is through
    asyncpg.InvalidAuthorizationSpecificationError,
    asyncpg.InvalidCatalogNameError,
)


@asynccontextmanager
async def mapped_errors() -> AsyncGenerator[None]:
    """Raises `Unavailable` where the database is away; what it refuses for a reason of its own passes as it is."""
    try:
        yield
    except _AWAY as error:
        raise Unavailable(f"the database is not available: {error or type(error).__name__}") from error
    except asyncpg.InterfaceError as error:
        # asyncpg has one class for wrong use, for "the connection is closed", and for one that went while it was idle
        if not any(word in str(error) for word in ("clos", "released back to the pool")):
            raise
        raise Unavailable(f"the database is not available: {error}") from error


@asynccontextmanager
async def open_pool(dsn: str, size: int) -> AsyncGenerator[Pool]:
    """At most `size` connections, closed when the block is left. Raises `Unavailable` where there is no database."""
    async with mapped_errors():
        pool = await asyncpg.create_pool(
            dsn,
            min_size=1,
            max_size=size,
            init=_begin_session,
            reset=_keep_session,
            timeout=CONNECT_TIMEOUT_S,
            command_timeout=COMMAND_TIMEOUT_S,
            server_settings={"application_name": "edumeet-recording"},
        )
    try:
        yield pool
    finally:
        with suppress(OSError):
            # interrupted, it drops the connections that are still in use
            async with asyncio.timeout(CLOSE_TIMEOUT_S):
                await pool.close()


def milliseconds(seconds: float) -> str:
    """A time as PostgreSQL's settings take it."""
    return str(round(1000 * seconds))


async def _begin_session(connection: asyncpg.Connection) -> None:
    # not when connecting: PgBouncer refuses who names a parameter then that it does not know
    # our queries take milliseconds: to compile them, or to start processes for them, takes more than it could save
    await connection.execute(
        f"SET idle_in_transaction_session_timeout = {milliseconds(IDLE_IN_TRANSACTION_S)};"
        "SET jit = off; SET max_parallel_workers_per_gather = 0"
    )
    for name in ("json", "jsonb"):
        await connection.set_type_codec(name, schema="pg_catalog", encoder=_encode_json, decoder=json.loads)


async def _keep_session(_connection: object) -> None:
    """Nothing we do changes a session: a reset would cost every transaction a round trip."""


def _encode_json(value: object) -> str:
    return json.dumps(value, allow_nan=False, separators=(",", ":"))


async def db_now(conn: Connection) -> datetime:
    """The database's clock, to be read once a tick or transaction and passed on."""
    return cast("datetime", await conn.fetchval("SELECT clock_timestamp()"))


def load_queries(noun: str) -> Any:
    """The named queries of sql/`noun`.sql, each a method that takes a connection and its parameters by name.

    `name` is an asynchronous iterator of rows, `name^` gives a row or None, `name$` a value, `name!` runs a statement.
    """
    path = Path(__file__).with_name("sql") / f"{noun}.sql"
    return aiosql.from_path(path, cast("Any", _OnAConnection), mandatory_parameters=False)


class _OnAConnection(AsyncPGAdapter):
    """aiosql's own, without its question at each query whether it was given a connection or a pool: asking takes longer
    than sending the query.
    """

    async def select(
        self,
        conn: Connection,
        query_name: str,
        sql: str,
        parameters: Any,
        record_class: None = None,  # noqa: ARG002 - aiosql passes it
    ) -> AsyncGenerator[Any]:
        """Rows."""
        for row in await conn.fetch(sql, *self.maybe_order_params(query_name, parameters)):
            yield row

    async def select_one(
        self,
        conn: Connection,
        query_name: str,
        sql: str,
        parameters: Any,
        record_class: None = None,  # noqa: ARG002 - aiosql passes it
    ) -> Any:
        """A row, or None."""
        return await conn.fetchrow(sql, *self.maybe_order_params(query_name, parameters))

    async def select_value(self, conn: Connection, query_name: str, sql: str, parameters: Any) -> Any:
        """The first value of the first row, or None."""
        return await conn.fetchval(sql, *self.maybe_order_params(query_name, parameters))

    async def insert_update_delete(self, conn: Connection, query_name: str, sql: str, parameters: Any) -> Any:
        """What PostgreSQL says of it."""
        return await conn.execute(sql, *self.maybe_order_params(query_name, parameters))
