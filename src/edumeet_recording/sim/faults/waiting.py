"""Waiting for the service to get somewhere, with a deadline that says what was still missing."""

import asyncio
import time
from collections.abc import Awaitable, Callable
from typing import TypeVar

from edumeet_recording.client.errors import ApiError
from edumeet_recording.domain.errors import Unavailable

Found = TypeVar("Found")
POLL_S = 0.1


async def until(look: Callable[[], Awaitable[Found]], what: str, timeout_s: float) -> Found:
    """What `look` answers once that is truthy; that the service is away meanwhile does not matter.

    Raises `Unavailable` where it has not come to that after `timeout_s`.
    """
    deadline = time.monotonic() + timeout_s
    while True:
        last: object
        try:
            found = await look()
            if found:
                return found
            last = found
        except (ApiError, Unavailable) as error:
            last = error
        if time.monotonic() > deadline:
            raise Unavailable(f"not so after {timeout_s:g} s: {what} (last: {last!r})")
        await asyncio.sleep(POLL_S)
