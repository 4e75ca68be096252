"""This replica's picture of the nodes, kept in memory: a placement reads no table, and claims by a guarded UPDATE.

It may be stale, for a claim of what is not free any more fails, and the node is read anew. Hints say which nodes
changed, and beside that each is read in its turn, a few at a time, however many there are.
"""

import asyncio
from collections.abc import Collection
from datetime import datetime, timedelta

from edumeet_recording.domain.failure_domain import FailureDomain
from edumeet_recording.domain.fleet import Fleet, NodeSnapshot
from edumeet_recording.domain.placement import Placement, PlacementRequest, StrategyName, place
from edumeet_recording.store import nodes
from edumeet_recording.store.transaction import Channel, Transactor, Tx

TICKS_A_ROUND = 10
"""In so many ticks every known node is read, where that is not too many a tick."""
MOST_A_TICK = 100
"""Nodes that are read beside those that changed: of ten thousand each has its turn within a minute."""
AT_ONCE = 250
"""Nodes that are read by one query: some milliseconds of work, in which nobody is answered."""
STALE_S = 15.0
"""A picture that the loop has not renewed for so long is not believed."""
TRIES = 3


class LiveFleet:
    """The fleet as this replica knows it, and the claims it makes on it."""

    def __init__(self, db: Transactor, strategy: StrategyName) -> None:
        self._db = db
        self._strategy: StrategyName = strategy
        self._fleet = Fleet()
        self._changed: set[str] = set()
        self._urgent = False
        self._round: list[str] = []
        self._read_at: datetime | None = None
        self._renewed_at: datetime | None = None
        self._reading = asyncio.Lock()
        db.notifier.tell_here(self._heard)

    @property
    def regions(self) -> set[str]:
        """Regions with a node that takes captures."""
        return self._fleet.regions

    def domains_of(self, node_ids: Collection[str]) -> tuple[FailureDomain, ...]:
        """Where nodes stand, as far as they are known."""
        known = self._fleet.nodes
        return tuple(known[node_id].failure_domain for node_id in node_ids if node_id in known)

    def _heard(self, channel: str, node_id: str) -> None:
        """A hint of this replica's own."""
        if channel == Channel.NODE:
            self.changed(node_id)
        elif channel == Channel.FLEET:
            self.changed_now(node_id)

    def changed(self, node_id: str) -> None:
        """Read this node again within a moment; no id: all of them. Its promised capacity may have changed."""
        if node_id:
            self._changed.add(node_id)
        else:
            self._read_at = None

    def changed_now(self, node_id: str) -> None:
        """Read this node again before the next decision: it came, left, or takes captures again."""
        self.changed(node_id)
        self._urgent = True

    async def tick(self) -> None:
        """Read what changed, and the next nodes of the round."""

        async def work(tx: Tx) -> None:
            everything = self._read_at is None
            if not everything:
                turn = await self._next_of_round(tx)
                self._changed |= turn
            await self._read(tx, everything=everything)
            self._renewed_at = tx.now

        await self._db.read(work)

    async def _next_of_round(self, tx: Tx) -> set[str]:
        """A round begins with a look at who is registered, should the hint of a new one have been lost."""
        new = set[str]()
        if not self._round:
            self._round = list(self._fleet.nodes)
            new = await nodes.registered(tx.conn) - self._fleet.nodes.keys()
        count = min(-(-len(self._fleet.nodes) // TICKS_A_ROUND), MOST_A_TICK)
        turn, self._round = self._round[:count], self._round[count:]
        return new.union(turn)

    async def choose(self, tx: Tx, request: PlacementRequest) -> tuple[NodeSnapshot | None, Placement]:
        """The best node for `request`, promised to it in this picture; the caller is to claim it, or `claim` anew."""
        await self._believable(tx)
        placement = place(request, self._fleet, self._strategy)
        if not placement.candidates:
            return None, placement
        return self._promise(placement.candidates[0].node_id, request), placement

    async def claim(self, tx: Tx, request: PlacementRequest) -> tuple[NodeSnapshot | None, Placement]:
        """Claim a node's capacity for `request`; the node, or None where none can take it, and the decision.

        A node whose capacity is gone is read anew, and with it all that changed; then it is decided again.
        """
        await self._believable(tx)
        for _ in range(TRIES):
            placement = place(request, self._fleet, self._strategy)
            for candidate in placement.candidates:
                node = self._promise(candidate.node_id, request)
                if node and await nodes.claim_capacity(tx.conn, node.id, request.price):
                    return node, placement
            if not self._changed:
                return None, placement
            await self._read(tx, everything=False)
        return None, place(request, self._fleet, self._strategy)

    def _promise(self, node_id: str, request: PlacementRequest) -> NodeSnapshot | None:
        """Count it at once, for the next decision should see it; then read the node again: it may come to nothing."""
        node = self._fleet.nodes.get(node_id)
        self._fleet.promise(node_id, request.price)
        self._changed.add(node_id)
        return node

    async def _believable(self, tx: Tx) -> None:
        renewed_at = max(filter(None, (self._read_at, self._renewed_at)), default=None)
        if self._read_at is None or renewed_at is None or tx.now - renewed_at > timedelta(seconds=STALE_S):
            await self._read(tx, everything=True)
        elif self._urgent:
            await self._read(tx, everything=False)

    async def _read(self, tx: Tx, *, everything: bool) -> None:
        """Read what changed, or all there is, in portions: others have their turn in between."""
        seen = self._read_at
        async with self._reading:
            everything = everything and self._read_at is seen  # else somebody has read all of it while we waited
            if everything:
                there = await nodes.registered(tx.conn)
                self._changed |= there | self._fleet.nodes.keys()
            ids, self._changed, self._urgent = sorted(self._changed), set[str](), False
            try:
                for start in range(0, len(ids), AT_ONCE):
                    await self._read_some(tx, ids[start : start + AT_ONCE])
            except BaseException:
                self._changed.update(ids)
                raise
            if everything:
                # only now: who decides meanwhile waits for what we read
                self._read_at = tx.now

    async def _read_some(self, tx: Tx, ids: list[str]) -> None:
        found = await nodes.snapshots(tx.conn, ids, tx.now)
        for node in found:
            self._fleet.put(node)
        for node_id in set(ids) - {node.id for node in found}:
            self._fleet.remove(node_id)
