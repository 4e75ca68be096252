"""The node's link to the orchestrator: a WebSocket that is opened again and again, or posts where a proxy refuses one.

Nothing waits for it: what is sent without a link is lost on purpose, for the next heartbeat says it all again, and the
journal repeats itself until it is acknowledged.
"""

import asyncio
import random
from collections import deque
from collections.abc import Callable
from importlib.metadata import version

import httpx2
import structlog
from pydantic import ValidationError
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed, InvalidStatus, WebSocketException

from edumeet_recording.config import NodeSettings
from edumeet_recording.domain.codecs import Codec
from edumeet_recording.domain.errors import OrchestratorError, Unavailable
from edumeet_recording.node.events import DesiredReceived, Event, JournalAcked, KeyFrameRequested, LinkUp
from edumeet_recording.node.journal import Journal
from edumeet_recording.node.registration import Identity, introduce, introduction
from edumeet_recording.wire import node_link as wire

FIRST_PAUSE_S = 0.25
LONGEST_PAUSE_S = 4.0
"""Orchestrators that were away take silence for death soon after they are back (`control/health.py`, RECONNECT_S)."""
POSTING_S = 60.0
"""How long heartbeats are posted before a WebSocket is tried again."""
POST_INTERVAL_S = 1.0
RESEND_S = 5.0
WINDOW = 500
"""Journal entries under way at a time."""
_MAX_MESSAGE_BYTES = 64 * 1024 * 1024
_TIMEOUT_S = 5.0

_log = structlog.get_logger(__name__)


