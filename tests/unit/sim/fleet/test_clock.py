"""A clock that slows down while much is in hand, and wakes who waits in order."""

import asyncio

from edumeet_recording.sim.fleet.clock import IN_HAND, SLOWEST, DayClock


async def test_who_waits_is_woken_in_time() -> None:
    clock = DayClock(100, lambda: 0)
    woken: list[int] = []

    async def wait(at_s: int) -> None:
        await clock.until(at_s)
        woken.append(at_s)

    async with asyncio.TaskGroup() as tasks:
        for at_s in (300, 0, 100, 200):
            tasks.create_task(wait(at_s))
        for expected in ([0], [0, 100, 200], [0, 100, 200, 300]):
            await asyncio.sleep(0.001)
            assert woken == expected
            clock.advance(2)
    assert clock.now_s == 600


async def test_it_slows_down_by_what_is_in_hand_and_never_stands() -> None:
    in_hand = IN_HAND
    clock = DayClock(10, lambda: in_hand)
    clock.advance(1)
    assert clock.now_s == 10
    in_hand = 2 * IN_HAND
    clock.advance(1)
    assert clock.now_s == 12.5
    in_hand = 10**9
    clock.advance(1)
    assert clock.now_s == 12.5 + 10 * SLOWEST
