"""The faults: each a block in which something is wrong, and after which it is mended."""

import asyncio
import random
import time
from collections.abc import AsyncGenerator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from enum import StrEnum
from functools import partial

from edumeet_recording.domain.errors import Unavailable
from edumeet_recording.sim.faults.deployment import Deployment, NodePart
from edumeet_recording.sim.faults.part import Part
from edumeet_recording.sim.faults.proxy import Proxy, Weather
from edumeet_recording.sim.faults.waiting import POLL_S, until


class Strike(StrEnum):
    """What can be wrong. Of a node or an orchestrator, which is named; of the database and the storage there is one."""

    NODE_KILLED = "node_killed"
    """SIGKILL for the agent and its capture processes; mended by a start."""
    AGENT_KILLED = "agent_killed"
    """SIGKILL for the agent alone."""
    CAPTURE_KILLED = "capture_killed"
    """SIGKILL for its capture processes; nothing to mend."""
    NODE_HANGS = "node_hangs"
    """SIGSTOP, mended by SIGCONT."""
    NODE_CUT_OFF = "node_cut_off"
    """From the orchestrators, not from the room server."""
    NODE_DRAINED = "node_drained"
    FINALIZER_KILLED = "finalizer_killed"
    """SIGKILL for the first process that makes the file of each job there."""
    DISK_FULL = "disk_full"
    """Of a node that has a small one."""
    DISK_SLOW = "disk_slow"
    """It takes what is written for a moment each few seconds; of a node whose disk can be made to."""
    ORCHESTRATOR_KILLED = "orchestrator_killed"
    ORCHESTRATOR_HANGS = "orchestrator_hangs"
    ORCHESTRATORS_KILLED = "orchestrators_killed"
    """All of them."""
    DATABASE_KILLED = "database_killed"
    DATABASE_STALLED = "database_stalled"
    """Connections stay open and carry nothing."""
    STORAGE_CUT = "storage_cut"
    STORAGE_REFUSES = "storage_refuses"
    """It answers 500."""
    ROOM_SERVER_KILLED = "room_server_killed"
    POWER_OFF = "power_off"
    """All at once: nodes, orchestrators and database."""


OF_A_NODE = (
    Strike.NODE_KILLED,
    Strike.AGENT_KILLED,
    Strike.CAPTURE_KILLED,
    Strike.NODE_HANGS,
    Strike.NODE_CUT_OFF,
    Strike.NODE_DRAINED,
    Strike.FINALIZER_KILLED,
    Strike.DISK_FULL,
    Strike.DISK_SLOW,
)
OF_AN_ORCHESTRATOR = (Strike.ORCHESTRATOR_KILLED, Strike.ORCHESTRATOR_HANGS)
_ONE_AT_A_TIME = {
    "database": (Strike.DATABASE_KILLED, Strike.DATABASE_STALLED),
    "storage": (Strike.STORAGE_CUT, Strike.STORAGE_REFUSES),
    "room server": (Strike.ROOM_SERVER_KILLED,),
}
_CALM_S = (1.0, 12.0)
MENDING_S = 120.0
_LASTS_S = (1.0, 20.0)


@dataclass(frozen=True, slots=True)
class Planned:
    """A strike of an endurance run: when, counted from its begin, on whom, and for how long; seconds."""

    at_s: float
    strike: Strike
    target: str
    lasts_s: float


def possible(deployment: Deployment) -> dict[str, Sequence[Strike]]:
    """What can happen to each part."""
    of_nodes = {name: _possible_for(node) for name, node in deployment.nodes.items()}
    return {**of_nodes, **dict.fromkeys(deployment.orchestrators, OF_AN_ORCHESTRATOR), **_ONE_AT_A_TIME}


def _possible_for(node: NodePart) -> Sequence[Strike]:
    of_its_disk = {
        Strike.DISK_FULL: node.disk is not None,
        Strike.DISK_SLOW: node.disk is not None and node.disk.hangs,
    }
    return tuple(strike for strike in OF_A_NODE if of_its_disk.get(strike, True))


def schedule(seed: int, seconds: float, kinds: Mapping[str, Sequence[Strike]]) -> list[Planned]:
    """The same strikes for the same seed, in order; nobody is struck again before it is mended.

    `kinds`: what can happen, by target.
    """
    chance = random.Random(seed)  # noqa: S311 - chosen by a seed on purpose
    free_at = dict.fromkeys(kinds, 0.0)
    planned: list[Planned] = []
    at_s = chance.uniform(*_CALM_S)
    while at_s < seconds:
        free = [target for target, since in free_at.items() if since <= at_s]
        if free:
            target = chance.choice(free)
            lasts_s = min(chance.uniform(*_LASTS_S), seconds - at_s)
            planned.append(Planned(at_s, chance.choice(kinds[target]), target, lasts_s))
            # a moment to come back, or what was mended is struck while it starts
            free_at[target] = at_s + lasts_s + _CALM_S[1]
        at_s += chance.uniform(*_CALM_S)
    return planned


@asynccontextmanager
async def struck(deployment: Deployment, strike: Strike, target: str) -> AsyncGenerator[float]:
    """The block begins with the strike, and gives when it was (epoch seconds); it ends with the mending.

    Raises `Unavailable` where what was killed does not start again, or a node has no disk of its own to be struck.
    """
    if strike in OF_A_NODE:
        async with _node_struck(deployment, strike, deployment.nodes[target]) as at:
            yield at
    elif strike in OF_AN_ORCHESTRATOR:
        part = deployment.orchestrators[target]
        async with _killed(part) if strike is Strike.ORCHESTRATOR_KILLED else _hanging(part) as at:
            yield at
    else:
        async with _service_struck(deployment, strike) as at:
            yield at


