"""What a simulated day comes to in numbers, and against an oracle that knew it beforehand."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

from edumeet_recording.sim.fleet.day import Session, demand, needed, oracle_node_s
from edumeet_recording.sim.fleet.scenario import BOOT_S, LEAST_NODES, Scenario
from edumeet_recording.sim.fleet.simulation import Lived


@dataclass(frozen=True, slots=True)
class Figures:
    """The first four are the policy's, in seconds of the day: waits for capacity, node-seconds against the oracle's,
    nodes that were given back within their cool-down.

    The rest are the service's, in seconds of the real clock, though the day ran faster: `placement_*` from the
    request until a node was told, `start_*` until the first packet, `service_max_wait_s` from the answer until a node
    was told. `without_media`: recordings that were over before they had begun, so fast did the day run.
    `day_took_min`: how fast that was, which is slower than was asked for where the service fell behind.
    """

    wait_p99_s: float
    max_wait_s: float
    cost_ratio: float
    returned_early: int
    recordings: int
    refused: int
    without_media: int
    placement_p50_s: float
    placement_p99_s: float
    start_p50_s: float
    start_p99_s: float
    service_max_wait_s: float
    failovers: int
    failover_p95_s: float
    orchestrators_cpu_s: float
    day_took_min: float


def figures(lived: Lived) -> Figures:
    """The day's."""
    watch, virtual = lived.watch, lived.virtual
    placements, starts = watch.placements_s(), watch.starts_s()
    paid = oracle(lived.scenario, lived.sessions, lived.sessions_a_node)
    return Figures(
        wait_p99_s=percentile(virtual.waits_s, 0.99),
        max_wait_s=percentile(virtual.waits_s, 1),
        cost_ratio=sum(virtual.node_s.values()) / sum(paid.values()),
        returned_early=virtual.returned_early,
        recordings=len(watch.recordings),
        refused=len(watch.refusals),
        without_media=watch.without_media,
        placement_p50_s=percentile(placements, 0.5),
        placement_p99_s=percentile(placements, 0.99),
        start_p50_s=percentile(starts, 0.5),
        start_p99_s=percentile(starts, 0.99),
        service_max_wait_s=percentile(watch.waits_s(), 1),
        failovers=len(watch.failovers_s),
        failover_p95_s=percentile(watch.failovers_s, 0.95),
        orchestrators_cpu_s=sum(lived.cpu_s.values()),
        day_took_min=lived.took_s / 60,
    )


def oracle(scenario: Scenario, planned: Sequence[Session], sessions_a_node: int) -> dict[str, float]:
    """Node-seconds that an oracle pays in each region; it boots nodes as slowly, and keeps as many, as the real one."""
    return {
        place.name: oracle_node_s(
            needed(demand([each for each in planned if each.region == place.name]), sessions_a_node, LEAST_NODES),
            BOOT_S,
        )
        for place in scenario.places
    }


def percentile(values: Sequence[float], share: float) -> float:
    """The smallest value that `share` of the values do not exceed (nearest rank); 0 where there are none."""
    ordered = sorted(values)
    return ordered[max(0, math.ceil(share * len(ordered)) - 1)] if ordered else 0.0
