"""A TCP port before a service, at which the network can fail: cut, stall, or answer every request with 500."""

import asyncio
import re
from collections.abc import AsyncGenerator, Sequence
from contextlib import asynccontextmanager, suppress
from enum import StrEnum

_BLOCK_BYTES = 65536
_CONNECT_TIMEOUT_S = 2.0
_LENGTH = re.compile(rb"\r\ncontent-length: *(\d+)", re.IGNORECASE)
_REFUSAL = b"HTTP/1.1 500 Internal Server Error\r\ncontent-length: 0\r\nconnection: close\r\n\r\n"


class Weather(StrEnum):
    """How the network is."""

    FAIR = "fair"
    CUT = "cut"
    """Connections are reset, new ones too."""
    STALLED = "stalled"
    """Connections stay and carry nothing; what was sent meanwhile arrives later."""
    REFUSING = "refusing"
    """Every HTTP request is answered with 500."""


class Proxy:
    """Passes connections on to the first of `targets` (ports on this machine) that accepts, another first each time."""

    def __init__(self, targets: Sequence[int] = ()) -> None:
        self.port = 0
        self.targets = list(targets)
        self.weather = Weather.FAIR
        self._flowing = asyncio.Event()
        self._flowing.set()
        self._next = 0
        self._open: set[asyncio.StreamWriter] = set()

    @property
    def url(self) -> str:
        """Of an HTTP service behind it."""
        return f"http://127.0.0.1:{self.port}"

    def turn(self, weather: Weather) -> None:
        """From now on the network is like this."""
        self.weather = weather
        if weather is Weather.STALLED:
            self._flowing.clear()
            return
        self._flowing.set()
        if weather is not Weather.FAIR:
            self.reset()

    def reset(self) -> None:
        """Cut the connections that are open; new ones are as the weather is."""
        for writer in self._open:
            writer.transport.abort()

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """One connection, until either side ends it."""
        self._open.add(writer)
        try:
            with suppress(OSError, asyncio.IncompleteReadError, asyncio.LimitOverrunError):
                await self._flowing.wait()
                match self.weather:
                    case Weather.FAIR:
                        await self._pass_on(reader, writer)
                    case Weather.REFUSING:
                        await _refuse(reader, writer)
                    case _:
                        pass
        finally:
            await self._close(writer)

    async def _close(self, writer: asyncio.StreamWriter) -> None:
        """What is still on its way arrives, unless the connection was cut."""
        writer.close()
        with suppress(OSError):
            await writer.wait_closed()
        self._open.discard(writer)

    async def _pass_on(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        there, back = await self._connected()
        self._open.add(back)
        try:
            async with asyncio.TaskGroup() as group:
                directions = [
                    group.create_task(self._pump(reader, back)),
                    group.create_task(self._pump(there, writer)),
                ]
                await asyncio.wait(directions, return_when=asyncio.FIRST_COMPLETED)
                for direction in directions:
                    direction.cancel()
        finally:
            await self._close(back)

    async def _connected(self) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        self._next += 1
        first = self._next % max(len(self.targets), 1)
        for port in (*self.targets[first:], *self.targets[:first]):
            with suppress(OSError):
                async with asyncio.timeout(_CONNECT_TIMEOUT_S):
                    return await asyncio.open_connection("127.0.0.1", port)
        raise ConnectionRefusedError("nobody is behind it")

    async def _pump(self, source: asyncio.StreamReader, sink: asyncio.StreamWriter) -> None:
        with suppress(OSError):
            while block := await source.read(_BLOCK_BYTES):
                await self._flowing.wait()
                sink.write(block)
                await sink.drain()


async def _refuse(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    head = await reader.readuntil(b"\r\n\r\n")
    found = _LENGTH.search(head)
    if found:
        await reader.readexactly(int(found[1]))
    writer.write(_REFUSAL)
    await writer.drain()


@asynccontextmanager
async def proxy(targets: Sequence[int] = ()) -> AsyncGenerator[Proxy]:
    """A proxy on a free port of this machine, as long as the block is open."""
    made = Proxy(targets)
    server = await asyncio.start_server(made.serve, "127.0.0.1", 0)
    made.port = server.sockets[0].getsockname()[1]
    try:
        yield made
    finally:
        server.close()
        made.turn(Weather.CUT)
        await server.wait_closed()
