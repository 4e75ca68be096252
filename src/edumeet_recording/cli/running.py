"""Runs a service until it is told to stop: SIGINT and SIGTERM end it clean, a second one at once.

One that can leave others its work does so on SIGTERM first; SIGINT, or SIGTERM again, then ends it clean.
"""

import asyncio
import faulthandler
import gc
import signal
from collections.abc import Awaitable, Callable

import structlog
import uvloop

COLLECT_EVERY = (20_000, 10, 5)
"""New objects between searches for garbage among the young, those between searches among the older, and those between
searches among all, which take a second where thousands of nodes are linked. What they say each second goes as it came.
"""
CLEAN_END_S = 4.5
"""What has not ended by then is cut off: a service manager, or a person, waits five seconds at most."""

LAST_RESORT_S = 30.0
"""Where the end itself hangs, as on a thread that waits for somebody, the process says where, and is gone."""

_SIGNALS = (signal.SIGINT, signal.SIGTERM)

log = structlog.get_logger(__name__)


class _Stop(asyncio.Event):
    """Once it is set the end is near, whoever set it: a signal, or the service itself, which cannot go on."""

    def __init__(self, limit: asyncio.Timeout) -> None:
        super().__init__()
        self._limit = limit

    def set(self) -> None:
        """End, soon."""
        if not self.is_set():
            self._limit.reschedule(asyncio.get_running_loop().time() + CLEAN_END_S)
            faulthandler.dump_traceback_later(LAST_RESORT_S, exit=True)
        super().set()


def run_until_signalled(work: Callable[[asyncio.Event], Awaitable[None]], leave: asyncio.Event | None = None) -> None:
    """Run `work` with an event that the first signal sets, or `work` itself; `leave` is set by SIGTERM before that.

    Raises what `work` raises.
    """
    # what was imported stays: to look for garbage among it takes a tenth of a second, in which nobody is answered
    gc.freeze()
    gc.set_threshold(*COLLECT_EVERY)
    try:
        with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
            runner.run(_run(work, leave))
    finally:
        faulthandler.cancel_dump_traceback_later()


async def _run(work: Callable[[asyncio.Event], Awaitable[None]], leave: asyncio.Event | None) -> None:
    loop = asyncio.get_running_loop()
    limit = asyncio.timeout(None)
    stop = _Stop(limit)

    def asked(number: signal.Signals) -> None:
        if number is signal.SIGTERM and leave is not None and not leave.is_set():
            leave.set()
            log.info("leaving", signal=number.name)
            return
        for each in _SIGNALS:
            loop.remove_signal_handler(each)
            signal.signal(each, signal.SIG_DFL)
        stop.set()
        log.info("ending", signal=number.name)

    try:
        async with limit:
            for number in _SIGNALS:
                loop.add_signal_handler(number, asked, number)
            await work(stop)
    except TimeoutError:
        if not stop.is_set():
            raise
        log.warning("cut off: it did not end in time", seconds=CLEAN_END_S)
