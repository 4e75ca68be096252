"""What watchers of nodes do not know yet: some are looked at each second, those first of which something was heard."""

from collections.abc import Iterable, Mapping
from itertools import islice
from typing import NamedTuple

from edumeet_recording.store import nodes, views
from edumeet_recording.store.db import Connection
from edumeet_recording.wire.views import Node

NODES_A_TICK = 200
"""FFmpeg nodes that are looked at: fewer changes than a mailbox holds, and some milliseconds of work. Of ten thousand
each has its turn within a minute."""
LOADS_EVERY = 10
"""Ticks between two deltas that say no more than what a node measures, for that always changes."""

NodeKey = tuple[str, str]
_HEARTBEAT = frozenset({"last_heartbeat"})
_MEASURED = frozenset({"load"})


class Told(NamedTuple):
    """A node as watchers know it, and the tick at which they were told."""

    node: Node
    tick: int


class NodeNews:
    """What is told is told to all: they know the same."""

    def __init__(self) -> None:
        self._told: dict[NodeKey, Told] | None = None
        self._heard: dict[str, None] = {}
        self._round: list[str] = []

    @property
    def is_primed(self) -> bool:
        """True once a watcher has been told of all nodes: what changes from then on is news."""
        return self._told is not None

    def prime(self, everything: Iterable[Node], tick: int) -> None:
        """A watcher has just been sent all nodes."""
        if self._told is None:
            self._told = {_key(node): Told(node, tick) for node in everything}

    def forget(self) -> None:
        """Nobody watches any more."""
        self._told = None
        self._heard.clear()
        self._round.clear()

    def heard(self, node_id: str) -> None:
        """Look at this FFmpeg node soon: something was said of it."""
        if self._told is not None and node_id:
            self._heard[node_id] = None

    async def look(self, conn: Connection, tick: int) -> list[tuple[Node, Node | None]]:
        """Nodes that have changed, as they were last known, and as they are: None where one is gone."""
        told = self._told or {}
        if not self._round:
            known = {node_id for kind, node_id in told if kind == "ffmpeg-node"}
            self._round = sorted(known | await nodes.registered(conn))
        turn = self._turn()
        there: list[Node] = [*await views.room_servers(conn), *await views.ffmpeg_nodes(conn, turn)]
        found = {_key(node): node for node in there}
        looked_at = {key for key in told if key[0] == "room-server"}.union(("ffmpeg-node", each) for each in turn)
        news = changed(told, found, looked_at, tick)
        for known, now in news:
            if now is None:
                del told[_key(known)]
            else:
                told[_key(now)] = Told(now, tick)
        return news

    def _turn(self) -> list[str]:
        """Half are for those of which something was heard; a round does not stand still for them."""
        heard = list(islice(self._heard, NODES_A_TICK // 2))
        for node_id in heard:
            del self._heard[node_id]
        count = NODES_A_TICK - len(heard)
        turn, self._round = self._round[:count], self._round[count:]
        return sorted({*heard, *turn})


def changed(
    told: Mapping[NodeKey, Told], found: Mapping[NodeKey, Node], looked_at: Iterable[NodeKey], tick: int
) -> list[tuple[Node, Node | None]]:
    """Which nodes are not as they were last told: a heartbeat is no change, and what is measured only now and then."""
    news: list[tuple[Node, Node | None]] = []
    for key in sorted({*looked_at, *found}):
        before, now = told.get(key), found.get(key)
        if before is None:
            if now is not None:
                news.append((now, now))
        elif now is None:
            news.append((before.node, None))
        elif _differ(before.node, now, _HEARTBEAT if tick - before.tick >= LOADS_EVERY else _HEARTBEAT | _MEASURED):
            news.append((before.node, now))
    return news


def _differ(before: Node, now: Node, unheard: frozenset[str]) -> bool:
    # field by field as the model holds them: to dump both would take ten times as long
    return any(value != getattr(now, name) for name, value in before if name not in unheard)


def _key(node: Node) -> NodeKey:
    return node.kind, node.id
