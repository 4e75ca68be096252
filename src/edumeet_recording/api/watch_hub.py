"""Feeds all watchers of one process from one reader of the database: each message is made once, and sent to many."""

import asyncio
import random
from collections.abc import Generator, Iterable, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field

from pydantic import BaseModel

from edumeet_recording.domain.errors import Unavailable
from edumeet_recording.domain.job import JobStatus
from edumeet_recording.store import event_feed, views
from edumeet_recording.store.db import Pool, mapped_errors
from edumeet_recording.store.event_feed import EventFeed, FedEvent
from edumeet_recording.wire.events import (
    MetricsDelta,
    NodesDelta,
    NodesFilter,
    RecordingDelta,
    RecordingsFilter,
    ScalingAlertDelta,
)
from edumeet_recording.wire.views import Node, Recording

MAILBOX_MESSAGES = 256
EVENTS_A_READ = 500
RESUMABLE_EVENTS = 200
START_TIMEOUT_S = 5.0
LOADS_EVERY = 10
"""Ticks between looks at what nodes measure, for that always changes: of 10,000 nodes these are 10,000 deltas."""

NodeKey = tuple[str, str]
_HEARTBEAT = frozenset({"last_heartbeat"})
_MEASURED = frozenset({"load"})


def to_text(message: BaseModel) -> str:
    """The message as it goes over the wire."""
    return message.model_dump_json(by_alias=True)


class Mailbox:
    """What is still to be sent to one watcher; bounded, so that a slow one costs nobody else anything."""

    def __init__(self) -> None:
        self._messages: asyncio.Queue[str] = asyncio.Queue(MAILBOX_MESSAGES)
        self.overflowed = asyncio.Event()

    def put(self, text: str) -> None:
        """Send soon; a full mailbox sets `overflowed` and its watcher is dropped."""
        try:
            self._messages.put_nowait(text)
        except asyncio.QueueFull:
            self.overflowed.set()

    async def get(self) -> str:
        """The next message to send."""
        return await self._messages.get()


@dataclass(eq=False, slots=True)
class Follower:
    """One subscription of a watcher. Until `open`, deltas wait, so that they come after the snapshot."""

    mailbox: Mailbox
    _waiting: list[str] | None = field(default_factory=list[str], init=False)

    def deliver(self, text: str) -> None:
        """Send a delta, or keep it until the snapshot is out."""
        if self._waiting is None:
            self.mailbox.put(text)
        elif len(self._waiting) < MAILBOX_MESSAGES:
            self._waiting.append(text)
        else:
            self.mailbox.overflowed.set()

    def open(self, first: Iterable[str]) -> None:
        """Send `first` (a snapshot, or the deltas that were missed), then what came meanwhile, then live."""
        waiting, self._waiting = self._waiting or [], None
        for text in (*first, *waiting):
            self.mailbox.put(text)


@dataclass(eq=False, slots=True, kw_only=True)
class RecordingsFollower(Follower):
    """Follows recordings: what is after event `floor`, inside the tenant, and fits the filter."""

    tenant: str | None
    wanted: RecordingsFilter
    floor: int
    fitting: set[str] = field(default_factory=set[str])
    """Jobs that were last seen in a wanted status: their way out of it is reported too."""

    def wants(self, fed: FedEvent) -> bool:
        """True where the watcher is to see the event."""
        if fed.event.id <= self.floor or (self.tenant is not None and fed.tenant_id != self.tenant):
            return False
        pairs = (
            (self.wanted.job_id, fed.event.job_id),
            (self.wanted.room_server_id, fed.room_server_id),
            (self.wanted.room_id, fed.room_id),
            (self.wanted.peer_id, fed.peer_id),
            (self.wanted.region, fed.region),
        )
        if any(wish is not None and wish != value for wish, value in pairs):
            return False
        return self._fits_status(fed.event.job_id, fed.event.status)

    def _fits_status(self, job_id: str, status: JobStatus) -> bool:
        if not self.wanted.status:
            return True
        if status in self.wanted.status:
            self.fitting.add(job_id)
            return True
        if job_id in self.fitting:
            self.fitting.remove(job_id)
            return True
        return False


