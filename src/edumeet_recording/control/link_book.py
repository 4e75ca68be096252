"""The database's book of links: which replica has a node's, and what the node says of itself as it opens one.

Nodes come by thousands, when a replica dies or another joins. Those that come or go at once are written down together:
one by one that costs milliseconds each, and all connections of the pool.
"""

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from enum import Enum, auto

from edumeet_recording.control.together import Together
from edumeet_recording.store import nodes
from edumeet_recording.store.transaction import Channel, Transactor, Tx
from edumeet_recording.wire.node_link import Hello

AT_ONCE = 50
"""Few, for what follows for each of them is done in one go, and callers of the API wait."""


class Change(Enum):
    """What has become of a link. One that broke makes its node suspect; one that was let go does not."""

    OPENED = auto()
    BROKE = auto()
    LET_GO = auto()


@dataclass(frozen=True, slots=True)
class Introduction:
    """What a node's release and configuration know."""

    node_id: str
    storages: tuple[str, ...] | None
    codecs: tuple[str, ...] | None


class LinkBook:
    """Of the FFmpeg nodes that are linked with `replica`. What it does raises what `Transactor.run` raises."""

    def __init__(self, db: Transactor, replica: str) -> None:
        self._db = db
        self._replica = replica
        self._changes = Together(self._change, AT_ONCE, repeatable=True)
        self._introductions = Together(self._introduce, AT_ONCE, repeatable=True)

    async def opened(self, node_id: str) -> None:
        """This replica has the node's link."""
        await self._changes((node_id, Change.OPENED))

    async def closed(self, node_id: str, *, let_go: bool) -> None:
        """It has it no more."""
        await self._changes((node_id, Change.LET_GO if let_go else Change.BROKE))

    async def introduced(self, node_id: str, hello: Hello) -> None:
        """The node has said what it knows."""
        await self._introductions(Introduction(node_id, hello.storages, hello.codecs))

    async def _change(self, changes: Sequence[tuple[str, Change]]) -> Sequence[None]:
        # of a node that came back at once the last counts
        now = dict(changes)
        opened, broken, let_go = (
            [node_id for node_id, change in now.items() if change is wanted]
            for wanted in (Change.OPENED, Change.BROKE, Change.LET_GO)
        )

        async def work(tx: Tx) -> None:
            if opened:
                await nodes.link(tx.conn, "ffmpeg-node", opened, self._replica)
            if let_go:
                await nodes.unlink(tx.conn, "ffmpeg-node", let_go, self._replica, None)
            if broken:
                await nodes.unlink(tx.conn, "ffmpeg-node", broken, self._replica, tx.now)
                tx.hint(Channel.HEALTH)

        await self._db.run(work)
        return [None] * len(changes)

    async def _introduce(self, said: Sequence[Introduction]) -> Sequence[None]:
        alike = defaultdict[tuple[tuple[str, ...] | None, tuple[str, ...] | None], list[str]](list)
        for each in said:
            alike[each.storages, each.codecs].append(each.node_id)

        async def work(tx: Tx) -> None:
            for (storages, codecs), node_ids in alike.items():
                for node_id in await nodes.introduce(tx.conn, node_ids, storages, codecs):
                    tx.hint(Channel.FLEET, node_id)

        await self._db.run(work)
        return [None] * len(said)
