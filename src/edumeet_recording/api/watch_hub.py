"""Feeds all watchers of one process from one reader of the database: each message is made once, and sent to many."""

import asyncio
import random
from collections.abc import Callable, Generator, Iterable, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field

from pydantic import BaseModel

from edumeet_recording.api.node_news import NodeNews
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
DELIVERED_AT_ONCE = 250
"""Watchers that are sent a message before others have their turn."""
RESUMABLE_EVENTS = 200
START_TIMEOUT_S = 5.0


def to_text(message: BaseModel) -> str:
    """The message as it goes over the wire."""
    return message.model_dump_json(by_alias=True)


class Mailbox:
    """What is still to be sent to one watcher; bounded, so that a slow one costs nobody else anything.

    `write` sends a message at once, or is False: while nothing waits, messages need not go through here.
    """

    def __init__(self, write: Callable[[str], bool] | None = None) -> None:
        self._write = write
        self._is_idle = False
        self._messages: asyncio.Queue[str] = asyncio.Queue(MAILBOX_MESSAGES)
        self.overflowed = asyncio.Event()

    def put(self, text: str) -> None:
        """Send now or soon; a full mailbox sets `overflowed` and its watcher is dropped."""
        if self._is_idle and self._write is not None and self._write(text):
            return
        self._is_idle = False
        try:
            self._messages.put_nowait(text)
        except asyncio.QueueFull:
            self.overflowed.set()

    async def get(self) -> str:
        """The next message to send; who asks for it has sent the one before."""
        self._is_idle = self._messages.empty()
        try:
            return await self._messages.get()
        finally:
            self._is_idle = False


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
        self._nodes = NodeNews()
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

    def prime_nodes(self, everything: Iterable[Node]) -> None:
        """All nodes, as a watcher has just been sent them: only what changes after is a delta."""
        self._nodes.prime(everything, self._counter)

    def node_changed(self, node_id: str) -> None:
        """Tell soon how this FFmpeg node is now."""
        self._nodes.heard(node_id)

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
            await self._deliver_events(fed, {each.job_id: each for each in recordings}, followers)
            more = len(fed) >= EVENTS_A_READ
        if self._feed.caught_up:
            self._started.set()

    async def _deliver_events(
        self, fed: list[FedEvent], recordings: dict[str, Recording], followers: list[RecordingsFollower]
    ) -> None:
        for each in fed:
            wanting = [follower for follower in followers if follower.wants(each)]
            if wanting:
                await self._deliver(to_text(_delta(each, recordings)), wanting)

    async def fleet_tick(self) -> None:
        """Deliver to those who follow them: the numbers, nodes that changed, new decisions of the autoscaler."""
        metrics = [each for each in self._followers if isinstance(each, MetricsFollower)]
        nodes = [each for each in self._followers if isinstance(each, NodesFollower)]
        scaling = [each for each in self._followers if isinstance(each, ScalingFollower)]
        if not nodes:
            self._nodes.forget()
        if not (metrics or nodes or scaling):
            return
        async with mapped_errors(), self._pool.acquire() as conn:
            now = await views.metrics_now(conn) if metrics else None
            news = await self._nodes.look(conn, self._counter + 1) if self._nodes.is_primed else []
            alerts = await views.scaling_events_after(conn, self._scaling_position, most=100) if scaling else []
        self._counter += 1
        if now is not None:
            await self._deliver(to_text(MetricsDelta(seq=self._counter, metrics=now)), metrics)
        for known, node in news:
            wanting = [each for each in nodes if each.wants(known)]
            await self._deliver(to_text(NodesDelta(seq=self._counter, id=known.id, node=node)), wanting)
        for alert in alerts:
            wanting = [each for each in scaling if alert.id > each.floor]
            await self._deliver(to_text(ScalingAlertDelta(seq=alert.id, alert=alert)), wanting)
            self._scaling_position = alert.id

    async def _deliver(self, text: str, followers: Sequence[Follower]) -> None:
        """Send a message to many, some at a time; to none that has gone meanwhile."""
        for start in range(0, len(followers), DELIVERED_AT_ONCE):
            for follower in followers[start : start + DELIVERED_AT_ONCE]:
                if follower in self._followers:
                    follower.deliver(text)
            await asyncio.sleep(0)


def _delta(fed: FedEvent, recordings: dict[str, Recording]) -> RecordingDelta:
    return RecordingDelta(seq=fed.event.id, event=fed.event, recording=recordings.get(fed.event.job_id))
