"""Runs a service until it is told to stop: SIGINT and SIGTERM end it clean, a second one at once.

One that can leave others its work does so on SIGTERM first; SIGINT, or SIGTERM again, then ends it clean.
"""

import asyncio
import gc
import signal
from collections.abc import Awaitable, Callable

import structlog
import uvloop

CLEAN_END_S = 4.5
"""What has not ended by then is cut off: a service manager, or a person, waits five seconds at most."""

_SIGNALS = (signal.SIGINT, signal.SIGTERM)

log = structlog.get_logger(__name__)


def run_until_signalled(work: Callable[[asyncio.Event], Awaitable[None]], leave: asyncio.Event | None = None) -> None:
    """Run `work` with an event that the first signal sets; `leave` is set by SIGTERM before that.

    Raises what `work` raises.
    """
    # what was imported stays: to look for garbage among it takes a tenth of a second, in which nobody is answered
    gc.freeze()
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(_run(work, leave))


async def _run(work: Callable[[asyncio.Event], Awaitable[None]], leave: asyncio.Event | None) -> None:
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    try:
        async with asyncio.timeout(None) as limit:

            def asked(number: signal.Signals) -> None:
                if number is signal.SIGTERM and leave is not None and not leave.is_set():
                    leave.set()
                    log.info("leaving", signal=number.name)
                    return
                for each in _SIGNALS:
                    loop.remove_signal_handler(each)
                    signal.signal(each, signal.SIG_DFL)
                limit.reschedule(loop.time() + CLEAN_END_S)
                stop.set()
                log.info("ending", signal=number.name)

            for number in _SIGNALS:
                loop.add_signal_handler(number, asked, number)
            await work(stop)
    except TimeoutError:
        if not stop.is_set():
            raise
        log.warning("cut off: it did not end in time", seconds=CLEAN_END_S)
