"""The room server contract over HTTP: one route a request, and `/health`."""

from collections.abc import Awaitable, Callable

import pydantic
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from edumeet_recording.sim.rooms import Rooms
from edumeet_recording.wire.room_link import ROOM_REQUEST, RequestRefused

_STATUS = {"no_such_room": 404, "no_such_peer": 404, "no_such_stream": 409, "bad_srtp_key": 400}
_REQUESTS = ("configure-rtp-forwarding", "stop-rtp-forwarding", "request-key-frame")


def room_app(rooms: Rooms) -> Starlette:
    """The application."""

    def answer(kind: str) -> Callable[[Request], Awaitable[Response]]:
        async def endpoint(request: Request) -> Response:
            return await _answer(rooms, kind, request)

        return endpoint

    async def health(_request: Request) -> Response:
        room_count, peer_count = rooms.size
        return JSONResponse({"status": "healthy", "rooms": room_count, "peers": peer_count})

    routes = [Route(f"/{kind}", answer(kind), methods=["POST"]) for kind in _REQUESTS]
    return Starlette(routes=[*routes, Route("/health", health)])


async def _answer(rooms: Rooms, kind: str, request: Request) -> Response:
    try:
        body = await request.json()
        asked = ROOM_REQUEST.validate_python({**body, "type": kind})
    except (ValueError, TypeError) as error:
        reason = str(error) if isinstance(error, pydantic.ValidationError) else "the body is not a JSON object"
        return JSONResponse({"code": "invalid_request", "error": reason}, 400)
    result = rooms.handle(asked)
    status = _STATUS.get(result.code, 503) if isinstance(result, RequestRefused) else 200
    fields = result.model_dump(mode="json", by_alias=True, exclude_none=True, exclude={"type", "request_id"})
    return JSONResponse(fields, status)
