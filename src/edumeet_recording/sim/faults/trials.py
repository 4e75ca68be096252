"""One fault at a time while recordings run: how many were lost, how long media was missing, how soon it was over."""

import asyncio
import time
from collections.abc import Awaitable, Callable, Mapping
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from enum import Enum, auto
from types import MappingProxyType

from edumeet_recording.client import ApiError
from edumeet_recording.domain.errors import Unavailable
from edumeet_recording.domain.job import FINAL, JobStatus
from edumeet_recording.sim.faults import takes
from edumeet_recording.sim.faults.deployment import Deployment
from edumeet_recording.sim.faults.strikes import OF_A_NODE, OF_AN_ORCHESTRATOR, Strike, struck
from edumeet_recording.sim.faults.takes import Outcome, Take
from edumeet_recording.sim.faults.waiting import until

CALM_S = 5.0
"""Recorded before a fault and after it."""
RECOVERY_TIMEOUT_S = 120.0
STARTS_A_SECOND = 5
STARTING_S = 4.0
ROOM_SERVER_AWAY_S = 5.0


class Mended(Enum):
    """When what was struck is mended."""

    AT_ONCE = auto()
    AFTERWARDS = auto()
    """After the files were made: it is gone for good as far as they are concerned."""
    LATER = auto()
    """After `lasts_s`, while the recordings run on."""


@dataclass(frozen=True, slots=True)
class Trial:
    """A fault and how it is tried. `starts`: recordings are started all the while; `stops`: they are stopped meanwhile.

    `leaves`: recordings go on elsewhere, where what was struck is mended only afterwards.
    `remade`: files are judged once they were made anew of what came late.
    `most_gap_s`, `most_recovery_s`: what must hold, None for anything.
    """

    name: str
    strike: Strike
    mended: Mended
    lasts_s: float = 0.0
    starts: bool = False
    stops: bool = False
    leaves: bool = True
    remade: bool = False
    options: Mapping[str, object] = field(default_factory=lambda: MappingProxyType({}))
    most_gap_s: float | None = None
    most_recovery_s: float | None = None


@dataclass(frozen=True, slots=True)
class Measured:
    """What came of a trial. `gaps_s`: of each recording that the fault could touch; `failures` in sentences."""

    trial: Trial
    recordings: int
    lost: int
    gaps_s: tuple[float, ...]
    recovered_in_s: float
    failures: tuple[str, ...]


def trials(outage_s: float, storage_outage_s: float) -> tuple[Trial, ...]:
    """All of them; the outages of orchestrators and database last `outage_s` seconds."""
    return (
        Trial("node_killed", Strike.NODE_KILLED, Mended.AFTERWARDS, most_gap_s=3, most_recovery_s=5),
        Trial(
            "node_killed_redundant",
            Strike.NODE_KILLED,
            Mended.AFTERWARDS,
            options={"redundancy": 2},
            most_gap_s=0,
        ),
        Trial("capture_killed", Strike.CAPTURE_KILLED, Mended.AT_ONCE, most_gap_s=1, most_recovery_s=5),
        Trial("agent_killed", Strike.AGENT_KILLED, Mended.AT_ONCE, remade=True, most_gap_s=0),
        Trial("node_hangs", Strike.NODE_HANGS, Mended.AFTERWARDS, most_gap_s=6, most_recovery_s=8),
        Trial("node_cut_off", Strike.NODE_CUT_OFF, Mended.LATER, lasts_s=10, remade=True, most_gap_s=0),
        Trial("node_drained", Strike.NODE_DRAINED, Mended.AFTERWARDS, most_gap_s=0),
        Trial("disk_full", Strike.DISK_FULL, Mended.LATER, lasts_s=10, most_gap_s=0, most_recovery_s=5),
        Trial("disk_slow", Strike.DISK_SLOW, Mended.LATER, lasts_s=12, most_gap_s=0, most_recovery_s=5),
        Trial("finalizer_killed", Strike.FINALIZER_KILLED, Mended.AFTERWARDS, leaves=False, most_gap_s=0),
        Trial(
            "room_server_killed",
            Strike.ROOM_SERVER_KILLED,
            Mended.LATER,
            lasts_s=ROOM_SERVER_AWAY_S,
            # it is heard at once, yet registered only when its earlier life, whose token it lacks, is taken for dead
            most_gap_s=ROOM_SERVER_AWAY_S + 5,
        ),
        Trial(
            "leader_killed",
            Strike.ORCHESTRATOR_KILLED,
            Mended.AFTERWARDS,
            starts=True,
            most_gap_s=0,
            most_recovery_s=5,
        ),
        Trial(
            "orchestrators_down",
            Strike.ORCHESTRATORS_KILLED,
            Mended.LATER,
            lasts_s=outage_s,
            most_gap_s=0,
            most_recovery_s=30,
        ),
        Trial(
            "database_down", Strike.DATABASE_KILLED, Mended.LATER, lasts_s=outage_s, most_gap_s=0, most_recovery_s=30
        ),
        Trial(
            "storage_down",
            Strike.STORAGE_CUT,
            Mended.LATER,
            lasts_s=storage_outage_s,
            stops=True,
            most_gap_s=0,
            most_recovery_s=30,
        ),
        Trial("power_off", Strike.POWER_OFF, Mended.AT_ONCE),
    )


async def run(deployment: Deployment, trial: Trial, recordings: int) -> Measured:
    """Try it; nothing of it is left running. Raises `Unavailable` where the service does not come back at all."""
    return await _Run(deployment, trial).all_of_it(recordings)


