"""A simulated room server's way to its orchestrator: it registers, then opens its link or posts heartbeats, for ever.

Whatever fails, it registers again after a pause that grows and is jittered.
"""

import asyncio
import json
import secrets
import time
from dataclasses import dataclass
from typing import Protocol
from urllib.parse import quote

import httpx2
import structlog
from pydantic import ValidationError
from websockets import CloseCode
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosedOK, WebSocketException

from edumeet_recording.wire.room_link import (
    ROOM_REQUEST,
    Configured,
    Done,
    PeerChanged,
    RequestRefused,
    RoomHeartbeat,
    RoomHello,
    RoomRequest,
)

log = structlog.get_logger()

HEARTBEAT_S = 5.0
_SHORTEST_PAUSE_S, _LONGEST_PAUSE_S = 0.25, 10.0
_ANSWER_S = 5.0


@dataclass(frozen=True, slots=True)
class Registration:
    """How the room server presents itself. `use_link`: open a link instead of being called at `url`."""

    orchestrator_url: str
    server_id: str
    url: str
    region: str = "default"
    capacity: int = 100
    secret: str = ""
    use_link: bool = False


class Rooms(Protocol):
    """What a room server answers for."""

    @property
    def size(self) -> tuple[int, int]:
        """Rooms and peers."""
        ...

    def handle(self, request: RoomRequest) -> Configured | Done | RequestRefused:
        """The answer to a request."""
        ...


class RoomLink:
    """The connection to an orchestrator; `registered` is set once it has accepted us."""

    def __init__(self, registration: Registration, rooms: Rooms) -> None:
        self.registered = asyncio.Event()
        self._registration = registration
        self._rooms = rooms
        self._changes: asyncio.Queue[PeerChanged] = asyncio.Queue()
        self._token = ""
        self._connection: ClientConnection | None = None

    async def run(self) -> None:
        """Stays connected until cancelled."""
        pause_s = _SHORTEST_PAUSE_S
        async with httpx2.AsyncClient(base_url=self._registration.orchestrator_url, timeout=_ANSWER_S) as client:
            while True:
                try:
                    await self._register(client)
                    pause_s = _SHORTEST_PAUSE_S
                    await (self._serve_link() if self._registration.use_link else self._post_heartbeats(client))
                except ConnectionClosedOK as error:
                    log.info("sent_to_another_orchestrator", server_id=self._registration.server_id, error=str(error))
                except (OSError, TimeoutError, httpx2.HTTPError, WebSocketException, ValueError) as error:
                    log.warning("orchestrator_away", server_id=self._registration.server_id, error=repr(error))
                await asyncio.sleep(pause_s * (0.5 + secrets.randbelow(501) / 1000))
                pause_s = min(2 * pause_s, _LONGEST_PAUSE_S)

    def abort(self) -> None:
        """Cuts the link as a crash would, without a closing handshake."""
        if self._connection is not None:
            self._connection.transport.abort()

    def changed(self, room_id: str, peer_id: str) -> None:
        """What a peer publishes has changed: the orchestrator is told where there is a link."""
        if self._registration.use_link:
            self._changes.put_nowait(PeerChanged(room_id=room_id, peer_id=peer_id))

    async def _register(self, client: httpx2.AsyncClient) -> None:
        us = self._registration
        headers = {"X-Registration-Secret": us.secret} if us.secret else {}
        body = {"serverId": us.server_id, "url": us.url, "region": us.region, "capacity": us.capacity, "specs": {}}
        answer = await client.post(
            "/api/nodes/room-servers/register", json=body, headers={**headers, **self._authorization()}
        )
        answer.raise_for_status()
        self._token = answer.json()["token"]
        self.registered.set()

    async def _post_heartbeats(self, client: httpx2.AsyncClient) -> None:
        while True:
            answer = await client.post(
                "/api/nodes/room-servers/heartbeat",
                content=self._heartbeat(),
                headers={"Content-Type": "application/json", **self._authorization()},
            )
            answer.raise_for_status()
            await asyncio.sleep(HEARTBEAT_S)

    async def _serve_link(self) -> None:
        us = self._registration
        base = us.orchestrator_url.rstrip("/").replace("http", "ws", 1)
        url = f"{base}/api/nodes/room-servers/{quote(us.server_id, safe='')}/link"
        async with connect(url, additional_headers=self._authorization(), compression=None) as self._connection:
            await self._connection.send(RoomHello(server_id=us.server_id).to_json())
            try:
                async with asyncio.TaskGroup() as group:
                    group.create_task(self._tell_changes(self._connection))
                    group.create_task(self._answer_requests(self._connection))
            except ExceptionGroup as ended:
                raise ended.exceptions[0] from None
            finally:
                await self._connection.close(CloseCode.GOING_AWAY)

    async def _tell_changes(self, connection: ClientConnection) -> None:
        """Until the connection ends, which raises."""
        while True:
            change = await self._changes.get()
            await connection.send(change.to_json())

    async def _answer_requests(self, connection: ClientConnection) -> None:
        """Until the connection ends, which raises."""
        next_heartbeat = time.monotonic()
        while True:
            try:
                async with asyncio.timeout(max(0.0, next_heartbeat - time.monotonic())):
                    text = await connection.recv()
            except TimeoutError:
                await connection.send(self._heartbeat())
                next_heartbeat = time.monotonic() + HEARTBEAT_S
                continue
            await connection.send(self._answer(text))

    def _answer(self, text: str | bytes) -> str:
        try:
            return self._rooms.handle(ROOM_REQUEST.validate_json(text)).to_json()
        except ValidationError as error:
            refusal = RequestRefused(request_id=_request_id(text), code="invalid_request", error=str(error))
            return refusal.to_json()

    def _heartbeat(self) -> str:
        rooms, peers = self._rooms.size
        return RoomHeartbeat(server_id=self._registration.server_id, rooms=rooms, peers=peers).to_json()

    def _authorization(self) -> dict[str, str]:
        return {"Authorization": f"Bearer {self._token}"} if self._token else {}


def _request_id(text: str | bytes) -> str:
    """The id in a message that is otherwise not understood."""
    try:
        message = json.loads(text)
    except ValueError:
        return ""
    return str(message.get("requestId", "")) if isinstance(message, dict) else ""
