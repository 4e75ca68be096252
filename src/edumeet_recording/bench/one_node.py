"""Stands in for the orchestrator towards one node: benches and tests of a node alone say here what it should do."""

import asyncio
import socket
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route, WebSocketRoute
from starlette.websockets import WebSocket, WebSocketDisconnect

from edumeet_recording.web import serve
from edumeet_recording.wire import node_link as wire

_PREFIX = "/api/nodes/ffmpeg-nodes"


class OneNode:
    """What the node was told and what it says. `acks` false: the journal is heard but not acknowledged."""

    def __init__(self, url: str) -> None:
        self.url = url
        self.acks = True
        self.refuse_link: int | None = None
        """HTTP status that the link is refused with."""
        self.token = "token-1"  # noqa: S105 - of a stand-in
        self.registrations: list[dict[str, object]] = []
        self.secrets: list[str | None] = []
        self.refuse_registration = False
        self.links = 0
        self.posts = 0
        self.heartbeat: wire.Heartbeat | None = None
        self.captures: dict[str, wire.CaptureReport] = {}
        self.journal: dict[int, wire.JournalBody] = {}
        self._desired = wire.Desired(revision=1)
        self._link: WebSocket | None = None

    @property
    def app(self) -> Starlette:
        """The endpoints a node uses."""
        return Starlette(
            routes=[
                Route(f"{_PREFIX}/register", self._register, methods=["POST"]),
                Route(f"{_PREFIX}/heartbeat", self._heartbeat, methods=["POST"]),
                WebSocketRoute(f"{_PREFIX}/{{node_id}}/link", self._serve_link),
            ]
        )

    async def want(self, *captures: wire.DesiredCapture, finalize: tuple[wire.FinalizeTask, ...] = ()) -> None:
        """From now on the node should have these."""
        self._desired = wire.Desired(revision=self._desired.revision + 1, captures=captures, finalize=finalize)
        await self.say(self._desired)

    async def say(self, message: wire.OrchestratorMessage) -> None:
        """Send a message, if there is a link."""
        if self._link is not None:
            await self._link.send_text(message.to_json())

    async def hang_up(self) -> None:
        """Close the link; the node will open another."""
        if self._link is not None:
            await self._link.close()

    def journaled(self, kind: type[wire.JournalBody]) -> list[wire.JournalBody]:
        """The facts of one kind, in the order of their numbers."""
        return [body for _, body in sorted(self.journal.items()) if isinstance(body, kind)]

    async def _register(self, request: Request) -> Response:
        body: dict[str, object] = await request.json()
        self.registrations.append(body)
        self.secrets.append(request.headers.get("x-registration-secret"))
        if self.refuse_registration:
            return Response(status_code=403)
        return JSONResponse({"nodeId": body["nodeId"], "token": self.token}, status_code=201)

    async def _heartbeat(self, request: Request) -> Response:
        if request.headers.get("authorization") != f"Bearer {self.token}":
            return Response(status_code=401)
        self.posts += 1
        post = wire.HeartbeatPost.model_validate_json(await request.body())
        self._note(wire.Heartbeat(load=post.load, captures=post.captures, finalizing=post.finalizing))
        self._note(wire.Journal(entries=post.journal))
        answer = wire.HeartbeatAnswer(desired=self._desired, ack=self._up_to)
        return Response(answer.to_json(), media_type="application/json")

    async def _serve_link(self, link: WebSocket) -> None:
        status = self.refuse_link
        if link.headers.get("authorization") != f"Bearer {self.token}":
            status = 401
        if status is not None:
            await link.send_denial_response(Response(status_code=status))
            return
        await link.accept()
        self._link = link
        self.links += 1
        try:
            while True:
                message = wire.NODE_MESSAGE.validate_json(await link.receive_text())
                if isinstance(message, wire.Hello):
                    await link.send_text(self._desired.to_json())
                self._note(message)
                if isinstance(message, wire.Journal) and self.acks:
                    await link.send_text(wire.Ack(up_to=self._up_to).to_json())
        except WebSocketDisconnect:
            self._link = None

    @property
    def _up_to(self) -> int:
        return max(self.journal, default=0)

    def _note(self, message: wire.NodeMessage) -> None:
        if isinstance(message, wire.Heartbeat):
            self.heartbeat = message
        if isinstance(message, wire.Heartbeat | wire.Report):
            self.captures.update({report.capture_id: report for report in message.captures})
        if isinstance(message, wire.Journal):
            self.journal.update({entry.seq: entry.body for entry in message.entries})


@asynccontextmanager
async def one_node() -> AsyncGenerator[OneNode]:
    """The stand-in on a loopback port of its own."""
    listening = socket.create_server(("127.0.0.1", 0))
    stand_in = OneNode(f"http://127.0.0.1:{listening.getsockname()[1]}")
    stop, answers = asyncio.Event(), asyncio.Event()
    failure: BaseException | None = None
    async with asyncio.TaskGroup() as group:
        group.create_task(serve(stand_in.app, listening, stop, answers.set))
        await answers.wait()
        try:
            yield stand_in
        except BaseException as error:  # noqa: BLE001 - raised again below: inside, it would cut the server off
            failure = error
        await stand_in.hang_up()
        stop.set()
    if failure:
        raise failure
