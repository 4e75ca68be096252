"""The links of FFmpeg nodes: observed state up, desired state down; any replica can hold any node's link."""

import asyncio
import random
from collections.abc import Coroutine, Iterable
from functools import partial
from typing import TypeVar

import structlog
from pydantic import ValidationError

from edumeet_recording.control.captures import CaptureCommands
from edumeet_recording.control.desired import desired_of
from edumeet_recording.control.heartbeats import Heartbeats, store_beats
from edumeet_recording.control.link_book import LinkBook
from edumeet_recording.control.link_transport import LinkClosed, LinkTransport
from edumeet_recording.control.processing import renew
from edumeet_recording.control.streams import stats_row
from edumeet_recording.control.together import Together
from edumeet_recording.domain.capture import BROKEN
from edumeet_recording.store import nodes
from edumeet_recording.store.transaction import Transactor
from edumeet_recording.wire.node_link import (
    NODE_MESSAGE,
    Ack,
    CaptureReport,
    Goaway,
    Heartbeat,
    HeartbeatPost,
    Hello,
    Journal,
    NodeMessage,
    OrchestratorMessage,
    Report,
)

log = structlog.get_logger()

T = TypeVar("T")

PROTOCOL_ERROR = 1002
GOING_AWAY = 1001
REPLACED = 4000
INBOX_MESSAGES = 1000
INBOX_BEATS = 10
"""With so much before it a heartbeat is let go: the next one says all of it again."""
HEARTBEAT = '{"type":"heartbeat"'
"""How our nodes begin one."""
DESIRED_PAUSE_S = 0.05
"""What changes within this goes to the node at once: each time it is sent the whole of what it should do."""
DESIRED_TOGETHER = 64
"""Nodes whose desired state is read by the same few queries."""
REPORTS_SHARE = 2
"""Reports of the links of this replica have one of so many connections: the API and the loops need some too."""


async def apply_heartbeat(commands: CaptureCommands, node_id: str, beat: Heartbeat | HeartbeatPost) -> None:
    """A single node's heartbeat, all of it at once."""
    for report in beat.captures:
        await commands.report(node_id, report)
    await renew(commands.db, commands.settings, node_id, beat.finalizing)
    await store_beats(commands.db, {node_id: beat.load}, [stats_row(node_id, report) for report in beat.captures])


async def next_of(queue: asyncio.Queue[T]) -> list[T]:
    """All that waits in the queue; at least one."""
    messages = [await queue.get()]
    while not queue.empty():
        messages.append(queue.get_nowait())
    return messages


class NodeSession:
    """One node's link; what was applied is remembered, so that a heartbeat without news costs no transaction."""

    def __init__(self, node_id: str, transport: LinkTransport) -> None:
        self.node_id = node_id
        self.transport = transport
        self.changed = asyncio.Event()
        self.changed.set()
        self.sent_revision: int | None = None
        self.let_go = False
        self.is_idle = True
        """Nothing of the inbox is still to be applied."""
        self.is_introduced = False
        """What its hello says is in the database."""
        self.renews = False
        """Something in the inbox may be a sign of life of a finalization."""
        self.inbox: asyncio.Queue[Hello | Heartbeat | Report] = asyncio.Queue(INBOX_MESSAGES)
        self.journals: asyncio.Queue[Journal] = asyncio.Queue(INBOX_MESSAGES)
        self._applied: dict[str, tuple[object, ...]] = {}

    def news(self, reports: Iterable[CaptureReport]) -> list[CaptureReport]:
        """The reports that say something of state that was not applied yet."""
        return [report for report in reports if self._applied.get(report.capture_id) != _state_of(report)]

    def applied(self, report: CaptureReport) -> None:
        """This report is in the database."""
        self._applied[report.capture_id] = _state_of(report)

    def forget(self, known: set[str]) -> None:
        """Keep only what the node still speaks of."""
        for capture_id in self._applied.keys() - known:
            del self._applied[capture_id]

    async def send(self, message: OrchestratorMessage) -> None:
        """Send a message; raises `LinkClosed`."""
        await self.transport.send(message.to_json())


