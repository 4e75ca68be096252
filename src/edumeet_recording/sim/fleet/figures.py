"""What a simulated day comes to in numbers, and against an oracle that knew it beforehand."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

from edumeet_recording.sim.fleet.day import demand, needed, oracle_node_s
from edumeet_recording.sim.fleet.simulation import BOOT_S, LEAST_NODES, Lived


@dataclass(frozen=True, slots=True)
class Figures:
    """`wait_*`: from the answer to a start until a node was told, `start_*`: from the request to the first packet.

    These, and `failover_*`, are seconds of the real clock, also where the day runs faster. `cost_ratio`: node-seconds
    paid for, against the oracle's. `max_wait_s` counts what no node was ever told of with the time until its stop.
    """

    recordings: int
    refused: int
    wait_p99_s: float
    max_wait_s: float
    placement_p50_s: float
    placement_p99_s: float
    start_p50_s: float
    start_p99_s: float
    failovers: int
    failover_p95_s: float
    cost_ratio: float
    orchestrators_cpu_s: float


def figures(lived: Lived) -> Figures:
    """The day's."""
    watch = lived.watch
    waits, placements, starts = watch.waits_s(), watch.placements_s(), watch.starts_s()
    return Figures(
        recordings=len(watch.recordings),
        refused=len(watch.refusals),
        wait_p99_s=percentile(waits, 0.99),
        max_wait_s=percentile(waits, 1),
        placement_p50_s=percentile(placements, 0.5),
        placement_p99_s=percentile(placements, 0.99),
        start_p50_s=percentile(starts, 0.5),
        start_p99_s=percentile(starts, 0.99),
        failovers=len(watch.failovers_s),
        failover_p95_s=percentile(watch.failovers_s, 0.95),
        cost_ratio=sum(lived.node_s.values()) / sum(oracle(lived).values()),
        orchestrators_cpu_s=sum(lived.cpu_s.values()),
    )


def oracle(lived: Lived) -> dict[str, float]:
    """Node-seconds that an oracle pays in each region; it boots nodes as slowly, and keeps as many, as the real one."""
    return {
        place.name: oracle_node_s(
            needed(
                demand([each for each in lived.sessions if each.region == place.name]),
                lived.sessions_a_node,
                LEAST_NODES,
            ),
            BOOT_S,
        )
        for place in lived.scenario.places
    }


def percentile(values: Sequence[float], share: float) -> float:
    """The smallest value that `share` of the values do not exceed (nearest rank); 0 where there are none."""
    ordered = sorted(values)
    return ordered[max(0, math.ceil(share * len(ordered)) - 1)] if ordered else 0.0
