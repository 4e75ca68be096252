"""What a simulated day is made of: its size, its nodes, and the policy that they are had by."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

from edumeet_recording.domain.scaling import RegionPolicy
from edumeet_recording.regional_settings import RegionScaling
from edumeet_recording.sim.fleet.day import (
    DAY_S,
    LECTURE_SHARE,
    MEETINGS_H,
    REGIONS,
    Region,
    Session,
    demand,
    sessions,
)

SESSION_MCPU = 8
"""What placement asks for a peer's audio and video; a test holds it to `domain.price`."""
FILLED = 0.75
"""Nodes are made so large that, of those that were asked for, this share is needed at the busiest moment."""
BOOT_S = 60.0
"""Of the simulated day: from asking for a node until it registers."""
LEAST_NODES = 1
"""In each region, at any time."""
LUCK = 6
"""Of what comes by chance while a node boots, how many standard deviations more than usual the warm spare has room
for. With nodes for hundreds of recordings one is enough for that, with nodes for three it is not."""


@dataclass(frozen=True, slots=True)
class Scenario:
    """`minutes`: how long the day takes. `failures`: machines that are lost in its course.

    `nodes`: how many the busiest moment needs, with some to spare; where it is not `autoscaled`, all of them all day.
    """

    nodes: int
    recordings: int
    regions: int
    minutes: float
    replicas: int
    failures: int
    autoscaled: bool
    seed: int

    @property
    def speed(self) -> float:
        """Seconds of the day in one of ours."""
        return DAY_S / (self.minutes * 60)

    @property
    def places(self) -> tuple[Region, ...]:
        """Its regions."""
        return REGIONS[: self.regions]

    def plan(self) -> list[Session]:
        """All that is recorded, in the order of its beginnings."""
        return sessions(self.recordings, self.places, self.seed)

    def sessions_a_node(self, planned: Sequence[Session]) -> int:
        """How many recordings of the plan a node has room for."""
        peaks = [max(demand([each for each in planned if each.region == place.name])) for place in self.places]
        return max(1, round(sum(peaks) / (self.nodes * FILLED)))

    def policy(self, sessions_a_node: int) -> RegionPolicy:
        """Of each region: the defaults, but for the nodes' size and number, and for a spare that fits their size."""
        share = math.ceil(self.nodes / self.regions)
        meetings_s = (MEETINGS_H[1] - MEETINGS_H[0]) * 3600
        by_chance = self.recordings / self.regions * (1 - LECTURE_SHARE) * BOOT_S / meetings_s
        changes = {
            "spare_nodes": max(1, math.ceil((by_chance + LUCK * math.sqrt(by_chance)) / sessions_a_node)),
            "min_nodes": LEAST_NODES if self.autoscaled else share,
            "max_nodes": self.nodes if self.autoscaled else share,
            "node_mcpu": sessions_a_node * SESSION_MCPU,
            "lead_time_s": BOOT_S,
        }
        return RegionPolicy(**RegionScaling.model_validate(changes).model_dump())