class Link:
    """`url` is where the orchestrator reaches the node's /health; `tell` gets what the orchestrator says."""

    def __init__(
        self, settings: NodeSettings, identity: Identity, url: str, journal: Journal, tell: Callable[[Event], None]
    ) -> None:
        self._settings = settings
        self._identity = identity
        self._introduction = introduction(settings, identity.node_id, url)
        self._journal = journal
        self._tell = tell
        self._outbox: deque[wire.Report | wire.Heartbeat] = deque()
        self.beat = wire.Heartbeat(load=wire.NodeLoad())
        """The latest."""
        self._wake = asyncio.Event()
        self._sent_seq = 0
        self._resend_at = 0.0
        self._pause = FIRST_PAUSE_S
        self.up = False
        """True while the orchestrator hears us."""

    def send(self, message: wire.Report | wire.Heartbeat) -> None:
        """Send now, if there is a link."""
        if isinstance(message, wire.Heartbeat):
            self.beat = message
        if self.up:
            self._outbox.append(message)
            self._wake.set()

    def journal_grew(self) -> None:
        """There are new entries to send."""
        self._wake.set()

    async def run(self) -> None:
        """Until cancelled."""
        async with httpx2.AsyncClient(trust_env=False) as client:
            while True:
                try:
                    await self._connect_once(client)
                except (OrchestratorError, OSError, TimeoutError, WebSocketException) as error:
                    _log.warning("no link to the orchestrator", error=str(error) or repr(error))
                finally:
                    self._down()
                await asyncio.sleep(self._pause * random.uniform(0.5, 1.0))  # noqa: S311 - jitter, not a secret
                self._pause = min(2 * self._pause, LONGEST_PAUSE_S)

    async def _connect_once(self, client: httpx2.AsyncClient) -> None:
        await introduce(client, self._settings, self._identity, self._introduction)
        base = self._settings.orchestrator_url.rstrip("/")
        try:
            async with connect(
                f"ws{base.removeprefix('http')}/api/nodes/ffmpeg-nodes/{self._identity.node_id}/link",
                additional_headers=self._authorization,
                open_timeout=_TIMEOUT_S,
                close_timeout=1,
                ping_interval=_TIMEOUT_S,
                ping_timeout=2 * _TIMEOUT_S,
                max_size=_MAX_MESSAGE_BYTES,
                compression=None,
                proxy=None,
            ) as connection:
                await self._speak(connection)
        except InvalidStatus as refusal:
            await self._refused(client, refusal.response.status_code)

    async def _refused(self, client: httpx2.AsyncClient, status: int) -> None:
        if status in (401, 404):
            self._identity.forget()
        elif status != 403 and 400 <= status < 500:
            _log.warning("the WebSocket was refused: heartbeats are posted instead", status=status)
            await self._post(client)
            return
        raise Unavailable(f"the orchestrator refused the link with {status}")

    @property
    def _authorization(self) -> dict[str, str]:
        return {"Authorization": f"Bearer {self._identity.token}"}

    def _came_up(self) -> None:
        self.up = True
        self._pause = FIRST_PAUSE_S
        self._sent_seq = 0
        self._tell(LinkUp())

    def _down(self) -> None:
        self.up = False
        self._outbox.clear()

    async def _speak(self, connection: ClientConnection) -> None:
        hello = wire.Hello(
            node_id=self._identity.node_id,
            version=version("edumeet-recording"),
            storages=tuple(self._settings.storage_regions),
            codecs=tuple(Codec),
        )
        await connection.send(hello.to_json())
        self._came_up()
        self._outbox.append(self.beat)
        self._wake.set()
        async with asyncio.TaskGroup() as group:
            sending = group.create_task(self._send_all(connection))
            try:
                async for text in connection:
                    if not self._hear(text):
                        break
            except ConnectionClosed as closed:
                _log.warning("the link closed", reason=str(closed))
            sending.cancel()

    async def _send_all(self, connection: ClientConnection) -> None:
        loop = asyncio.get_running_loop()
        while True:
            await self._wake.wait()
            self._wake.clear()
            try:
                while self._outbox:
                    await connection.send(self._outbox.popleft().to_json())
                if (entries := self._entries_due(loop.time())) is not None:
                    await connection.send(wire.Journal(entries=entries).to_json())
            except ConnectionClosed:
                return  # the reader sees it too, and says so

    def _entries_due(self, now: float) -> tuple[wire.JournalEntry, ...] | None:
        """Entries of the window that were not sent on this link, or all of it where no acknowledgement comes."""
        window = self._journal.pending[:WINDOW]
        if now >= self._resend_at:
            self._sent_seq = 0
        due = tuple(entry for entry in window if entry.seq > self._sent_seq)
        if not due:
            return None
        self._sent_seq = due[-1].seq
        self._resend_at = now + RESEND_S
        return due

    def _hear(self, text: str | bytes) -> bool:
        """Pass on what the orchestrator says; False where it sends us away."""
        try:
            message = wire.ORCHESTRATOR_MESSAGE.validate_json(text)
        except ValidationError as error:
            _log.warning("a message of the orchestrator does not parse", error=str(error))
            return True
        match message:
            case wire.Desired():
                self._tell(DesiredReceived(message))
            case wire.Ack():
                self._tell(JournalAcked(message.up_to))
                self._wake.set()
            case wire.RequestKeyFrame():
                self._tell(KeyFrameRequested(message))
            case wire.Goaway():
                _log.info("the orchestrator sends us to another", reason=message.reason)
                return False
        return True

    async def _post(self, client: httpx2.AsyncClient) -> None:
        """Heartbeats by HTTP for a while. Raises `Unavailable` where they are not taken either."""
        loop = asyncio.get_running_loop()
        until = loop.time() + POSTING_S
        while loop.time() < until:
            beat = self.beat
            body = wire.HeartbeatPost(
                node_id=self._identity.node_id,
                load=beat.load,
                captures=beat.captures,
                finalizing=beat.finalizing,
                journal=self._journal.pending[:WINDOW],
            )
            answer = await self._post_once(client, body)
            if not self.up:
                self._came_up()
            self._tell(DesiredReceived(answer.desired))
            self._tell(JournalAcked(answer.ack))
            await asyncio.sleep(POST_INTERVAL_S)

    async def _post_once(self, client: httpx2.AsyncClient, body: wire.HeartbeatPost) -> wire.HeartbeatAnswer:
        try:
            answer = await client.post(
                f"{self._settings.orchestrator_url.rstrip('/')}/api/nodes/ffmpeg-nodes/heartbeat",
                content=body.to_json(),
                headers={**self._authorization, "Content-Type": "application/json"},
                timeout=_TIMEOUT_S,
            )
            if answer.status_code in (401, 404):
                self._identity.forget()
            answer.raise_for_status()
            return wire.HeartbeatAnswer.model_validate_json(answer.text)
        except (httpx2.HTTPError, ValidationError) as error:
            raise Unavailable(f"the heartbeat was not taken: {error}") from error
