"""Random faults for minutes, one after the other and side by side, while recordings come and go; then a reckoning."""

import asyncio
import random
import time
from dataclasses import dataclass, field

from edumeet_recording.client import ApiError
from edumeet_recording.domain.errors import Unavailable
from edumeet_recording.sim.faults import takes
from edumeet_recording.sim.faults.deployment import Deployment
from edumeet_recording.sim.faults.invariants import violations
from edumeet_recording.sim.faults.strikes import Planned, possible, schedule, struck
from edumeet_recording.sim.faults.takes import Outcome, Take
from edumeet_recording.sim.faults.waiting import until

MENDED_TIMEOUT_S = 120.0
FILES_TIMEOUT_S = 900.0
"""All files at the end, on a machine that may have only two cores."""
TURN_S = 10.0
"""So often a recording is stopped, and another started in its place."""
REFUSED_PAUSE_S = 1.0
LATE_MEDIA_S = 15.0
"""By then what came late has woken the recordings it belongs to."""


@dataclass(frozen=True, slots=True)
class Endured:
    """What came of it. `refused`: starts that were refused with a word, and asked again."""

    seed: int
    strikes: int
    recordings: int
    refused: int
    lost: int
    gaps_s: tuple[float, ...]
    failures: tuple[str, ...]


async def endure(deployment: Deployment, *, seed: int, seconds: float, recordings: int) -> Endured:
    """Strike by the schedule of `seed` for `seconds`, with so many recordings at a time.

    Raises `Unavailable` where the service does not come back when all is mended.
    """
    run = _Run(deployment, random.Random(seed))  # noqa: S311 - chosen by a seed on purpose
    planned = schedule(seed, seconds, possible(deployment))
    run.recorded = run.running = await takes.start(deployment, recordings)
    mended = {each.target: asyncio.Lock() for each in planned}
    async with asyncio.TaskGroup() as group:
        for each in planned:
            group.create_task(_strike(deployment, each, mended[each.target]))
        group.create_task(run.take_turns(seconds))
    await until(deployment.healthy, "all is healthy again", MENDED_TIMEOUT_S)
    for take in run.running:
        await run.asked(take)
    early = await takes.judged(deployment, run.recorded, FILES_TIMEOUT_S)
    await asyncio.sleep(LATE_MEDIA_S)
    outcomes = await takes.judged(deployment, run.recorded, FILES_TIMEOUT_S, early)
    broken = await violations(deployment)
    return _endured(seed, len(planned), run, outcomes, broken)


async def _strike(deployment: Deployment, planned: Planned, mended: asyncio.Lock) -> None:
    """`mended`: what is started again while the database is away may take longer than planned."""
    await asyncio.sleep(planned.at_s)
    try:
        async with mended, struck(deployment, planned.strike, planned.target):
            await asyncio.sleep(planned.lasts_s)
    except (ApiError, Unavailable) as error:
        # a drain that nobody could be asked for
        deployment.diary.note("could not strike", strike=planned.strike, target=planned.target, error=str(error))


@dataclass(slots=True)
class _Run:
    deployment: Deployment
    chance: random.Random
    recorded: list[Take] = field(default_factory=list[Take])
    running: list[Take] = field(default_factory=list[Take])
    refused: int = 0

    async def take_turns(self, seconds: float) -> None:
        """Stop a recording now and then, and start another."""
        until_s = time.monotonic() + seconds
        while time.monotonic() < until_s:
            await asyncio.sleep(TURN_S)
            oldest = self.running[0]
            await self.asked(oldest)
            started = Take(await self._started(oldest.peer), oldest.peer)
            self.running = [*self.running[1:], started]
            self.recorded = [*self.recorded, started]

    async def asked(self, take: Take) -> None:
        """Stop it, however often that has to be asked."""
        while True:
            try:
                await self.deployment.client.stop(take.job_id)
            except (ApiError, Unavailable):
                await self._refused()
            else:
                return

    async def _started(self, peer: int) -> str:
        key = f"{self.chance.getrandbits(128):032x}"
        while True:
            try:
                return (await self.deployment.client.start(takes.request(peer), idempotency_key=key)).job_id
            except (ApiError, Unavailable):
                await self._refused()

    async def _refused(self) -> None:
        self.refused += 1
        await asyncio.sleep(REFUSED_PAUSE_S)


def _endured(seed: int, strikes: int, run: _Run, outcomes: list[Outcome], broken: list[str]) -> Endured:
    failed = [each for each in outcomes if each.failures]
    return Endured(
        seed=seed,
        strikes=strikes,
        recordings=len(outcomes),
        refused=run.refused,
        lost=len(failed),
        gaps_s=tuple(each.gap_s for each in outcomes),
        failures=(*(said for each in failed for said in each.failures), *broken),
    )
