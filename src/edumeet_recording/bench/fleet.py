"""`python -m edumeet_recording.bench.fleet`: starts a second, ten thousand nodes, five thousand watchers, and a day.

Each part has a service of its own on this machine, and shares its cores with it. Goals are printed beside the figures,
and what misses its goal is marked; the figures also go to `build/bench/fleet.json`.
"""

import asyncio
import json
import tempfile
from argparse import ArgumentParser
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from pathlib import Path

import uvloop
from rich.console import Console
from rich.table import Table

from edumeet_recording.bench import links, many_nodes, starts, watchers
from edumeet_recording.sim.fleet.figures import figures
from edumeet_recording.sim.fleet.scenario import Scenario
from edumeet_recording.sim.fleet.simulation import live
from edumeet_recording.telemetry import configure_logging

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


async def measure(seconds: float) -> dict[str, float]:
    """One part after the other."""
    async with _folder() as folder:
        started = await starts.measure(folder, seconds)
    async with _folder() as folder:
        many = await many_nodes.measure(folder)
    async with _folder() as folder:
        linked = await links.measure(folder, seconds)
    async with _folder() as folder:
        watched = await watchers.measure(folder, seconds)
    async with _folder() as folder:
        day = figures(await live(DAY, folder))
    return {
        "starts_per_s": started.a_second,
        "ratio_pgbench": started.a_second / started.pgbench_a_second,
        "start_p99_ms": started.p99_ms,
        "start_cpu_ms": started.cpu_ms,
        "pgbench_per_s": started.pgbench_a_second,
        "placement_ms_10k_nodes": many.placement_ms,
        "tick_ms_10k_nodes": many.tick_ms,
        "api_p99_ms_10k_links": linked.api_p99_ms,
        "beats_10k_links": linked.beats,
        "replicas_cpu_10k_links": linked.replicas_cpu,
        "sender_cpu_10k_links": linked.sender_cpu,
        "watchers_cpu": watched.cpu,
        "watchers_messages_per_s": watched.messages,
        "day_max_wait_s": day.max_wait_s,
        "day_failover_p95_s": day.failover_p95_s,
        "day_cost_ratio_oracle": day.cost_ratio,
        "day_returned_early": day.returned_early,
        "day_service_max_wait_s": day.service_max_wait_s,
        "day_refused": day.refused,
    }


@asynccontextmanager
async def _folder() -> AsyncGenerator[Path]:
    with tempfile.TemporaryDirectory(dir=RESULT.parent.absolute()) as name:
        yield Path(name)


def main() -> None:
    """Entry: prints a table, and writes the figures."""
    parser = ArgumentParser(prog="python -m edumeet_recording.bench.fleet", description=__doc__)
    parser.add_argument("--seconds", type=float, default=10, help="how long starts and watchers are measured")
    configure_logging("error", "console")
    RESULT.parent.mkdir(parents=True, exist_ok=True)
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        result = runner.run(measure(parser.parse_args().seconds))
    table = Table(title="the fleet")
    for column in ("", "measured", "goal"):
        table.add_column(column, justify="right")
    for name, value in result.items():
        table.add_row(name, f"{value:.3g}", _goal(name, value))
    Console().print(table)
    RESULT.write_text(json.dumps({name: round(value, 4) for name, value in result.items()}, indent=2) + "\n")


def _goal(name: str, value: float) -> str:
    if name in AT_LEAST:
        return f"{'' if value >= AT_LEAST[name] else 'missed: '}≥ {AT_LEAST[name]:g}"
    if name in AT_MOST:
        return f"{'' if value <= AT_MOST[name] else 'missed: '}≤ {AT_MOST[name]:g}"
    return ""


if __name__ == "__main__":
    main()
