"""A node's WebSocket link that is cheap enough to have thousands of: no task, no timer, frames made by the sender.

The handshake and what comes in are websockets' own; what goes out is written as it is, so that one frame, once made,
can be sent every second for as long as it says the truth.
"""

import asyncio
from collections.abc import Callable
from typing import cast

from websockets.client import ClientProtocol
from websockets.frames import Frame, Opcode
from websockets.http11 import Response
from websockets.protocol import State
from websockets.uri import parse_uri

from edumeet_recording.domain.errors import Unavailable

HANDSHAKE_S = 60.0
"""Long: thousands of nodes may come at once."""


def frame_of(text: str) -> bytes:
    """A text message as it goes over a client's link, masked (RFC 6455 §5.3)."""
    return Frame(Opcode.TEXT, text.encode()).serialize(mask=True)


class LeanLink(asyncio.Protocol):
    """`hear` gets each text message, `closed` is called once when the link is gone."""

    def __init__(self, url: str, token: str, hear: Callable[[str], None], closed: Callable[[], None]) -> None:
        self._websocket = ClientProtocol(parse_uri(url), max_size=None)
        self._token = token
        self._hear = hear
        self._closed = closed
        self._transport: asyncio.Transport | None = None
        self._parts: list[bytes] = []
        self._open = asyncio.get_running_loop().create_future()

    @classmethod
    async def connect(cls, url: str, token: str, hear: Callable[[str], None], closed: Callable[[], None]) -> "LeanLink":
        """Open a link. Raises `Unavailable` where it is refused or nobody answers."""
        where = parse_uri(url)
        link = cls(url, token, hear, closed)
        try:
            async with asyncio.timeout(HANDSHAKE_S):
                await asyncio.get_running_loop().create_connection(lambda: link, where.host, where.port)
                await link._open
        except (OSError, TimeoutError) as error:
            link.abort()
            raise Unavailable(f"no link to {url}: {error or type(error).__name__}") from error
        return link

    def send(self, frame: bytes) -> None:
        """Send a frame that `frame_of` made; nothing where the link is gone."""
        if self._transport is not None and not self._transport.is_closing():
            self._transport.write(frame)

    def abort(self) -> None:
        """Be gone, as after a power failure."""
        if self._transport is not None:
            self._transport.abort()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Ask for the WebSocket."""
        # uvloop's is none by inheritance
        self._transport = cast("asyncio.Transport", transport)
        request = self._websocket.connect()
        request.headers["Authorization"] = f"Bearer {self._token}"
        self._websocket.send_request(request)
        self._flush()

    def data_received(self, data: bytes) -> None:
        """Pass on each whole text message."""
        self._websocket.receive_data(data)
        for event in self._websocket.events_received():
            if isinstance(event, Response):
                self._answered()
            elif isinstance(event, Frame) and event.opcode in (Opcode.TEXT, Opcode.CONT):
                self._parts.append(bytes(event.data))
                if event.fin:
                    text = b"".join(self._parts).decode()
                    self._parts.clear()
                    self._hear(text)
        self._flush()

    def connection_lost(self, exc: Exception | None) -> None:
        """Say so, once."""
        if not self._open.done():
            self._open.set_exception(ConnectionError(str(exc or "closed during the handshake")))
        self._closed()

    def _answered(self) -> None:
        if self._open.done():
            return
        if self._websocket.state is State.OPEN:
            self._open.set_result(None)
        else:
            self._open.set_exception(ConnectionError(str(self._websocket.handshake_exc)))

    def _flush(self) -> None:
        """Pongs, and the answer to a closing handshake."""
        if self._transport is None:
            return
        for data in self._websocket.data_to_send():
            if data:
                self._transport.write(data)
            else:
                self._transport.close()
