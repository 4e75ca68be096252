"""Serves an ASGI app until told to stop; signals are the caller's affair."""

import asyncio
import socket
from collections.abc import Callable, Generator
from contextlib import contextmanager, suppress
from functools import lru_cache
from typing import Any

import uvicorn
from uvicorn.protocols.websockets.websockets_sansio_impl import WebSocketsSansIOProtocol
from websockets.frames import Frame, Opcode
from websockets.http11 import Request

GRACE_S = 3
LISTENING = "edumeet.listening"
"""Extension of a WebSocket's scope: its `listen` takes a function that gets text messages before they are received, and
says of each whether that was all."""
WRITING = "edumeet.writing"
"""Extension of a WebSocket's scope: its `write` sends a text at once, or says that it must wait, or is too late."""
SHARED_CHARACTERS = 2**16
"""What is longer is for one: its frame is not kept for others."""


@lru_cache(maxsize=4)
def _frame_of(text: str) -> bytes:
    """A text message as a server sends it (RFC 6455 §5.2), made once for all who get the same, one after the other."""
    return Frame(Opcode.TEXT, text.encode()).serialize(mask=False)


class _WebSockets(WebSocketsSansIOProtocol):
    """uvicorn's, with which an app may listen and write directly: what thousands say or are told each second needs no
    task's turn then.

    Messages keep their order: one is heard only where none before it waits to be received.
    """

    _hear: Callable[[str], bool] | None = None

    def handle_connect(self, event: Request) -> None:
        """Offer it to the app, which runs later."""
        super().handle_connect(event)
        if not self.close_sent:
            offered: dict[str, dict[object, object]] = {
                LISTENING: {"listen": self._listen},
                WRITING: {"write": self._write},
            }
            self.scope.setdefault("extensions", {}).update(offered)

    def handle_text(self, event: Frame) -> None:
        """Have it heard, else received."""
        if self._hear is None or not event.fin or self.close_sent or not self.queue.empty():
            super().handle_text(event)
            return
        try:
            heard = self._hear(bytes(event.data).decode())
        except UnicodeDecodeError:
            heard = False  # to be received, which ends the connection
        if not heard:
            super().handle_text(event)

    def _listen(self, hear: Callable[[str], bool]) -> None:
        self._hear = hear

    def _write(self, text: str) -> bool:
        there = self.handshake_complete and not self.close_sent and not self.transport.is_closing()
        if not there or not self.writable.is_set() or len(text) > SHARED_CHARACTERS:
            return False
        self.transport.write(_frame_of(text))
        return True


class _Server(uvicorn.Server):
    """uvicorn without its signal handlers, so that it can be one task among others."""

    def __init__(self, config: uvicorn.Config, answers: Callable[[], None]) -> None:
        super().__init__(config)
        self._answers = answers

    @contextmanager
    def capture_signals(self) -> Generator[None]:
        """Leave the signals alone."""
        yield

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Start, and say so."""
        await super().startup(sockets)
        if self.started:
            self._answers()


async def serve(app: Any, listening: socket.socket, stop: asyncio.Event, answers: Callable[[], None]) -> None:
    """Serve `app` on a bound socket until `stop`; open requests then get `GRACE_S` seconds to end.

    `answers` is called once requests are answered. WebSocket deflate is off: it costs more CPU than it saves here.
    """

    async def quietly(scope: Any, receive: Any, send: Any) -> None:
        # cancelled at the end: uvicorn would log a traceback for each of thousands of links, which takes minutes
        with suppress(asyncio.CancelledError):
            await app(scope, receive, send)

    config = uvicorn.Config(
        quietly,
        log_config=None,
        access_log=False,
        ws=_WebSockets,
        ws_per_message_deflate=False,
        timeout_graceful_shutdown=GRACE_S,
        server_header=False,
    )
    server = _Server(config, answers)
    async with asyncio.TaskGroup() as tasks:
        serving = tasks.create_task(server.serve(sockets=[listening]))
        await stop.wait()
        server.should_exit = True
        await serving
