"""The same work on many things, a few at a time: what each costs is mostly waiting for the database."""

import asyncio
from collections.abc import Awaitable, Callable, Iterable
from typing import TypeVar

T = TypeVar("T")

AT_ONCE = 4
"""Connections that are taken from the pool; others need some too."""


async def side_by_side(work: Callable[[T], Awaitable[object]], things: Iterable[T]) -> None:
    """Begin with them in order; raises what any of them raises, as a group."""
    waiting = iter(things)

    async def work_on_some() -> None:
        for thing in waiting:
            await work(thing)

    async with asyncio.TaskGroup() as tasks:
        for _ in range(AT_ONCE):
            tasks.create_task(work_on_some())