@asynccontextmanager
async def _node_struck(deployment: Deployment, strike: Strike, node: NodePart) -> AsyncGenerator[float]:
    match strike:
        case Strike.NODE_KILLED:
            async with _killed(node.part) as at:
                yield at
        case Strike.AGENT_KILLED:
            at = await node.part.kill_alone()
            try:
                yield at
            finally:
                await _started(node.part)
        case Strike.NODE_HANGS:
            async with _hanging(node.part) as at:
                yield at
        case Strike.FINALIZER_KILLED:
            async with _finalizers_hunted(node.part) as at:
                yield at
        case Strike.CAPTURE_KILLED:
            yield node.part.kill_workers()
        case _:
            async with _surroundings_struck(deployment, strike, node) as at:
                yield at


@asynccontextmanager
async def _surroundings_struck(deployment: Deployment, strike: Strike, node: NodePart) -> AsyncGenerator[float]:
    """What is wrong is not with the node's processes."""
    match strike:
        case Strike.NODE_CUT_OFF:
            at = node.cut_off(deployment.diary)
            try:
                yield at
            finally:
                node.join(deployment.diary)
        case Strike.DISK_FULL | Strike.DISK_SLOW:
            async with _disk_struck(deployment, strike, node) as at:
                yield at
        case _:
            at = deployment.diary.note("drained", part=node.part.name)
            try:
                await deployment.client.drain(node.part.name)
                yield at
            finally:
                await until(partial(_undrained, deployment, node), f"{node.part.name} drains no more", MENDING_S)


@asynccontextmanager
async def _finalizers_hunted(part: Part) -> AsyncGenerator[float]:
    async def hunt() -> None:
        killed: set[str] = set()
        while True:
            killed |= part.kill_finalizers(killed)
            await asyncio.sleep(POLL_S)

    async with asyncio.TaskGroup() as group:
        hunting = group.create_task(hunt())
        try:
            yield time.time_ns() / 1e9
        finally:
            hunting.cancel()


@asynccontextmanager
async def _disk_struck(deployment: Deployment, strike: Strike, node: NodePart) -> AsyncGenerator[float]:
    if node.disk is None:
        raise Unavailable(f"{node.part.name} has no disk of its own")
    at = deployment.diary.note(strike, part=node.part.name)
    async with node.disk.full() if strike is Strike.DISK_FULL else node.disk.slow():
        yield at
    deployment.diary.note(f"no more {strike}", part=node.part.name)


@asynccontextmanager
async def _service_struck(deployment: Deployment, strike: Strike) -> AsyncGenerator[float]:
    match strike:
        case Strike.DATABASE_STALLED:
            async with _weather(deployment, deployment.database_net, Weather.STALLED, "database") as at:
                yield at
        case Strike.STORAGE_CUT | Strike.STORAGE_REFUSES:
            weather = Weather.CUT if strike is Strike.STORAGE_CUT else Weather.REFUSING
            async with _weather(deployment, deployment.storage_net, weather, "storage") as at:
                yield at
        case Strike.ROOM_SERVER_KILLED:
            at = await deployment.rooms.kill()
            try:
                yield at
            finally:
                await deployment.rooms.start()
        case Strike.DATABASE_KILLED:
            at = await deployment.database.kill()
            try:
                yield at
            finally:
                await deployment.restart_database()
        case _:
            async with _all_killed(deployment, strike) as at:
                yield at


@asynccontextmanager
async def _all_killed(deployment: Deployment, strike: Strike) -> AsyncGenerator[float]:
    parts = list(deployment.orchestrators.values())
    if strike is Strike.POWER_OFF:
        parts += [node.part for node in deployment.nodes.values()]
    at = deployment.diary.note(strike)
    for part in parts:
        await part.kill()
    if strike is Strike.POWER_OFF:
        await deployment.database.kill()
    try:
        yield at
    finally:
        if strike is Strike.POWER_OFF:
            await deployment.restart_database()
        for part in parts:
            await _started(part)


@asynccontextmanager
async def _killed(part: Part) -> AsyncGenerator[float]:
    at = await part.kill()
    try:
        yield at
    finally:
        await _started(part)


async def _started(part: Part) -> None:
    """As a supervisor does it: again, where what it needs is away."""

    async def start() -> bool:
        await part.start()
        return True

    await until(start, f"{part.name} is there again", MENDING_S)


async def _undrained(deployment: Deployment, node: NodePart) -> bool:
    await deployment.client.undrain(node.part.name)
    return True


@asynccontextmanager
async def _hanging(part: Part) -> AsyncGenerator[float]:
    at = part.pause()
    try:
        yield at
    finally:
        part.resume()


@asynccontextmanager
async def _weather(deployment: Deployment, net: Proxy, weather: Weather, of: str) -> AsyncGenerator[float]:
    at = deployment.diary.note(weather, way_to=of)
    net.turn(weather)
    try:
        yield at
    finally:
        net.turn(Weather.FAIR)
        deployment.diary.note(Weather.FAIR, way_to=of)
