"""The least of an orchestrator: it registers one room server, and keeps what it hears."""

import asyncio
import contextlib
import json
import socket
from collections.abc import AsyncIterator
from itertools import count
from typing import Any

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route, WebSocketRoute
from starlette.websockets import WebSocket, WebSocketDisconnect

from edumeet_recording import web
from edumeet_recording.wire.room_link import ROOM_MESSAGE, RoomMessage, RoomRequest

SECRET = "registration-secret"  # noqa: S105 - a test's


class Orchestrator:
    """`refusals`: how many more registrations are refused with 503."""

    def __init__(self) -> None:
        self.url = ""
        self.refusals = 0
        self.registrations: list[tuple[dict[str, Any], dict[str, str]]] = []
        self.posted: list[RoomMessage] = []
        self.messages: list[RoomMessage] = []
        self.disconnects: list[int] = []
        self.link: WebSocket | None = None
        self._tokens = count(1)
        self._token = ""

    async def ask(self, request: RoomRequest) -> RoomMessage:
        """Sends a request over the link; the next message that is no heartbeat."""
        return await self.ask_raw(request.to_json())

    async def ask_raw(self, text: str) -> RoomMessage:
        """The same for what need not be a request."""
        assert self.link is not None
        so_far = len(self.messages)
        await self.link.send_text(text)
        async with asyncio.timeout(5):
            while True:
                for message in self.messages[so_far:]:
                    if message.type != "heartbeat":
                        return message
                await asyncio.sleep(0.01)

    @contextlib.asynccontextmanager
    async def serving(self) -> AsyncIterator[None]:
        """Reachable at `url` inside the context."""
        routes = [
            Route("/api/nodes/room-servers/register", self._register, methods=["POST"]),
            Route("/api/nodes/room-servers/heartbeat", self._heartbeat, methods=["POST"]),
            WebSocketRoute("/api/nodes/room-servers/{server_id}/link", self._serve_link),
        ]
        listening = socket.create_server(("127.0.0.1", 0))
        self.url = f"http://127.0.0.1:{listening.getsockname()[1]}"
        stop, started = asyncio.Event(), asyncio.Event()
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(web.serve(Starlette(routes=routes), listening, stop, started.set))
            await started.wait()
            try:
                yield
            finally:
                stop.set()

    async def _register(self, request: Request) -> Response:
        self.registrations.append((await request.json(), dict(request.headers)))
        if request.headers.get("X-Registration-Secret") != SECRET:
            return JSONResponse({"title": "registration secret"}, 401)
        if self.refusals:
            self.refusals -= 1
            return JSONResponse({"title": "away"}, 503)
        self._token = f"token-{next(self._tokens)}"
        return JSONResponse({"nodeId": self.registrations[-1][0]["serverId"], "token": self._token}, 201)

    async def _heartbeat(self, request: Request) -> Response:
        if request.headers.get("Authorization") != f"Bearer {self._token}":
            return JSONResponse({"title": "token"}, 401)
        message = {"type": "heartbeat", **json.loads(await request.body())}
        self.posted.append(ROOM_MESSAGE.validate_python(message))
        return JSONResponse({})

    async def _serve_link(self, link: WebSocket) -> None:
        if link.headers.get("Authorization") != f"Bearer {self._token}":
            await link.close()
            return
        await link.accept()
        self.link = link
        try:
            while True:
                self.messages.append(ROOM_MESSAGE.validate_json(await link.receive_text()))
        except WebSocketDisconnect as error:
            self.link = None
            self.disconnects.append(error.code)

    def forget(self) -> None:
        """The token given last is no longer good."""
        self._token = ""
