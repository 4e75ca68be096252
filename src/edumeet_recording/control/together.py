"""Calls that come at once, or while others are under way, are made as one: what each of them costs is then shared."""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from typing import Generic, TypeVar

from edumeet_recording.domain.errors import Unavailable

K = TypeVar("K")
V = TypeVar("V")


class Together(Generic[K, V]):
    """`work` gets at most `most` arguments, and answers each, in their order. One `work` at a time.

    A call begins after it was asked for. Where `work` raises, all who share it get that error. One that is broken off,
    for who made it for all was cancelled, is made again for the others where it is `repeatable`.
    """

    def __init__(
        self, work: Callable[[Sequence[K]], Awaitable[Sequence[V]]], most: int, *, repeatable: bool = False
    ) -> None:
        self._work = work
        self._most = most
        self._repeatable = repeatable
        self._next: _Batch[K, V] | None = None
        self._turn = asyncio.Lock()

    async def __call__(self, argument: K) -> V:
        """The answer to `argument`. Raises `Unavailable` where it was broken off, and is not to be repeated."""
        batch = self._next
        if batch is not None and len(batch.arguments) < self._most:
            position = batch.add(argument)
            await batch.over.wait()
            if batch.broken_off and self._repeatable:
                return await self(argument)
            return batch.answer(position)
        batch = self._next = _Batch[K, V]()
        position = batch.add(argument)
        try:
            async with self._turn:
                # for who comes in the same turn of the loop
                await asyncio.sleep(0)
                self._close(batch)
                batch.answers = await self._work(batch.arguments)
        except Exception as error:
            batch.error = error
            raise
        finally:
            self._close(batch)
            batch.over.set()
        return batch.answer(position)

    def _close(self, batch: "_Batch[K, V]") -> None:
        """Whoever calls from now on shares the one after it."""
        if self._next is batch:
            self._next = None


class _Batch(Generic[K, V]):
    """Calls that are made together; `over` once there are answers, or an error."""

    def __init__(self) -> None:
        self.arguments: list[K] = []
        self.over = asyncio.Event()
        self.answers: Sequence[V] | None = None
        self.error: Exception | None = None

    @property
    def broken_off(self) -> bool:
        """Over, without any outcome."""
        return self.answers is None and self.error is None

    def add(self, argument: K) -> int:
        """Have `argument` answered too; its position."""
        self.arguments.append(argument)
        return len(self.arguments) - 1

    def answer(self, position: int) -> V:
        """Raises what went wrong."""
        if self.answers is None:
            raise self.error or Unavailable("it was broken off; try again")
        return self.answers[position]
