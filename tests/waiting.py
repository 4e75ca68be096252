"""Waiting for a condition with a deadline, in place of sleeping and hoping."""

import asyncio
import inspect
import time
from collections.abc import Awaitable, Callable
from typing import TypeVar

Found = TypeVar("Found")
POLL_S = 0.02


async def eventually(
    check: Callable[[], Found | Awaitable[Found]],
    timeout: float = 15.0,  # noqa: ASYNC109 - asyncio.timeout could not say what was still missing
) -> Found:
    """What `check` returns as soon as it is truthy.

    `check` may be a coroutine function, and may raise AssertionError for "not yet". Fails after `timeout` seconds with
    the last AssertionError, or with the last value.
    """
    deadline = time.monotonic() + timeout
    while True:
        refusal: AssertionError | None = None
        found = None
        try:
            outcome = check()
            found = await outcome if inspect.isawaitable(outcome) else outcome
        except AssertionError as error:
            refusal = error
        if found:
            return found
        if time.monotonic() > deadline:
            raise refusal or AssertionError(f"still {found!r} after {timeout} s")
        await asyncio.sleep(POLL_S)
