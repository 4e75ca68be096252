"""A link over our own server: what is heard at once, and what waits its turn, come in the order they were sent."""

import asyncio

from fastapi import FastAPI, WebSocket
from tests.integration.api.conftest import listening
from tests.waiting import eventually

from edumeet_recording.api.links import WebSocketTransport
from edumeet_recording.control.link_transport import LinkClosed
from edumeet_recording.sim.fleet.link import LeanLink, frame_of


class Listener:
    """Hears what begins with a `!`, and receives the rest once it may."""

    def __init__(self) -> None:
        self.heard: list[str] = []
        self.said: list[str] = []
        self.may_receive = asyncio.Event()
        self.is_over = False
        self.app = FastAPI()
        self.app.websocket("/link")(self._serve)

    async def _serve(self, socket: WebSocket) -> None:
        await socket.accept()
        transport = WebSocketTransport(socket)
        transport.listen(self._hear)
        await transport.send("go on")
        await self.may_receive.wait()
        try:
            while True:
                self.said.append(await transport.receive())
        except LinkClosed:
            self.is_over = True

    def _hear(self, text: str) -> bool:
        if not text.startswith("!"):
            return False
        self.heard.append(text)
        self.said.append(text)
        return True


async def _link(host: str) -> LeanLink:
    told: list[str] = []
    link = await LeanLink.connect(f"ws://{host}/link", "a-token", told.append, lambda: None)
    await eventually(lambda: told == ["go on"])
    return link


def _frames(*texts: str) -> bytes:
    return b"".join(map(frame_of, texts))


async def test_a_message_is_heard_unless_another_before_it_is_still_to_be_received() -> None:
    listener = Listener()
    async with listening(listener.app) as host:
        link = await _link(host)
        link.send(_frames("!1", "!2", "3", "!4"))
        await eventually(lambda: listener.said == ["!1", "!2"])
        listener.may_receive.set()
        await eventually(lambda: listener.said == ["!1", "!2", "3", "!4"])
        link.send(_frames("!5"))
        await eventually(lambda: listener.heard == ["!1", "!2", "!5"])
        link.abort()
        await eventually(lambda: listener.is_over)


async def test_a_message_that_cannot_be_stored_is_not_heard_and_ends_the_link() -> None:
    listener = Listener()
    async with listening(listener.app) as host:
        link = await _link(host)
        listener.may_receive.set()
        link.send(_frames("!\\u0000"))
        await eventually(lambda: listener.is_over)
        assert listener.said == []
        link.abort()


async def test_bytes_that_are_no_text_are_not_heard_and_end_the_link() -> None:
    listener = Listener()
    async with listening(listener.app) as host:
        link = await _link(host)
        listener.may_receive.set()
        frame = bytearray(_frames("!a"))
        frame[-1] ^= 0x80
        link.send(bytes(frame))
        await eventually(lambda: listener.is_over)
        assert listener.said == []
        link.abort()
