"""This replica among the others: it says that it lives, and lets links go when another has joined."""

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Protocol

import structlog

from edumeet_recording.domain.errors import Unavailable
from edumeet_recording.domain.spreading import excess, share_of
from edumeet_recording.store import replicas
from edumeet_recording.store.nodes import NodeKind
from edumeet_recording.store.transaction import Channel, Transactor, Tx

log = structlog.get_logger()

DEAD_S = 10.0
"""A replica that was not seen for so long has died, and its links with it."""
JOINED_S = 4.0
"""A replica that has joined may be behind a balancer that has yet to see it."""
STEPS = 4
"""Links are let go in so many ticks, lest all nodes connect at once."""


class Links(Protocol):
    """The connections of one kind that this replica holds."""

    @property
    def count(self) -> int:
        """How many."""
        ...

    async def release(self, count: int) -> None:
        """Have so many connect again, to any replica."""
        ...


@dataclass(slots=True)
class Replicas:
    """Each replica ticks it; `forget_tick` is the leader's."""

    db: Transactor
    replica: str
    url: str
    links: Mapping[NodeKind, Links]
    watchers: Links
    _known: set[str] = field(default_factory=set[str])
    _step: int = 0
    _to_release: list[tuple[Links, int]] = field(default_factory=list[tuple[Links, int]])

    async def tick(self) -> None:
        """Say that this replica lives, and spread its links anew where another has joined; once for each that joins.

        Who reaches one replica only comes back to it.
        """

        async def work(tx: Tx) -> tuple[set[str], dict[NodeKind, int]]:
            await replicas.seen(tx.conn, self.replica, self.url, tx.now)
            living = await replicas.living(tx.conn, tx.now - timedelta(seconds=DEAD_S))
            return living, await replicas.links(tx.conn)

        living, linked = await self.db.run(work)
        joined = living - self._known - {self.replica}
        first, self._known = not self._known, living
        if joined and not first:
            log.info("replica_joined", replicas=len(living))
            await asyncio.sleep(JOINED_S)
            self._step = STEPS
            self._to_release = [
                *((links, excess(links.count, linked[kind], len(living))) for kind, links in self.links.items()),
                (self.watchers, share_of(len(joined), self.watchers.count, len(living))),
            ]
        if self._step:
            await self._release()

    async def _release(self) -> None:
        parts = [(links, -(-left // self._step)) for links, left in self._to_release]
        self._to_release = [
            (links, left - part) for (links, left), (_, part) in zip(self._to_release, parts, strict=True)
        ]
        self._step -= 1
        for links, part in parts:
            await links.release(part)

    async def forget_tick(self) -> None:
        """Take the links of dead replicas for closed, so that their nodes and room servers are judged, and asked."""

        async def work(tx: Tx) -> list[str]:
            freed = await replicas.forget_dead(tx.conn, self.replica, tx.now - timedelta(seconds=DEAD_S), tx.now)
            if freed:
                tx.hint(Channel.HEALTH)
                tx.hint(Channel.FORWARDING)
            return freed

        if freed := await self.db.run(work):
            log.info("links_died_with_their_replica", nodes=freed)

    async def leave(self) -> None:
        """This replica ends."""
        try:
            await self.db.run(lambda tx: replicas.left(tx.conn, self.replica))
        except Unavailable as error:
            log.info("left_without_a_word", reason=error.message)
