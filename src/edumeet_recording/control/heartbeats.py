"""What nodes say in their heartbeats, written for many at once: news at the next tick, numbers every few seconds.

Most heartbeats have no news. Of those only the time is written, which costs PostgreSQL and us a fraction of the whole.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from operator import attrgetter
from typing import Any

from edumeet_recording.control.streams import stats_row, wants_key_frame
from edumeet_recording.store import captures, nodes
from edumeet_recording.store.transaction import Channel, Transactor, Tx
from edumeet_recording.wire.node_link import CaptureReport, Heartbeat, NodeLoad

MEASURED = frozenset(
    {
        "cpu_percent",
        "memory_bytes",
        "disk_free_bytes",
        "disk_used_percent",
        "network_in_bytes_per_s",
        "network_out_bytes_per_s",
        "disk_written_bytes_per_s",
        "spool_bytes",
        "capacity_mcpu",
    }
)
"""Of a load what changes all the time, and may be known some seconds late; the rest is news as soon as it changes."""
MEASURED_EACH = 5
"""Of so many heartbeats of a node one is written whole, news or none."""
AT_ONCE = 1000
"""Nodes, or captures, of one statement: neither who wants their rows nor this process shall wait for thousands. Of
captures there is one statement a tick, two a second: the numbers of over two thousand are known a little late."""

_news = attrgetter(*sorted(NodeLoad.model_fields.keys() - MEASURED))


async def store_beats(db: Transactor, loads: Mapping[str, NodeLoad], reports: list[dict[str, Any]]) -> None:
    """Heartbeats and live numbers of many nodes, in one statement each."""

    async def keep_loads(tx: Tx) -> None:
        for node_id in await nodes.store_heartbeats(tx.conn, loads, tx.now):
            tx.hint(Channel.FLEET, node_id)
            tx.hint(Channel.DISPATCH)

    # apart, for each holds many rows: together they wait in a circle with commands that hold a capture and its node
    if loads:
        await db.run(keep_loads)
    if reports:
        await db.run(lambda tx: captures.store_stats(tx.conn, reports))


@dataclass(slots=True)
class _Written:
    """Of a node's heartbeats, on its link. `since`: how many came after the last whole one."""

    news: tuple[object, ...] | None = None
    since: int = 0


class Heartbeats:
    """Of the nodes that are linked with this replica."""

    def __init__(self, db: Transactor) -> None:
        self._db = db
        self._loads: dict[str, NodeLoad] = {}
        self._stats: dict[str, tuple[str, CaptureReport]] = {}
        self._written: dict[str, _Written] = {}

    def begin(self, node_id: str) -> None:
        """It has a new link: what was written of it before may not hold any more."""
        self._written[node_id] = _Written()

    def end(self, node_id: str) -> None:
        """It has none any more."""
        self._loads.pop(node_id, None)
        self._written.pop(node_id, None)

    def lives(self, node_id: str, load: NodeLoad) -> None:
        """It was heard; what it says of its captures is still to be applied."""
        self._loads[node_id] = load

    def heard(self, node_id: str, beat: Heartbeat) -> None:
        """What a node says is written at the next tick."""
        self.lives(node_id, beat.load)
        for report in beat.captures:
            self._stats[report.capture_id] = node_id, report

    def renew(self, node_id: str, report: CaptureReport) -> None:
        """What a report said was written: numbers that still wait must not undo it."""
        if report.capture_id in self._stats:
            self._stats[report.capture_id] = node_id, report

    async def flush_tick(self) -> None:
        """Write the heartbeats that came since the last tick."""
        loads, self._loads = self._loads, {}
        known, news = list[str](), list[str]()
        for node_id, load in loads.items():
            written = self._written.get(node_id)
            if written is None or written.since == MEASURED_EACH - 1 or written.news != _news_of(load):
                news.append(node_id)
            else:
                written.since += 1
                known.append(node_id)
        for some in _portions(known):
            news += await self._db.run(lambda tx, some=some: nodes.keep_alive(tx.conn, some, tx.now))
        for some in _portions(news):
            await self._store({node_id: loads[node_id] for node_id in some})
        await store_beats(self._db, {}, self._stats_due())

    def _stats_due(self) -> list[dict[str, Any]]:
        """The numbers of those that want a key frame, then of those that have waited longest."""
        waiting = list(self._stats)
        if len(waiting) > AT_ONCE:
            waiting.sort(key=lambda capture_id: not wants_key_frame(self._stats[capture_id][1]))
        # in the same order everywhere: see `_portions`
        return [stats_row(*self._stats.pop(capture_id)) for capture_id in sorted(waiting[:AT_ONCE])]

    async def _store(self, loads: Mapping[str, NodeLoad]) -> None:
        """What could not be written is news still, and written with the next heartbeat."""
        links = {node_id: self._written[node_id] for node_id in loads if node_id in self._written}
        await store_beats(self._db, loads, [])
        for node_id, written in links.items():
            # at first each begins elsewhere, lest those that came together are written whole together
            written.since = 0 if written.news else hash(node_id) % MEASURED_EACH
            written.news = _news_of(loads[node_id])


def _news_of(load: NodeLoad) -> tuple[object, ...]:
    return *_news(load), load.spool_bytes > 0


def _portions(ids: Sequence[str]) -> Iterator[Sequence[str]]:
    """In the same order everywhere, lest two replicas, or a replica's statements, wait for each other in a circle."""
    ordered = sorted(ids)
    for first in range(0, len(ordered), AT_ONCE):
        yield ordered[first : first + AT_ONCE]
