"""HTTP/1.1 over connections that are kept open, for those who ask a service of ours thousands of times a second.

It knows what our own API answers, and no more: a status, a Content-Length, a body.
"""

import asyncio
import time
from collections.abc import Mapping
from dataclasses import dataclass
from urllib.parse import urlsplit

from edumeet_recording.domain.errors import Unavailable

KEPT_S = 3.0
"""uvicorn closes what was idle for five."""
_END = b"\r\n\r\n"
_LENGTH = b"content-length:"


@dataclass(frozen=True, slots=True)
class _Idle:
    reader: asyncio.StreamReader
    writer: asyncio.StreamWriter
    since: float


@dataclass(frozen=True, slots=True)
class Answer:
    """What came back."""

    status: int
    body: bytes


class LeanClient:
    """At most `connections` requests at a time; an async context manager would have nothing to wait for."""

    def __init__(self, url: str, headers: Mapping[str, str], connections: int) -> None:
        where = urlsplit(url)
        if where.hostname is None or where.port is None:
            raise ValueError(f"{url} names no host and port")
        self._address = (where.hostname, where.port)
        lines = "".join(f"{name}: {value}\r\n" for name, value in headers.items())
        self._head = f"Host: {where.netloc}\r\nContent-Type: application/json\r\n{lines}".encode()
        self._places = asyncio.Semaphore(connections)
        self._idle: list[_Idle] = []

    async def get(self, path: str) -> Answer:
        """The answer, whatever its status. Raises `Unavailable` where none comes."""
        return await self._ask("GET", path, b"")

    async def post(self, path: str, body: bytes = b"") -> Answer:
        """The answer, whatever its status. Raises `Unavailable` where none comes, though we may have been heard."""
        return await self._ask("POST", path, body)

    async def _ask(self, method: str, path: str, body: bytes) -> Answer:
        line = f"{method} {path} HTTP/1.1\r\n".encode()
        head = line + self._head + b"Content-Length: %d\r\n\r\n" % len(body)
        async with self._places:
            try:
                reader, writer = self._kept() or await asyncio.open_connection(*self._address)
                writer.write(head + body)
                answer = await _answer(reader)
            except (OSError, asyncio.IncompleteReadError) as error:
                raise Unavailable(f"{method} {path}: {error or type(error).__name__}") from error
            self._idle.append(_Idle(reader, writer, time.monotonic()))
        return answer

    def close(self) -> None:
        """Close what is kept open."""
        for idle in self._idle:
            idle.writer.close()
        self._idle.clear()

    def _kept(self) -> tuple[asyncio.StreamReader, asyncio.StreamWriter] | None:
        """A connection that the service will not close while we use it; the last one used is the last to go cold."""
        if self._idle and time.monotonic() - self._idle[-1].since < KEPT_S:
            idle = self._idle.pop()
            return idle.reader, idle.writer
        self.close()
        return None


async def _answer(reader: asyncio.StreamReader) -> Answer:
    head = (await reader.readuntil(_END)).lower()
    begins = head.find(_LENGTH)
    length = 0 if begins < 0 else int(head[begins + len(_LENGTH) : head.index(b"\r", begins)])
    return Answer(int(head[9:12]), await reader.readexactly(length))
