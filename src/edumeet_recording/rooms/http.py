"""The room server contract over HTTP: `POST {url}/{type}`."""

import httpx2
from pydantic import ValidationError

from edumeet_recording.rooms.base import RoomServerRefused, RoomServerUnreachable
from edumeet_recording.wire.room_link import Configured, ConfigureForwarding, RequestKeyFrameOf, StopForwarding

MAX_ANSWER_BYTES = 65536


class HttpRoomServer:
    """A room server that is reached at its URL; `client` carries the time-out and is shared."""

    def __init__(self, url: str, client: httpx2.AsyncClient) -> None:
        self._url = url.rstrip("/")
        self._client = client

    async def configure(self, request: ConfigureForwarding) -> Configured:
        """Have a peer's RTP sent to a node."""
        answer = await self._post(request)
        try:
            return Configured.model_validate_json(answer)
        except ValidationError as error:
            raise RoomServerRefused(f"{self._url} answered what is not in the contract: {error}") from error

    async def tell(self, request: StopForwarding | RequestKeyFrameOf) -> None:
        """Have forwarding stopped, or a key frame asked for."""
        await self._post(request)

    async def _post(self, request: ConfigureForwarding | StopForwarding | RequestKeyFrameOf) -> bytes:
        target = f"{self._url}/{request.type}"
        body = request.model_dump_json(by_alias=True, exclude={"type", "request_id"}, exclude_none=True)
        try:
            answer = await self._client.post(target, content=body, headers={"Content-Type": "application/json"})
        except (httpx2.HTTPError, httpx2.InvalidURL, OSError) as error:
            raise RoomServerUnreachable(f"POST {target}: {error or type(error).__name__}") from error
        if answer.status_code >= 500:
            raise RoomServerUnreachable(f"POST {target} answered {answer.status_code}: {answer.text[:200]}")
        if answer.status_code != 200:
            raise RoomServerRefused(f"POST {target} answered {answer.status_code}: {answer.text[:200]}")
        return answer.content[:MAX_ANSWER_BYTES]
