"""One command, one transaction: the clock is read once, hints leave after the commit, stale reads are tried again."""

import math
import time
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from enum import StrEnum
from hashlib import blake2b
from typing import TypeVar

import asyncpg

from edumeet_recording.domain.errors import Unavailable
from edumeet_recording.store.db import Connection, Pool, db_now, mapped_errors
from edumeet_recording.store.notify import Notifier

T = TypeVar("T")
ATTEMPTS = 8
CLOCK_KEPT_S = 1.0
BEFORE_ANY = datetime.fromtimestamp(0, UTC)


class Channel(StrEnum):
    """What a hint is about; a hint only wakes a loop early, it carries no truth."""

    NODE = "node"
    """Payload: the node whose desired state changed."""
    FLEET = "fleet"
    """Payload: the FFmpeg node that came, left, or takes captures again or no more."""
    FORWARDING = "forwarding"
    DISPATCH = "dispatch"
    EVENTS = "events"
    HEALTH = "health"
    SCALING = "scaling"


class Stale(Exception):
    """Somebody changed the row after it was read: the transaction is rolled back and tried again."""


_TRY_AGAIN = (
    Stale,
    asyncpg.SerializationError,
    asyncpg.DeadlockDetectedError,
    asyncpg.UniqueViolationError,  # somebody else was first (with a second live capture, say): look again
    asyncpg.InvalidCachedStatementError,  # the next release has just changed the schema
)


@dataclass(slots=True)
class Tx:
    """An open transaction. `now` is the database's clock, read once."""

    conn: Connection
    now: datetime
    hints: set[tuple[Channel, str]] = field(default_factory=set[tuple[Channel, str]])

    def hint(self, channel: Channel, payload: str = "") -> None:
        """Wake whoever listens, once this is committed."""
        self.hints.add((channel, payload))


def lock_key(alone: str) -> int:
    """The advisory lock that stands for some words."""
    return int.from_bytes(blake2b(alone.encode(), digest_size=8).digest(), signed=True)


@asynccontextmanager
async def _transaction(conn: Connection, alone: str | None) -> AsyncGenerator[None]:
    """A transaction; its lock is taken in the round trip that begins it."""
    if alone is None:
        async with conn.transaction():
            yield
        return
    try:
        await conn.execute(f"BEGIN; SELECT pg_advisory_xact_lock({lock_key(alone)})")
        yield
    except BaseException:
        await _roll_back(conn)
        raise
    await conn.execute("COMMIT")


async def _roll_back(conn: Connection) -> None:
    """Or close the connection, so that nobody gets it with the transaction still open."""
    try:
        await conn.execute("ROLLBACK")
    except (OSError, asyncpg.PostgresError, asyncpg.InterfaceError):
        with suppress(asyncpg.InterfaceError):  # the pool has let go of it already
            conn.terminate()


@dataclass(slots=True)
class Transactor:
    """Runs transactions on a pool, with the database's clock: asked once a second, carried on by our own in between.

    `guard` begins each transaction, and may refuse it by raising.
    """

    pool: Pool
    notifier: Notifier
    guard: Callable[[Connection], Awaitable[None]] | None = None
    _asked_at: float = -math.inf
    _told: datetime = BEFORE_ANY

    async def read(self, work: Callable[[Tx], Awaitable[T]]) -> T:
        """Run `work`, which only reads, each statement for itself: no round trips to begin and end a transaction."""
        async with mapped_errors(), self.pool.acquire() as conn:
            return await work(Tx(conn, await self._now(conn)))

    async def run(self, work: Callable[[Tx], Awaitable[T]], *, alone: str | None = None) -> T:
        """Run `work` in a transaction, again when somebody else was first.

        `alone`: any words; transactions with the same ones wait for each other. Raises `Unavailable` where there is no
        database, or others were first each time.
        """
        for _ in range(ATTEMPTS):
            try:
                async with mapped_errors(), self.pool.acquire() as conn, _transaction(conn, alone):
                    if self.guard is not None:
                        await self.guard(conn)
                    tx = Tx(conn, await self._now(conn))
                    result = await work(tx)
            except _TRY_AGAIN:
                continue
            for channel, payload in tx.hints:
                self.notifier.hint(channel, payload)
            return result
        raise Unavailable("too many others change the same row at once; try again")

    async def _now(self, conn: Connection) -> datetime:
        since = time.monotonic() - self._asked_at
        if since > CLOCK_KEPT_S:
            self._told, self._asked_at, since = await db_now(conn), time.monotonic(), 0.0
        return self._told + timedelta(seconds=since)
