"""One HTTP connection pool to the service: requests that are safe to repeat are, and every no is a typed error."""

from collections.abc import AsyncGenerator, Mapping
from contextlib import asynccontextmanager
from types import TracebackType
from typing import Any, Self

import httpx2
import stamina

from edumeet_recording.client.errors import ApiError, error_of, mapped_errors
from edumeet_recording.domain.errors import Unavailable

TIMEOUT = httpx2.Timeout(20.0, connect=5.0)
ATTEMPTS = 4
LONGEST_PAUSE_S = 10.0
"""A `Retry-After` beyond this is the caller's to wait for."""

_PASSING = frozenset({502, 503, 504})


class Connection:
    """An async context manager. `transport` stands in for the network, for those who have the service at hand."""

    def __init__(self, base_url: str, token: str, transport: httpx2.AsyncBaseTransport | None = None) -> None:
        self.base_url = base_url.rstrip("/")
        self.authorization = {"Authorization": f"Bearer {token}"} if token else {}
        with mapped_errors(self.base_url):
            self._http = httpx2.AsyncClient(base_url=self.base_url, timeout=TIMEOUT, transport=transport)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._http.aclose()

    async def request(
        self,
        method: str,
        path: str,
        *,
        params: Mapping[str, Any] | None = None,
        body: str | None = None,
        headers: Mapping[str, str] | None = None,
        repeatable: bool = True,
    ) -> httpx2.Response:
        """The answer, read whole. Raises `ApiError` or `Unavailable`.

        A `repeatable` request is sent again, with growing pauses or as `Retry-After` says, while the service is away.
        """
        async for attempt in stamina.retry_context(
            on=pause_before_next, attempts=ATTEMPTS if repeatable else 1, timeout=None, wait_max=LONGEST_PAUSE_S
        ):
            with attempt:
                return await self._once(method, path, params, body, headers or {})
        raise AssertionError("the last attempt returns or raises")

    async def _once(
        self, method: str, path: str, params: Mapping[str, Any] | None, body: str | None, headers: Mapping[str, str]
    ) -> httpx2.Response:
        json = {"Content-Type": "application/json"} if body is not None else {}
        with mapped_errors(self.base_url):
            response = await self._http.request(
                method, path, params=params, content=body, headers={**self.authorization, **json, **headers}
            )
        if response.status_code >= 400:
            raise error_of(response, response.content)
        return response

    @asynccontextmanager
    async def stream(self, path: str, headers: Mapping[str, str]) -> AsyncGenerator[httpx2.Response]:
        """An answer whose body is still to be read. Raises as `request`, also while it is read; is never repeated.

        A redirect, to a signed URL of the object storage, is followed without our token.
        """
        with mapped_errors(self.base_url):
            async with self._http.stream("GET", path, headers={**self.authorization, **headers}) as response:
                if not response.has_redirect_location:
                    yield await _checked(response)
                    return
                location = response.url.join(response.headers["location"])
            async with self._http.stream("GET", location, headers=dict(headers)) as response:
                yield await _checked(response)


async def _checked(response: httpx2.Response) -> httpx2.Response:
    if response.status_code >= 400:
        raise error_of(response, await response.aread())
    return response


def pause_before_next(error: Exception) -> bool | float:
    """Whether another attempt may help; a number is the pause in seconds before it."""
    if isinstance(error, Unavailable):
        return error.code == "unreachable"
    if not isinstance(error, ApiError) or error.status not in _PASSING:
        return False
    if error.retry_after_s is None:
        return True
    return error.retry_after_s <= LONGEST_PAUSE_S and error.retry_after_s
