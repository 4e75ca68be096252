"""A loop ticks, wakes early, waits for the database, and gives up after too many failures."""

import asyncio
import itertools
import time

import pytest
from tests.waiting import eventually

from edumeet_recording.control.loop import Loop, LoopBroken
from edumeet_recording.domain.errors import Unavailable


class Ticks:
    """Counts ticks and fails as told; cancels the loop's task after `until` of them."""

    def __init__(self, *outcomes: Exception | None) -> None:
        self.outcomes = list(outcomes)
        self.count = 0
        self.enough = asyncio.Event()

    async def __call__(self) -> None:
        self.count += 1
        if not self.outcomes:
            self.enough.set()
            return
        outcome = self.outcomes.pop(0)
        if outcome is not None:
            raise outcome


async def run_until_enough(loop: Loop, ticks: Ticks) -> None:
    async with asyncio.timeout(5), asyncio.TaskGroup() as tasks:
        running = tasks.create_task(loop.run())
        await ticks.enough.wait()
        running.cancel()


async def test_failures_that_do_not_follow_each_other_are_survived() -> None:
    ticks = Ticks(ValueError(), None, ValueError(), None)
    await run_until_enough(Loop("l", ticks, 0.001, most_failures=2), ticks)
    assert ticks.count == 5


async def test_however_often_it_is_woken_it_rests_as_long_as_a_tick_took() -> None:
    spans: list[tuple[float, float]] = []
    enough = asyncio.Event()

    async def tick() -> None:
        began = time.monotonic()
        loop.hint()
        await asyncio.sleep(0.02)
        spans.append((began, time.monotonic()))
        if len(spans) == 3:
            enough.set()

    loop = Loop("l", tick, 60)
    async with asyncio.timeout(5), asyncio.TaskGroup() as tasks:
        running = tasks.create_task(loop.run())
        await enough.wait()
        running.cancel()
    for (_, ended), (began, _) in itertools.pairwise(spans):
        assert began - ended >= 0.019


async def test_failures_in_a_row_end_it() -> None:
    ticks = Ticks(ValueError("first"), ValueError("second"))
    with pytest.raises(LoopBroken, match="second"):
        await Loop("l", ticks, 0.001, most_failures=2).run()


@pytest.mark.parametrize("error", [Unavailable("away"), ExceptionGroup("in tasks", [Unavailable("away")] * 2)])
async def test_an_absent_database_is_waited_for(error: Exception) -> None:
    ticks = Ticks(*[error] * 5)
    await run_until_enough(Loop("l", ticks, 0.001, most_failures=2), ticks)


async def test_what_goes_wrong_beside_an_absent_database_is_a_failure() -> None:
    ticks = Ticks(*[ExceptionGroup("in tasks", [Unavailable("away"), ValueError("no")])] * 2)
    with pytest.raises(LoopBroken):
        await Loop("l", ticks, 0.001, most_failures=2).run()


async def test_a_tick_that_hangs_is_a_failure() -> None:
    async def hang() -> None:
        await asyncio.Event().wait()

    with pytest.raises(LoopBroken):
        await Loop("l", hang, 0.001, timeout_s=0.01, most_failures=2).run()


async def test_a_hint_wakes_it_early() -> None:
    ticks = Ticks(None)
    loop = Loop("l", ticks, 3600)
    async with asyncio.timeout(5), asyncio.TaskGroup() as tasks:
        running = tasks.create_task(loop.run())
        await eventually(lambda: ticks.count == 1)
        loop.hint("whatever")
        await ticks.enough.wait()
        running.cancel()