@dataclass(slots=True)
class _Run:
    deployment: Deployment
    trial: Trial
    recorded: list[Take] = field(default_factory=list[Take])
    failures: list[str] = field(default_factory=list[str])

    async def all_of_it(self, recordings: int) -> Measured:
        trial = self.trial
        self.recorded = await takes.start(self.deployment, recordings, **trial.options)
        await asyncio.sleep(CALM_S)
        target = await self._target()
        touched = await self._touched(target)
        async with AsyncExitStack() as mending:
            async with asyncio.TaskGroup() as group:
                if trial.starts:
                    group.create_task(self._start_more())
                    await asyncio.sleep(STARTING_S / 4)
                since = await mending.enter_async_context(struck(self.deployment, trial.strike, target))
                if trial.mended is not Mended.AFTERWARDS:
                    await self._meanwhile()
                    await mending.aclose()
                    since = time.time_ns() / 1e9
                recovered_at = await self._recovered(target)
            outcomes = await self._outcomes()
        await until(self.deployment.healthy, "all is healthy again", RECOVERY_TIMEOUT_S)
        if trial.remade:
            outcomes = await self._made_anew(outcomes)
        return self._measured(outcomes, touched, recovered_at - since)

    async def _target(self) -> str:
        if self.trial.strike in OF_A_NODE:
            return (await self.deployment.client.get(self.recorded[0].job_id)).node_id or ""
        if self.trial.strike in OF_AN_ORCHESTRATOR:
            return self.deployment.leader() or ""
        return ""

    async def _touched(self, target: str) -> set[str]:
        """Ids of the recordings that the fault can cost something: those of the node, else all."""
        if self.trial.strike not in OF_A_NODE:
            return {take.job_id for take in self.recorded}
        found = await takes.current(self.deployment, self.recorded)
        return {each.job_id for each in found if each.node_id == target}

    async def _meanwhile(self) -> None:
        await asyncio.sleep(self.trial.lasts_s)
        if self.trial.stops:
            await takes.stop(self.deployment, self.recorded)
            await takes.until_all(self.deployment, self.recorded, {JobStatus.STOPPING})

    async def _start_more(self) -> None:
        """At an even pace, whether or not earlier ones are answered; one that fails for good is a recording lost."""
        began = time.monotonic()
        async with asyncio.TaskGroup() as group:
            for number in range(round(STARTING_S * STARTS_A_SECOND)):
                await asyncio.sleep(max(0.0, began + number / STARTS_A_SECOND - time.monotonic()))
                group.create_task(self._start_one(number % takes.PEERS))

    async def _start_one(self, peer: int) -> None:
        try:
            job = await self.deployment.client.start(takes.request(peer))
        except (ApiError, Unavailable) as error:
            self.failures.append(f"a start failed: {error}")
        else:
            self.recorded.append(Take(job.job_id, peer))

    async def _recovered(self, target: str) -> float:
        """When it was over, epoch seconds."""
        look: Callable[[], Awaitable[bool]]
        if self.trial.stops:
            look = self._all_shipped
        elif self.trial.strike in OF_AN_ORCHESTRATOR:
            look = self._led_by_another(target)
        elif self.trial.mended is Mended.AFTERWARDS and self.trial.leaves:
            look = self._all_left(target)
        else:
            look = self._all_record
        await until(look, f"the service has recovered from {self.trial.name}", RECOVERY_TIMEOUT_S)
        return time.time_ns() / 1e9

    async def _all_shipped(self) -> bool:
        found = await takes.current(self.deployment, self.recorded)
        return all(each.status in {JobStatus.PROCESSING, *FINAL} for each in found)

    async def _all_record(self) -> bool:
        found = await takes.current(self.deployment, self.recorded)
        return await self.deployment.healthy() and all(each.status is JobStatus.RECORDING for each in found)

    def _all_left(self, node_id: str) -> Callable[[], Awaitable[bool]]:
        async def left() -> bool:
            found = await takes.current(self.deployment, self.recorded)
            return all(each.status is JobStatus.RECORDING and each.node_id != node_id for each in found)

        return left

    def _led_by_another(self, orchestrator: str) -> Callable[[], Awaitable[bool]]:
        async def led() -> bool:
            return self.deployment.leader() not in {None, orchestrator}

        return led

    async def _outcomes(self) -> list[Outcome]:
        if not self.trial.stops:
            await takes.until_all(self.deployment, self.recorded, {JobStatus.RECORDING})
            await asyncio.sleep(CALM_S)
            await takes.stop(self.deployment, self.recorded)
        return await takes.judged(self.deployment, self.recorded)

    async def _made_anew(self, outcomes: list[Outcome]) -> list[Outcome]:
        try:
            return await takes.made_anew(self.deployment, self.recorded, outcomes)
        except Unavailable as error:
            self.failures.append(str(error))
            return outcomes

    def _measured(self, outcomes: list[Outcome], touched: set[str], recovered_in_s: float) -> Measured:
        failed = [each for each in outcomes if each.failures]
        return Measured(
            trial=self.trial,
            recordings=len(outcomes),
            lost=len(failed) + len(self.failures),
            gaps_s=tuple(each.gap_s for each in outcomes if each.recording.job_id in touched),
            recovered_in_s=recovered_in_s,
            failures=(*self.failures, *(said for each in failed for said in each.failures)),
        )
