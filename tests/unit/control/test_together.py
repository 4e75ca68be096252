"""What is asked while something is under way is asked together, and nobody gets another's answer."""

import asyncio
from collections.abc import Sequence

from edumeet_recording.control.together import Together
from edumeet_recording.domain.errors import Unavailable

MOST = 3


class Doubling:
    """Doubles numbers, each batch once it is let go; one with a zero fails."""

    def __init__(self, *, repeatable: bool = False) -> None:
        self.asked: list[list[int]] = []
        self.go = asyncio.Semaphore(0)
        self._together = Together(self._double, MOST, repeatable=repeatable)

    async def _double(self, numbers: Sequence[int]) -> list[int]:
        self.asked.append(list(numbers))
        await self.go.acquire()
        if 0 in numbers:
            raise ZeroDivisionError
        return [2 * number for number in numbers]

    async def ask(self, tasks: asyncio.TaskGroup, *numbers: int) -> list[asyncio.Task[object]]:
        """Ask all at once; they wait when this returns."""
        asking = [tasks.create_task(self._outcome(number)) for number in numbers]
        await self.settle()
        return asking

    async def settle(self) -> None:
        for _ in range(10):
            await asyncio.sleep(0)

    async def _outcome(self, number: int) -> object:
        try:
            return await self._together(number)
        except (ZeroDivisionError, Unavailable) as error:
            return type(error)


async def test_who_comes_meanwhile_is_of_the_next_batch_which_has_a_limit() -> None:
    doubling = Doubling()
    async with asyncio.TaskGroup() as tasks:
        asking = await doubling.ask(tasks, 1)
        asking += await doubling.ask(tasks, 2, 3, 4, 5)
        assert doubling.asked == [[1]], "one at a time"
        for _ in range(3):
            doubling.go.release()
    assert doubling.asked == [[1], [2, 3, 4], [5]]
    assert [each.result() for each in asking] == [2, 4, 6, 8, 10]


async def test_an_error_is_that_of_all_who_share_it_and_of_nobody_else() -> None:
    doubling = Doubling()
    async with asyncio.TaskGroup() as tasks:
        asking = await doubling.ask(tasks, 1, 0, 2, 3, 4)
        for _ in range(2):
            doubling.go.release()
    assert doubling.asked == [[1, 0, 2], [3, 4]]
    shared = [ZeroDivisionError] * 3
    assert [each.result() for each in asking] == [*shared, 6, 8]


async def test_who_is_cancelled_while_another_asks_harms_nobody() -> None:
    doubling = Doubling()
    async with asyncio.TaskGroup() as tasks:
        asks, waits, goes = await doubling.ask(tasks, 2, 3, 4)
        goes.cancel()
        doubling.go.release()
    assert (asks.result(), waits.result()) == (4, 6)


async def test_who_is_cancelled_while_it_asks_leaves_the_others_to_ask_again() -> None:
    doubling = Doubling()
    async with asyncio.TaskGroup() as tasks:
        asks, waits = await doubling.ask(tasks, 2, 3)
        asks.cancel()
        await doubling.settle()
        assert waits.result() is Unavailable
        again = await doubling.ask(tasks, 3)
        doubling.go.release()
    assert again[0].result() == 6


async def test_what_may_be_repeated_is_made_again_for_those_who_are_not_cancelled() -> None:
    doubling = Doubling(repeatable=True)
    async with asyncio.TaskGroup() as tasks:
        asking = await doubling.ask(tasks, 2, 3, 0)
        asking += await doubling.ask(tasks, 5)
        asking[0].cancel()
        await doubling.settle()
        for _ in range(2):
            doubling.go.release()
    assert sorted(map(sorted, doubling.asked)) == [[0, 2, 3], [0, 3, 5]]
    assert [each.result() for each in asking[1:]] == [ZeroDivisionError] * 3
