"""`python -m edumeet_recording.bench.fleet`: starts a second, ten thousand nodes, five thousand watchers, and a day.

Each part has a service of its own on this machine, and shares its cores with it. Goals are printed beside the figures,
which also go to `build/bench/fleet.json`; it fails where one is missed.
"""

import asyncio
import json
import sys
import tempfile
from argparse import ArgumentParser
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import structlog
import uvloop
from rich.console import Console
from rich.table import Table

from edumeet_recording.bench import links, many_nodes, starts, watchers
from edumeet_recording.sim.fleet.figures import figures
from edumeet_recording.sim.fleet.scenario import Scenario
from edumeet_recording.sim.fleet.simulation import live
from edumeet_recording.telemetry import configure_logging

log = structlog.get_logger()

Figures = dict[str, float]
RESULT = Path("build/bench/fleet.json")
DAY = Scenario(nodes=120, recordings=2400, regions=3, minutes=6, replicas=1, failures=2, autoscaled=True, seed=1)
AT_LEAST = {"starts_per_s": 400.0, "ratio_pgbench": 0.5, "beats_10k_links": 0.99}
AT_MOST = {
    "start_p99_ms": 100.0,
    "placement_ms_10k_nodes": 5.0,
    "tick_ms_10k_nodes": 500.0,
    "api_p99_ms_10k_links": 250.0,
    "watchers_cpu": 0.25,
    "day_max_wait_s": 10.0,
    "day_cost_ratio_oracle": 1.25,
    "day_returned_early": 0.0,
}


async def _starts(folder: Path, seconds: float) -> Figures:
    found = await starts.measure(folder, seconds)
    return {
        "starts_per_s": found.a_second,
        "ratio_pgbench": found.a_second / found.pgbench_a_second,
        "start_p99_ms": found.p99_ms,
        "start_cpu_ms": found.cpu_ms,
        "pgbench_per_s": found.pgbench_a_second,
    }


async def _many_nodes(folder: Path, seconds: float) -> Figures:
    found = await many_nodes.measure(folder, seconds)
    return {
        "placement_ms_10k_nodes": found.placement_ms,
        "tick_ms_10k_nodes": found.tick_ms,
        "leader_cpu_10k_nodes": found.leader_cpu,
    }


async def _links(folder: Path, seconds: float) -> Figures:
    found = await links.measure(folder, seconds)
    return {
        "api_p99_ms_10k_links": found.api_p99_ms,
        "beats_10k_links": found.beats,
        "replicas_cpu_10k_links": found.replicas_cpu,
        "sender_cpu_10k_links": found.sender_cpu,
    }


async def _watchers(folder: Path, seconds: float) -> Figures:
    found = await watchers.measure(folder, seconds)
    return {"watchers_cpu": found.cpu, "watchers_messages_per_s": found.messages}


async def _day(folder: Path, _seconds: float) -> Figures:
    found = figures(await live(DAY, folder))
    return {
        "day_max_wait_s": found.max_wait_s,
        "day_failover_p95_s": found.failover_p95_s,
        "day_cost_ratio_oracle": found.cost_ratio,
        "day_returned_early": found.returned_early,
        "day_service_max_wait_s": found.service_max_wait_s,
        "day_cpu_ms_a_recording": found.orchestrators_cpu_s / max(1, found.recordings) * 1000,
        "day_refused": found.refused,
    }


PARTS: dict[str, tuple[Callable[[Path, float], Awaitable[Figures]], float]] = {
    "starts": (_starts, 180),
    "many nodes": (_many_nodes, 120),
    "links": (_links, 300),
    "watchers": (_watchers, 120),
    "day": (_day, DAY.minutes * 60 + 120),
}
"""Each with the seconds after which it is given up, beside what `--seconds` adds twice."""


async def measure(seconds: float, console: Console) -> Figures:
    """One part after the other; of one that breaks, or takes too long, the figures are missing."""
    found: Figures = {}
    for name, (part, most_s) in PARTS.items():
        console.print(f"{name} …", style="dim")
        try:
            async with asyncio.timeout(most_s + 2 * seconds), _folder() as folder:
                found |= await part(folder, seconds)
        except Exception:
            log.exception("part_failed", part=name)
    return found


@asynccontextmanager
async def _folder() -> AsyncGenerator[Path]:
    with tempfile.TemporaryDirectory(dir=RESULT.parent.absolute()) as name:
        yield Path(name)


def shortfalls(found: Figures) -> list[str]:
    """The goals that are missed, or of which nothing was measured."""
    bounds = [(name, "at least", least, 1) for name, least in AT_LEAST.items()]
    bounds += [(name, "at most", most, -1) for name, most in AT_MOST.items()]
    missed: list[str] = []
    for name, words, bound, sign in bounds:
        value = found.get(name)
        if value is None:
            missed.append(f"{name} was not measured")
        elif not sign * value >= sign * bound:
            missed.append(f"{name} is {value:.3g}, and {words} {bound:g} is the goal")
    return missed


def main() -> None:
    """Entry: prints a table, writes the figures, and fails where they are not good enough."""
    parser = ArgumentParser(prog="python -m edumeet_recording.bench.fleet", description=__doc__)
    parser.add_argument("--seconds", type=float, default=10, help="how long starts, links and watchers are measured")
    seconds = parser.parse_args().seconds
    configure_logging("error", "console")
    RESULT.parent.mkdir(parents=True, exist_ok=True)
    console = Console()
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        found = runner.run(measure(seconds, console))
    table = Table(title="the fleet")
    for column in ("", "measured", "goal"):
        table.add_column(column, justify="right")
    for name, value in found.items():
        table.add_row(name, f"{value:.3g}", _goal(name))
    console.print(table)
    RESULT.write_text(json.dumps({name: round(value, 4) for name, value in found.items()}, indent=2) + "\n")
    missed = shortfalls(found)
    sys.exit("\n".join(missed) if missed else 0)


def _goal(name: str) -> str:
    if name in AT_LEAST:
        return f"≥ {AT_LEAST[name]:g}"
    return f"≤ {AT_MOST[name]:g}" if name in AT_MOST else ""


if __name__ == "__main__":
    main()
