"""What five thousand watchers of the fleet's numbers cost a replica, at one message a second each."""

import asyncio
import time
from dataclasses import dataclass
from pathlib import Path

from edumeet_recording.bench.replica import replica, still_fleet
from edumeet_recording.domain.errors import Unavailable
from edumeet_recording.sim.fleet.link import LeanLink, frame_of
from edumeet_recording.sim.processes import raise_file_limit
from edumeet_recording.wire.events import SubscribeMetrics

WATCHERS = 5000
AT_ONCE = 50
"""Connections that are being opened."""
SUBSCRIBE = frame_of(SubscribeMetrics(type="subscribe_metrics").model_dump_json(by_alias=True))
FILES = 2 * WATCHERS
WARM_UP_S = 3.0


@dataclass(frozen=True, slots=True)
class Watchers:
    """`cpu`: share of one core that the replica takes. `messages`: to each watcher, a second."""

    cpu: float
    messages: float


async def measure(folder: Path, seconds: float) -> Watchers:
    """They all follow the metrics; the replica has nothing else to do."""
    raise_file_limit(FILES)
    heard = 0

    def hear(_text: str) -> None:
        nonlocal heard
        heard += 1

    def closed() -> None:
        nonlocal gone
        gone += 1

    gone = 0
    async with replica(folder, {}) as there, still_fleet(there):
        url = f"{there.url.replace('http', 'ws', 1)}/ws"
        opening = asyncio.Semaphore(AT_ONCE)

        async def watch() -> LeanLink:
            async with opening:
                link = await LeanLink.connect(url, there.token, hear, closed)
            link.send(SUBSCRIBE)
            return link

        async with asyncio.TaskGroup() as tasks:
            watching = [tasks.create_task(watch()) for _ in range(WATCHERS)]
        await asyncio.sleep(WARM_UP_S)
        heard, cpu_from, began = 0, there.process.cpu_s(), time.monotonic()
        await asyncio.sleep(seconds)
        elapsed, cpu_s, messages = time.monotonic() - began, there.process.cpu_s() - cpu_from, heard
        if gone:
            raise Unavailable(f"{gone} of {WATCHERS} watchers were dropped")
        for each in watching:
            each.result().abort()
    return Watchers(cpu_s / elapsed, messages / WATCHERS / elapsed)