@dataclass(eq=False, slots=True, kw_only=True)
class NodesFollower(Follower):
    """Follows the nodes that fit the filter."""

    wanted: NodesFilter

    def wants(self, node: Node) -> bool:
        """True where the watcher is to see the node."""
        return self.wanted.kind in {None, node.kind} and self.wanted.region in {None, node.region}


@dataclass(eq=False, slots=True)
class MetricsFollower(Follower):
    """Follows the fleet's numbers."""


@dataclass(eq=False, slots=True, kw_only=True)
class ScalingFollower(Follower):
    """Follows the autoscaler's decisions after `floor`."""

    floor: int = 0


class WatchHub:
    """The reader. `events_tick` is to be called several times a second and on hints, `fleet_tick` once a second."""

    def __init__(self, pool: Pool) -> None:
        self._pool = pool
        self._feed = EventFeed()
        self._started = asyncio.Event()
        self._followers: set[Follower] = set()
        self._sessions: set[asyncio.Event] = set()
        self._counter = 0
        self._nodes: dict[NodeKey, Node] | None = None
        self._scaling_position = 0

    @property
    def counter(self) -> int:
        """Number of the last delta of nodes and metrics."""
        return self._counter

    @property
    def count(self) -> int:
        """Watchers that are here."""
        return len(self._sessions)

    @contextmanager
    def session(self) -> Generator[asyncio.Event]:
        """A watcher is here; the event is set once it should connect again, to any replica."""
        let_go = asyncio.Event()
        self._sessions.add(let_go)
        try:
            yield let_go
        finally:
            self._sessions.discard(let_go)

    async def release(self, count: int) -> None:
        """Have `count` watchers connect again: other replicas have room for them."""
        for let_go in random.sample(list(self._sessions), min(count, len(self._sessions))):
            let_go.set()

    def add(self, follower: Follower) -> None:
        """Deliver to `follower` from now on."""
        self._followers.add(follower)

    def remove(self, follower: Follower) -> None:
        """Deliver nothing more to `follower`."""
        self._followers.discard(follower)

    async def position(self) -> int:
        """The event up to which all was delivered. Raises `Unavailable` where the database was never read."""
        try:
            async with asyncio.timeout(START_TIMEOUT_S):
                await self._started.wait()
        except TimeoutError as error:
            raise Unavailable("events cannot be read yet") from error
        return self._feed.position

    async def missed(self, follower: RecordingsFollower, since: int, position: int) -> list[str] | None:
        """What `follower` missed between two events, of any status; None where that is too much to be sent again.

        A watcher that comes from a replica that is ahead of this one (`since` > `position`) has missed nothing.
        """
        if abs(position - since) > RESUMABLE_EVENTS:
            return None
        follower.floor = max(position, since)
        replay = RecordingsFollower(
            follower.mailbox,
            tenant=follower.tenant,
            wanted=follower.wanted.model_copy(update={"status": ()}),
            floor=since,
        )
        async with mapped_errors(), self._pool.acquire() as conn:
            found = await event_feed.events_after(conn, since, most=RESUMABLE_EVENTS)
            fed = [each for each in found if each.event.id <= position and replay.wants(each)]
            recordings = await views.recordings(conn, list({each.event.job_id for each in fed}), follower.tenant)
        known = {each.job_id: each for each in recordings}
        return [to_text(_delta(each, known)) for each in fed]

    def prime_nodes(self, nodes: Iterable[Node]) -> None:
        """Nodes that a watcher has just been sent: only what changes after is a delta."""
        if self._nodes is None:
            self._nodes = _by_key(nodes)

    def prime_scaling(self, position: int) -> None:
        """A watcher has just been sent the decisions up to `position`."""
        others = [each for each in self._followers if isinstance(each, ScalingFollower)]
        self._scaling_position = min(self._scaling_position, position) if len(others) > 1 else position

    async def events_tick(self) -> None:
        """Deliver the job events that have become certain."""
        more = True
        while more:
            async with mapped_errors(), self._pool.acquire() as conn:
                fed = await self._feed.poll(conn, most=EVENTS_A_READ)
                followers = [each for each in self._followers if isinstance(each, RecordingsFollower)]
                job_ids = list({each.event.job_id for each in fed}) if followers else []
                recordings = await views.recordings(conn, job_ids, None) if job_ids else []
            self._deliver_events(fed, {each.job_id: each for each in recordings}, followers)
            more = len(fed) >= EVENTS_A_READ
        if self._feed.caught_up:
            self._started.set()

    def _deliver_events(
        self, fed: list[FedEvent], recordings: dict[str, Recording], followers: list[RecordingsFollower]
    ) -> None:
        for each in fed:
            wanting = [follower for follower in followers if follower.wants(each)]
            if wanting:
                text = to_text(_delta(each, recordings))
                for follower in wanting:
                    follower.deliver(text)

    async def fleet_tick(self) -> None:
        """Deliver to those who follow them: the numbers, nodes that changed, new decisions of the autoscaler."""
        metrics = [each for each in self._followers if isinstance(each, MetricsFollower)]
        nodes = [each for each in self._followers if isinstance(each, NodesFollower)]
        scaling = [each for each in self._followers if isinstance(each, ScalingFollower)]
        if not nodes:
            self._nodes = None
        if not (metrics or nodes or scaling):
            return
        async with mapped_errors(), self._pool.acquire() as conn:
            now = await views.metrics_now(conn) if metrics else None
            fleet = await views.nodes(conn) if nodes else []
            alerts = await views.scaling_events_after(conn, self._scaling_position, most=100) if scaling else []
        self._counter += 1
        if now is not None:
            text = to_text(MetricsDelta(seq=self._counter, metrics=now))
            for follower in metrics:
                follower.deliver(text)
        if nodes:
            self._deliver_nodes(fleet, nodes)
        for alert in alerts:
            text = to_text(ScalingAlertDelta(seq=alert.id, alert=alert))
            for follower in scaling:
                if alert.id > follower.floor:
                    follower.deliver(text)
            self._scaling_position = alert.id

    def _deliver_nodes(self, fleet: list[Node], followers: list[NodesFollower]) -> None:
        told, now = self._nodes or {}, _by_key(fleet)
        for key in changed_nodes(told, now, loads=self._counter % LOADS_EVERY == 0):
            new = now.get(key)
            known = new or told[key]
            text = to_text(NodesDelta(seq=self._counter, id=known.id, node=new))
            for follower in followers:
                if follower.wants(known):
                    follower.deliver(text)
            if new is None:
                del told[key]
            else:
                told[key] = new
        self._nodes = told


def _delta(fed: FedEvent, recordings: dict[str, Recording]) -> RecordingDelta:
    return RecordingDelta(seq=fed.event.id, event=fed.event, recording=recordings.get(fed.event.job_id))


def _by_key(nodes: Iterable[Node]) -> dict[NodeKey, Node]:
    return {(node.kind, node.id): node for node in nodes}


def changed_nodes(told: Mapping[NodeKey, Node], now: Mapping[NodeKey, Node], *, loads: bool) -> list[NodeKey]:
    """Which nodes are not as they were last told: a heartbeat is no change, and what is measured only with `loads`."""
    unheard = _HEARTBEAT if loads else _HEARTBEAT | _MEASURED

    def look(node: Node | None) -> list[tuple[str, object]] | None:
        return node and [(name, value) for name, value in node if name not in unheard]

    return sorted(key for key in told.keys() | now.keys() if look(told.get(key)) != look(now.get(key)))
