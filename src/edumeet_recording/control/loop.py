"""The one way to run a loop: interval, jitter, time-out, early wake, and the end after N failures in a row."""

import asyncio
import random
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import NoReturn

import structlog

from edumeet_recording.domain.errors import Unavailable

log = structlog.get_logger()


class LoopBroken(Exception):
    """A loop failed too often in a row; its process ends and is started clean."""


@dataclass(frozen=True, slots=True)
class Loop:
    """A tick to be called every `interval_s` seconds (±10 %), or as soon as `wake` is set.

    However often it is woken, it rests as long as its last tick took, up to half of its interval: what thousands of
    events a minute wake leaves time to what they are about.

    A tick that takes longer than `timeout_s` is cancelled and counts as a failure. `Unavailable` (the database is
    away) is no failure of the loop: it waits for its return.
    """

    name: str
    tick: Callable[[], Awaitable[None]]
    interval_s: float
    timeout_s: float = 30.0
    most_failures: int = 10
    wake: asyncio.Event = field(default_factory=asyncio.Event)

    def hint(self, _payload: str = "") -> None:
        """Tick now."""
        self.wake.set()

    async def run(self) -> NoReturn:
        """Tick until cancelled; raises `LoopBroken` after `most_failures` failures in a row."""
        failures = 0
        while True:
            began = time.monotonic()
            self.wake.clear()
            try:
                async with asyncio.timeout(self.timeout_s):
                    await self.tick()
            except Exception as error:
                if (away := _only_away(error)) is not None:
                    log.warning("loop_waits", loop=self.name, reason=away.message)
                    await self._sleep(time.monotonic() - began)
                    continue
                failures += 1
                log.exception("loop_failed", loop=self.name, failures=failures)
                if failures >= self.most_failures:
                    raise LoopBroken(f"loop {self.name} failed {failures} times in a row: {error}") from error
            else:
                failures = 0
            await self._sleep(time.monotonic() - began)

    async def _sleep(self, took_s: float) -> None:
        pause_s = self.interval_s * random.uniform(0.9, 1.1)  # noqa: S311 -- spreads load, guards nothing
        rest_s = min(took_s, pause_s / 2)
        await asyncio.sleep(rest_s)
        try:
            async with asyncio.timeout(pause_s - rest_s):
                await self.wake.wait()
        except TimeoutError:
            return


def _only_away(error: BaseException) -> Unavailable | None:
    """What says that the database is away, where nothing else went wrong; ticks with tasks raise it in a group."""
    if isinstance(error, BaseExceptionGroup):
        found = [_only_away(each) for each in error.exceptions]
        return found[0] if all(found) else None
    return error if isinstance(error, Unavailable) else None
