"""What ten thousand nodes cost a replica: one placement, one look at their health, all that it does periodically."""

import asyncio
import time
from dataclasses import dataclass
from pathlib import Path
from statistics import median

import httpx2

from edumeet_recording.bench.replica import NOWHERE, REGION, beat_nodes, register_nodes, replica, still_fleet
from edumeet_recording.config import OrchestratorSettings
from edumeet_recording.control.captures import CaptureCommands
from edumeet_recording.control.fleet import LiveFleet
from edumeet_recording.control.health import HealthLoop
from edumeet_recording.domain.placement import PlacementRequest
from edumeet_recording.domain.price import Price
from edumeet_recording.store.db import open_pool
from edumeet_recording.store.embedded import embedded_postgres
from edumeet_recording.store.migrate import upgrade
from edumeet_recording.store.notify import Notifier
from edumeet_recording.store.transaction import Transactor, Tx

NODES = 10_000
PLACEMENTS = 200
TICKS = 5
SETTLED_S = 5.0
REQUEST = PlacementRequest(price=Price(8), regions=((REGION, 0.0),))


@dataclass(frozen=True, slots=True)
class ManyNodes:
    """Medians. A placement is decided from memory, and claimed by one statement.

    `leader_cpu`: share of one core that a replica takes that leads, and hears of no node itself.
    """

    placement_ms: float
    tick_ms: float
    leader_cpu: float


async def measure(folder: Path, seconds: float) -> ManyNodes:
    """With databases of its own, and nothing else at work."""
    placement_s, tick_s = await _steps(folder)
    return ManyNodes(placement_s * 1000, tick_s * 1000, await _leader_cpu(folder / "leader", seconds))


async def _steps(folder: Path) -> tuple[float, float]:
    settings = OrchestratorSettings.model_validate({})
    ids = [f"node-{number}" for number in range(NODES)]
    async with embedded_postgres(folder / "state") as dsn, httpx2.AsyncClient() as client:
        await upgrade(dsn)
        async with open_pool(dsn, 4) as pool:
            db = Transactor(pool, Notifier(dsn))
            await db.run(lambda tx: register_nodes(tx, ids, 4, NOWHERE))
            await db.run(lambda tx: beat_nodes(tx, ids))
            fleet = LiveFleet(db, settings.placement_strategy)
            await fleet.tick()
            placements = [await _placed(db, fleet) for _ in range(PLACEMENTS)]
            health = HealthLoop(db, settings, CaptureCommands(db, settings), client)
            ticks: list[float] = []
            for _ in range(TICKS):
                await db.run(lambda tx: beat_nodes(tx, ids))
                began = time.monotonic()
                await health.tick()
                ticks.append(time.monotonic() - began)
    return median(placements), median(ticks)


async def _leader_cpu(folder: Path, seconds: float) -> float:
    folder.mkdir()  # noqa: ASYNC240 - once
    async with replica(folder, {}) as there, still_fleet(there, NODES):
        await asyncio.sleep(SETTLED_S)
        cpu_from, began = there.process.cpu_s(), time.monotonic()
        await asyncio.sleep(seconds)
        return (there.process.cpu_s() - cpu_from) / (time.monotonic() - began)


async def _placed(db: Transactor, fleet: LiveFleet) -> float:
    async def work(tx: Tx) -> float:
        began = time.monotonic()
        await fleet.claim(tx, REQUEST)
        return time.monotonic() - began

    return await db.run(work)
