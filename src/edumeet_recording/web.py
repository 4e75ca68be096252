"""Serves an ASGI app until told to stop; signals are the caller's affair."""

import asyncio
import socket
from collections.abc import Callable
from typing import Any

import uvicorn

GRACE_S = 3


async def serve(app: Any, listening: socket.socket, stop: asyncio.Event, started: Callable[[], None]) -> None:
    """Serve `app` on a bound socket until `stop`; open requests get `GRACE_S` seconds to end.

    `started` is called once requests are answered. WebSocket deflate is off: it costs more CPU than it saves here.
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
    config.load()
    server = uvicorn.Server(config)
    server.lifespan = config.lifespan_class(config)
    await server.startup(sockets=[listening])
    if server.should_exit:
        raise RuntimeError("the HTTP server did not start")
    started()
    async with asyncio.TaskGroup() as tasks:
        loop = tasks.create_task(server.main_loop())
        await stop.wait()
        server.should_exit = True
        await loop
    await server.shutdown(sockets=[listening])
