"""What a link needs from the connection under it; the API implements it with a WebSocket."""

from collections.abc import Callable
from typing import Protocol


class LinkClosed(Exception):
    """The other side has gone."""


class LinkTransport(Protocol):
    """One ordered, reliable connection that carries text messages."""

    async def receive(self) -> str:
        """The next message. Raises `LinkClosed` when there will be none."""
        ...

    def listen(self, hear: Callable[[str], bool]) -> None:
        """Have `hear` get messages before `receive` does, where that saves work: those for which it says True are done
        with. Only one that no other is still to be received before. A transport need not do so.
        """
        ...

    async def send(self, text: str) -> None:
        """Send one message. Raises `LinkClosed` when it cannot arrive any more."""
        ...

    async def close(self, code: int, reason: str) -> None:
        """Close with a WebSocket close code (RFC 6455 §7.4); a closed one may be closed again."""
        ...
