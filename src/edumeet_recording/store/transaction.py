"""One command, one transaction: the clock is read once, hints leave after the commit, stale reads are tried again."""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from typing import TypeVar

import asyncpg

from edumeet_recording.domain.errors import Unavailable
from edumeet_recording.store.db import Connection, Pool, db_now, mapped_errors
from edumeet_recording.store.notify import Notifier

T = TypeVar("T")
ATTEMPTS = 8


class Channel(StrEnum):
    """What a hint is about; a hint only wakes a loop early, it carries no truth."""

    NODE = "node"
    """Payload: the node whose desired state changed."""
    FORWARDING = "forwarding"
    DISPATCH = "dispatch"
    EVENTS = "events"
    HEALTH = "health"


class Stale(Exception):
    """Somebody changed the row after it was read: the transaction is rolled back and tried again."""


_TRY_AGAIN = (Stale, asyncpg.SerializationError, asyncpg.DeadlockDetectedError, asyncpg.UniqueViolationError)
"""A unique index that refuses (a second live capture, say) means that somebody else was first: look again."""


@dataclass(slots=True)
class Tx:
    """An open transaction. `now` is the database's clock, read once."""

    conn: Connection
    now: datetime
    hints: set[tuple[Channel, str]] = field(default_factory=set[tuple[Channel, str]])

    def hint(self, channel: Channel, payload: str = "") -> None:
        """Wake whoever listens, once this is committed."""
        self.hints.add((channel, payload))


@dataclass(frozen=True, slots=True)
class Transactor:
    """Runs transactions on a pool."""

    pool: Pool
    notifier: Notifier

    async def run(self, work: Callable[[Tx], Awaitable[T]]) -> T:
        """Run `work` in a transaction, again when somebody else was first."""
        for _ in range(ATTEMPTS):
            try:
                async with mapped_errors(), self.pool.acquire() as conn, conn.transaction():
                    tx = Tx(conn, await db_now(conn))
                    result = await work(tx)
            except _TRY_AGAIN:
                continue
            for channel, payload in tx.hints:
                self.notifier.hint(channel, payload)
            return result
        raise Unavailable("too many others change the same row at once; try again")