class NodeLinks:
    """The nodes that are linked with this replica.

    `beats_db` has a connection that nobody else takes: heartbeats that wait behind all else would have nodes
    thought dead, which makes more to do.
    """

    def __init__(self, commands: CaptureCommands, replica: str, beats_db: Transactor | None = None) -> None:
        self._commands = commands
        self._db = commands.db
        self._sessions: dict[str, NodeSession] = {}
        self._beats = Heartbeats(beats_db or commands.db)
        self._book = LinkBook(commands.db, replica)
        self._applying = asyncio.Semaphore(commands.settings.database_pool_size // REPORTS_SHARE)
        self._desired = Together(partial(desired_of, commands.db), DESIRED_TOGETHER, repeatable=True)

    def wake(self, node_id: str) -> None:
        """What this node should do has changed; no id: any of them. Unknown ids are other replicas' nodes."""
        for session in [self._sessions.get(node_id)] if node_id else self._sessions.values():
            if session is not None:
                session.changed.set()

    async def serve(self, node_id: str, transport: LinkTransport) -> None:
        """Serve a node's link until it closes; a newer link of the same node replaces the older one."""
        older = self._sessions.get(node_id)
        session = self._sessions[node_id] = NodeSession(node_id, transport)
        self._beats.begin(node_id)
        if older is not None:
            await older.transport.close(REPLACED, "replaced by a newer link")
        try:
            await self._book.opened(node_id)
            log.info("node_linked", node_id=node_id)
            async with asyncio.TaskGroup() as tasks:
                working = [tasks.create_task(work) for work in self._work(session)]
                await self._read(session)
                for task in working:
                    task.cancel()
        except* LinkClosed:
            pass
        finally:
            if self._sessions.get(node_id) is session:
                del self._sessions[node_id]
                self._beats.end(node_id)
                await self._book.closed(node_id, let_go=session.let_go)
            log.info("node_link_closed", node_id=node_id)

    def _work(self, session: NodeSession) -> tuple[Coroutine[None, None, None], ...]:
        return self._write(session), self._apply(session), self._apply_journal(session)

    async def _read(self, session: NodeSession) -> None:
        session.transport.listen(partial(self._hear, session))
        while True:
            try:
                text = await session.transport.receive()
            except LinkClosed:
                return
            try:
                message = NODE_MESSAGE.validate_json(text)
            except ValidationError as error:
                log.warning("node_message_refused", node_id=session.node_id, error=str(error))
                await session.transport.close(PROTOCOL_ERROR, "not a message of this protocol")
                return
            if isinstance(message, Journal):
                await session.journals.put(message)
            elif not self._taken(session, message):
                await self._put_off(session, message)

    def _hear(self, session: NodeSession, text: str) -> bool:
        """Most of what thousands of nodes say is done with here; the rest, and what is no message, is received."""
        if not (session.is_idle and text.startswith(HEARTBEAT)):
            return False
        try:
            return self._taken(session, NODE_MESSAGE.validate_json(text))
        except ValidationError:
            return False

    def _taken(self, session: NodeSession, message: NodeMessage) -> bool:
        """A heartbeat is heard at once where nothing said before it is still to be applied, and it has no news."""
        if not (session.is_idle and isinstance(message, Heartbeat)):
            return False
        if message.finalizing or session.news(message.captures):
            return False
        self._heard(session, message)
        return True

    async def _put_off(self, session: NodeSession, message: Hello | Heartbeat | Report) -> None:
        """To be applied in its turn. That its node lives is known before, or those whose reports wait would be thought
        dead, and cost more of what there is too little of; but not before its leases are renewed (`_heartbeat`).
        """
        session.is_idle = False
        if isinstance(message, Heartbeat):
            if session.is_introduced and not (message.finalizing or session.renews):
                self._beats.lives(session.node_id, message.load)
            session.renews |= bool(message.finalizing)
            if session.inbox.qsize() >= INBOX_BEATS:
                return
        await session.inbox.put(message)

    async def _apply(self, session: NodeSession) -> None:
        while True:
            messages = await next_of(session.inbox)
            for hello in (message for message in messages if isinstance(message, Hello)):
                await self._book.introduced(session.node_id, hello)
                session.is_introduced = True
            said = [message for message in messages if isinstance(message, Heartbeat | Report)]
            await self._reports(session, {report.capture_id: report for each in said for report in each.captures})
            beats = [message for message in said if isinstance(message, Heartbeat)]
            if beats:
                await self._heartbeat(session, beats[-1])
            session.is_idle = session.inbox.empty()
            session.renews &= not session.is_idle

    async def _apply_journal(self, session: NodeSession) -> None:
        """Apply what is journaled in order, beside the reports; entries are repeated until they are acknowledged."""
        applied = 0
        while True:
            journals = await next_of(session.journals)
            entries = {entry.seq: entry for journal in journals for entry in journal.entries if entry.seq > applied}
            await self._commands.journal(session.node_id, tuple(entries[seq] for seq in sorted(entries)))
            applied = max(applied, *(entry.seq for journal in journals for entry in journal.entries), 0)
            await session.send(Ack(up_to=applied))

    async def _reports(self, session: NodeSession, newest: dict[str, CaptureReport]) -> None:
        """Apply the newest report of each capture, for it says the whole of it; captures do not wait for each other."""
        news = session.news(newest.values())
        if not news:
            return
        async with asyncio.TaskGroup() as tasks:
            for report in news:
                tasks.create_task(self._report(session, report))

    async def _report(self, session: NodeSession, report: CaptureReport) -> None:
        async with self._applying:
            await self._commands.report(session.node_id, report)
        session.applied(report)
        self._beats.renew(session.node_id, report)

    async def _heartbeat(self, session: NodeSession, beat: Heartbeat) -> None:
        """After the reports: what a stream did before is told by the numbers that are kept; and after the leases, for
        who was heard and renewed none has none.
        """
        await renew(self._db, self._commands.settings, session.node_id, beat.finalizing)
        self._heard(session, beat)

    def _heard(self, session: NodeSession, beat: Heartbeat) -> None:
        self._beats.heard(session.node_id, beat)
        session.forget({report.capture_id for report in beat.captures})

    async def _write(self, session: NodeSession) -> None:
        while True:
            await session.changed.wait()
            session.changed.clear()
            desired = await self._desired(session.node_id)
            session.sent_revision = desired.revision
            await session.send(desired)
            await asyncio.sleep(DESIRED_PAUSE_S)

    async def flush_tick(self) -> None:
        """Write the heartbeats that came since the last tick."""
        await self._beats.flush_tick()

    async def poll_tick(self) -> None:
        """Find nodes whose desired state changed, should a hint have been lost."""
        sent = {
            node_id: session.sent_revision
            for node_id, session in self._sessions.items()
            if session.sent_revision is not None
        }
        if sent:
            for node_id in await self._db.read(lambda tx: nodes.revised(tx.conn, sent)):
                self.wake(node_id)

    @property
    def count(self) -> int:
        """Links that are here."""
        return len(self._sessions)

    async def goaway(self) -> None:
        """Have every node connect again, to any replica: this one goes down."""
        await self._let_go(list(self._sessions.values()), "the orchestrator is going down")

    async def release(self, count: int) -> None:
        """Have `count` nodes connect again: other replicas have room for them."""
        sessions = list(self._sessions.values())
        await self._let_go(random.sample(sessions, min(count, len(sessions))), "another replica has joined")

    async def _let_go(self, sessions: Iterable[NodeSession], reason: str) -> None:
        for session in sessions:
            session.let_go = True
            await asyncio.sleep(0)  # there may be thousands, and others want a turn too
            try:
                await session.send(Goaway(reason=reason))
                await session.transport.close(GOING_AWAY, reason)
            except LinkClosed:
                continue


def _state_of(report: CaptureReport) -> tuple[object, ...]:
    """What of a report is acted upon: all but numbers."""
    broken = tuple((stream.index, stream.state) for stream in report.streams if stream.state in BROKEN)
    return report.epoch, report.ports, report.first_packet_at, report.error, broken
