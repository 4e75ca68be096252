"""Serves an ASGI app until told to stop; signals are the caller's affair."""

import asyncio
import socket
from collections.abc import Callable, Generator
from contextlib import contextmanager
from typing import Any

import uvicorn

GRACE_S = 3


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
    config = uvicorn.Config(
        app,
        log_config=None,
        access_log=False,
        ws="websockets-sansio",
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
