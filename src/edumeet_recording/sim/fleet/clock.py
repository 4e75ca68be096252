"""The clock of a day that is lived fast, and slower where the service falls behind: so a day of any size can be had."""

import asyncio
import heapq
import time
from collections.abc import Callable
from itertools import count

IN_HAND = 100
"""Recordings that a service may be at, between what was asked for and done, with the clock at full speed; with twice as
many it goes at a quarter of that: each recording must last long enough for the service to have begun it."""
SLOWEST = 0.005
"""Of full speed: what never gets done must not stop the day."""
STEP_S = 0.02


class DayClock:
    """Begins at 0 with `run`. `speed`: seconds of the day in one of ours, at most; `backlog`: recordings in hand."""

    def __init__(self, speed: float, backlog: Callable[[], int]) -> None:
        self._speed, self._backlog = speed, backlog
        self._waiting: list[tuple[float, int, asyncio.Event]] = []
        self._numbers = count()
        self.now_s = 0.0

    async def run(self) -> None:
        """Go on until cancelled."""
        last = time.monotonic()
        while True:
            await asyncio.sleep(STEP_S)
            now = time.monotonic()
            self.advance(now - last)
            last = now

    def advance(self, elapsed_s: float) -> None:
        """Let some of our seconds pass."""
        self.now_s += elapsed_s * self._speed * max(SLOWEST, min(1.0, IN_HAND / max(1, self._backlog())) ** 2)
        while self._waiting and self._waiting[0][0] <= self.now_s:
            heapq.heappop(self._waiting)[2].set()

    async def until(self, at_s: float) -> None:
        """Return at `at_s` seconds of the day, or at once where that has passed."""
        if at_s > self.now_s:
            due = asyncio.Event()
            heapq.heappush(self._waiting, (at_s, next(self._numbers), due))
            await due.wait()
