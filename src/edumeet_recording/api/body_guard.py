"""ASGI middleware before everything: bounds bodies, settles their content type, adds the security headers."""

from http import HTTPStatus

from starlette.datastructures import Headers, MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from edumeet_recording.api.errors import problem

SECURITY_HEADERS = {
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Referrer-Policy": "no-referrer",
    "Cache-Control": "no-store",
}


class BodyGuard:
    """Reads a request's whole body, at most `max_body_bytes`, before the app sees the request."""

    def __init__(self, app: ASGIApp, max_body_bytes: int) -> None:
        self._app = app
        self._most = max_body_bytes

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answers 413 to a larger body."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        body = await self._read(Headers(scope=scope), receive)
        if body is None:
            answer = problem(
                scope["path"],
                HTTPStatus.REQUEST_ENTITY_TOO_LARGE,
                "body_too_large",
                f"the body has more than {self._most} bytes",
                headers={"Connection": "close"},
            )
            await answer(scope, receive, _with_security_headers(send))
            return
        await self._app(_as_json(scope) if body else scope, _replay(body, receive), _with_security_headers(send))

    async def _read(self, headers: Headers, receive: Receive) -> bytes | None:
        """The body, or None where it is too large; a client that goes away leaves what it sent."""
        announced = headers.get("content-length", "0")
        if announced.isdecimal() and int(announced) > self._most:
            return None
        body = bytearray()
        more = True
        while more:
            message = await receive()
            body += message.get("body", b"")
            if len(body) > self._most:
                return None
            more = message.get("more_body", False)
        return bytes(body)


def _as_json(scope: Scope) -> Scope:
    """The request as JSON whatever its content type says: `curl -d` says it is a form.

    Not so for a browser, which names its origin: a foreign page must not get past CORS by sending a form.
    """
    headers = MutableHeaders(raw=list(scope["headers"]))
    if "origin" not in headers:
        headers["content-type"] = "application/json"
    return {**scope, "headers": headers.raw}


def _replay(body: bytes, receive: Receive) -> Receive:
    pending = True

    async def replay() -> Message:
        nonlocal pending
        if pending:
            pending = False
            return {"type": "http.request", "body": body, "more_body": False}
        return await receive()

    return replay


def _with_security_headers(send: Send) -> Send:
    async def guarded(message: Message) -> None:
        if message["type"] == "http.response.start":
            headers = MutableHeaders(scope=message)
            for name, value in SECURITY_HEADERS.items():
                headers.setdefault(name, value)
        await send(message)

    return guarded
