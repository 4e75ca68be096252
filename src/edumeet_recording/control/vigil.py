"""Since when the leader has looked without interruption: what nobody could hear in between is no evidence."""

import time
from collections.abc import AsyncGenerator, Awaitable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import datetime
from typing import TypeVar

from edumeet_recording.store.transaction import Transactor, Tx

SLOW_S = 1.0
"""A database that takes so long to answer kept nodes' reports waiting too."""
UNWATCHED_S = 3.0
"""Longer than the pause between two ticks: this process itself has hung, or did not lead."""

T = TypeVar("T")


async def _now(tx: Tx) -> datetime:
    return tx.now


@dataclass(slots=True)
class Vigil:
    """Of one loop. It begins anew where the database, this process, or its leadership was away."""

    db: Transactor
    since: datetime | None = None
    """By the database's clock; None until the next look."""
    _looked_at: float = field(default_factory=time.monotonic)

    @asynccontextmanager
    async def tick(self) -> AsyncGenerator[None]:
        """Around each tick: one that fails is an interruption."""
        try:
            yield
        except BaseException:
            self.since = None
            raise
        self._looked_at = time.monotonic()

    async def look(self) -> tuple[datetime, datetime]:
        """The time of the database, and since when it was looked at without interruption."""
        now = await self.asked(self.db.read(_now))
        looked_at = time.monotonic()
        if self.since is None or looked_at - self._looked_at > UNWATCHED_S:
            self.since = now
        self._looked_at = looked_at
        return now, self.since

    async def asked(self, question: Awaitable[T]) -> T:
        """The database's answer; one that took long is an interruption."""
        asked_at = time.monotonic()
        answer = await question
        if time.monotonic() - asked_at > SLOW_S:
            self.since = None
        return answer
