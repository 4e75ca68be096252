"""The room server contract over the link that the room server opened to us."""

import asyncio
from collections.abc import Awaitable, Callable
from uuid import uuid4

from edumeet_recording.rooms.base import RoomServerRefused, RoomServerUnreachable
from edumeet_recording.wire.room_link import (
    Configured,
    ConfigureForwarding,
    Done,
    RequestKeyFrameOf,
    RequestRefused,
    StopForwarding,
)

Request = ConfigureForwarding | StopForwarding | RequestKeyFrameOf
Result = Configured | Done | RequestRefused


class LinkedRoomServer:
    """A room server behind its link; who reads the link hands results to `deliver`, and calls `close` at its end."""

    def __init__(self, server_id: str, send: Callable[[str], Awaitable[None]], timeout_s: float) -> None:
        self._server_id = server_id
        self._send = send
        self._timeout_s = timeout_s
        self._waiting: dict[str, asyncio.Future[Result]] = {}

    def deliver(self, result: Result) -> None:
        """A result came; one that nobody waits for any more is dropped."""
        waiting = self._waiting.pop(result.request_id, None)
        if waiting is not None and not waiting.done():
            waiting.set_result(result)

    async def settled(self, timeout_s: float) -> None:
        """Return once nothing that was asked by now waits for its result, or after `timeout_s`."""
        if self._waiting:
            await asyncio.wait(self._waiting.values(), timeout=timeout_s)

    def close(self) -> None:
        """The link is gone: nobody waits in vain."""
        for waiting in self._waiting.values():
            if not waiting.done():
                waiting.set_exception(RoomServerUnreachable(f"{self._server_id} closed its link"))
        self._waiting.clear()

    async def configure(self, request: ConfigureForwarding) -> Configured:
        """Have a peer's RTP sent to a node."""
        result = await self._request(request)
        if not isinstance(result, Configured):
            raise RoomServerRefused(f"{self._server_id} answered {result.type} to {request.type}")
        return result

    async def tell(self, request: StopForwarding | RequestKeyFrameOf) -> None:
        """Have forwarding stopped, or a key frame asked for."""
        await self._request(request)

    async def _request(self, request: Request) -> Result:
        request_id = uuid4().hex
        waiting: asyncio.Future[Result] = asyncio.get_running_loop().create_future()
        self._waiting[request_id] = waiting
        try:
            async with asyncio.timeout(self._timeout_s):
                await self._send(request.model_copy(update={"request_id": request_id}).to_json())
                result = await waiting
        except TimeoutError as error:
            message = f"{self._server_id} did not answer {request.type} within {self._timeout_s:g} s"
            raise RoomServerUnreachable(message) from error
        finally:
            self._waiting.pop(request_id, None)
        if isinstance(result, RequestRefused):
            raise RoomServerRefused(f"{self._server_id}: {result.error}", code=result.code)
        return result
