"""The links of nodes and room servers: a thin shell that admits a WebSocket and hands it to the control plane."""

import re
from collections.abc import Callable

import structlog
from fastapi import APIRouter, WebSocket
from starlette.websockets import WebSocketDisconnect, WebSocketState

from edumeet_recording.api.deps import Links, deps_of
from edumeet_recording.api.errors import problem_of
from edumeet_recording.control.link_transport import LinkClosed
from edumeet_recording.domain.errors import OrchestratorError, Unauthenticated
from edumeet_recording.store.nodes import NodeKind
from edumeet_recording.web import LISTENING
from edumeet_recording.wire.http import IDENTIFIER

GOING_AWAY = 1001
NUL = "\\u0000"

log = structlog.get_logger()
router = APIRouter()


class WebSocketTransport:
    """A `LinkTransport` over a WebSocket that was accepted."""

    def __init__(self, socket: WebSocket) -> None:
        self._socket = socket

    async def receive(self) -> str:
        """The next text message. A message with bytes, or with a NUL that PostgreSQL would not keep, ends the link."""
        try:
            text = await self._socket.receive_text()
        except (WebSocketDisconnect, RuntimeError, KeyError) as error:
            # KeyError: a binary message; RuntimeError: we have closed it ourselves
            raise LinkClosed(str(error)) from error
        if NUL in text:
            raise LinkClosed("a message holds a NUL character")
        return text

    def listen(self, hear: Callable[[str], bool]) -> None:
        """As far as our server lets us."""

        def hear_what_can_be_kept(text: str) -> bool:
            return NUL not in text and hear(text)

        listening = self._socket.scope.get("extensions", {}).get(LISTENING)
        if listening is not None:
            listening["listen"](hear_what_can_be_kept)

    async def send(self, text: str) -> None:
        """Send a text message."""
        try:
            await self._socket.send_text(text)
        except (WebSocketDisconnect, RuntimeError, OSError) as error:
            raise LinkClosed(str(error)) from error

    async def close(self, code: int, reason: str) -> None:
        """Close, unless it is closed."""
        if self._socket.application_state is WebSocketState.DISCONNECTED:
            return
        try:
            await self._socket.close(code, reason)
        except (WebSocketDisconnect, RuntimeError, OSError):
            return


def bearer_of(socket: WebSocket) -> str | None:
    """The token of a WebSocket request: `Authorization: Bearer`, or `?token=` where no header can be set."""
    scheme, _, token = socket.headers.get("authorization", "").partition(" ")
    if scheme.lower() == "bearer" and token:
        return token.strip()
    return socket.query_params.get("token")


@router.websocket("/api/nodes/ffmpeg-nodes/{node_id}/link")
async def ffmpeg_node_link(socket: WebSocket, node_id: str) -> None:
    """The link of an FFmpeg node (`wire/node_link.py`)."""
    await _serve(socket, "ffmpeg-node", node_id, deps_of(socket).node_links)


@router.websocket("/api/nodes/room-servers/{server_id}/link")
async def room_server_link(socket: WebSocket, server_id: str) -> None:
    """The link of a room server (`wire/room_link.py`)."""
    await _serve(socket, "room-server", server_id, deps_of(socket).room_links)


async def _serve(socket: WebSocket, kind: NodeKind, node_id: str, links: Links) -> None:
    try:
        if re.fullmatch(IDENTIFIER, node_id) is None:
            raise Unauthenticated("there is no such node")
        await deps_of(socket).commands.authenticate_node(kind, node_id, bearer_of(socket))
    except OrchestratorError as error:
        await socket.send_denial_response(problem_of(socket.url.path, error))
        return
    await socket.accept()
    transport = WebSocketTransport(socket)
    try:
        await links.serve(node_id, transport)
    except* LinkClosed:
        pass
    except* OrchestratorError as errors:
        # such as a database that is away: the other side connects again, and says what has come of it
        log.warning("link_ended", kind=kind, node_id=node_id, error=_first(errors).message)
    finally:
        await transport.close(GOING_AWAY, "the orchestrator ends the link")


def _first(errors: BaseExceptionGroup[OrchestratorError]) -> OrchestratorError:
    """A link's tasks raise groups, and groups of them."""
    first = errors.exceptions[0]
    return _first(first) if isinstance(first, BaseExceptionGroup) else first
