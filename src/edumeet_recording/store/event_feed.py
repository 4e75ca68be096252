"""Events of all jobs in the order of their ids, none skipped, though transactions commit in another order.

`job_events.id` is drawn from a sequence before the commit: 6 can be seen while 5 is still being written. An id is
handed out only when all below it were handed out, or can never come: when every transaction that was writing events
at the moment the hole was seen has ended, and the id is still not there (it was rolled back).
"""

from collections.abc import Sequence
from dataclasses import dataclass

from edumeet_recording.store import views
from edumeet_recording.store.db import Connection, load_queries
from edumeet_recording.wire.views import JobEvent

_sql = load_queries("views")

START_WINDOW = 1000
"""Ids below the highest one at the start that are looked at again: some may be uncommitted still."""


@dataclass(frozen=True, slots=True)
class FedEvent:
    """An event with what watchers filter by."""

    event: JobEvent
    tenant_id: str | None
    room_server_id: str
    room_id: str
    peer_id: str
    region: str


class EventOrder:
    """Decides which ids may be handed out; pure. Every id up to `position` was handed out or can never come."""

    def __init__(self, position: int) -> None:
        self.position = position
        self._settled = position
        self._barrier: tuple[int, frozenset[str]] | None = None

    @property
    def waits(self) -> bool:
        """True while a hole waits for the transactions that were writing when it was seen."""
        return self._barrier is not None

    def release(self, ids: Sequence[int], writers: frozenset[str]) -> int:
        """How many of `ids` (visible, ascending, above `position`) may go out now.

        `writers`: the transactions that were writing before `ids` were read.
        """
        if self._barrier is not None and not self._barrier[1] & writers:
            self._settled, self._barrier = self._barrier[0], None
        count = 0
        for event_id in ids:
            if event_id != self.position + 1 and event_id - 1 > self._settled:
                break
            self.position = event_id
            count += 1
        return count

    def hold(self, highest: int, writers: frozenset[str]) -> None:
        """Holes below `highest` can only be filled by `writers`, read after the holes were seen."""
        if self._barrier is None:
            self._barrier = (highest, writers)


class EventFeed:
    """Reads events as they become certain; one reader."""

    def __init__(self) -> None:
        self._order: EventOrder | None = None

    @property
    def position(self) -> int:
        """The id up to which everything was read; 0 before the first poll."""
        return 0 if self._order is None else self._order.position

    @property
    def caught_up(self) -> bool:
        """True where the last poll left nothing behind that could be seen."""
        return self._order is not None and not self._order.waits

    async def poll(self, conn: Connection, *, most: int = 500) -> list[FedEvent]:
        """The next events, about `most`; the first poll also gives what was written shortly before."""
        order = self._order
        if order is None:
            last = await _sql.last_event_id(conn)
            order = self._order = EventOrder(max(0, last - START_WINDOW))
        released: list[FedEvent] = []
        # a second look at once: most holes are those of transactions that have long been rolled back
        for _ in range(2):
            writers = await _writers(conn) if order.waits else frozenset[str]()
            fed = await events_after(conn, order.position, most=most)
            count = order.release([each.event.id for each in fed], writers)
            released += fed[:count]
            if count == len(fed):
                break
            order.hold(fed[-1].event.id, await _writers(conn))
        return released


async def events_after(conn: Connection, after: int, *, most: int) -> list[FedEvent]:
    """Visible events with an id above `after`; the newest of them may not be in order yet."""
    return [
        FedEvent(
            event=views.event_of(row),
            tenant_id=row["tenant_id"],
            room_server_id=row["room_server_id"],
            room_id=row["room_id"],
            peer_id=row["peer_id"],
            region=row["region"],
        )
        async for row in _sql.events_after(conn, after=after, most=most)
    ]


async def _writers(conn: Connection) -> frozenset[str]:
    return frozenset([row["virtualtransaction"] async for row in _sql.event_writers(conn)])
