"""A university's day, pure: which peers are recorded when, and what an oracle that knew it all would have paid.

All times are seconds of the simulated day.
"""

import math
import random
from bisect import bisect_right
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import accumulate

DAY_S = 86400
GRID_S = 60
"""Demand is looked at once a minute."""
LECTURE_SHARE = 0.9
"""The rest are meetings at any time of the working day."""
MEETINGS_H = (7, 20)
"""Local hours between which they begin."""
STARTS_AT = {8: 2, 9: 4, 10: 5, 11: 4, 12: 1, 13: 3, 14: 5, 15: 4, 16: 3, 17: 2, 18: 1}
"""Lectures by the local hour they start at, as weights."""
LECTURES_S = (45 * 60, 90 * 60)
PUNCTUAL_S = 120
"""Standard deviation of when a lecture's recording begins and ends."""
EARLY_S, EARLY_SPREAD_S = 600, 180
"""Mean and standard deviation of how long people are in the room before it is recorded."""


@dataclass(frozen=True, slots=True)
class Region:
    """Where peers, nodes and a room server are; `offset_h`: its clock against the simulation's."""

    name: str
    offset_h: float


REGIONS = (
    Region("eu-north-1", 0),
    Region("eu-west-1", -1),
    Region("us-east-1", -6),
    Region("us-west-1", -9),
    Region("ap-south-1", 4.5),
    Region("ap-east-1", 8),
)


@dataclass(frozen=True, slots=True)
class Session:
    """One peer that comes into a room at `joins_s`, and is recorded there from `begins_s` to `ends_s`."""

    number: int
    region: str
    joins_s: float
    begins_s: float
    ends_s: float


def sessions(count: int, regions: Sequence[Region], seed: int) -> list[Session]:
    """`count` of them in the order of their beginnings; equal for equal arguments."""
    chance = random.Random(seed)  # noqa: S311 -- a simulation, not a secret
    drawn = sorted((_session(chance, chance.choice(regions)) for _ in range(count)), key=lambda each: each[2])
    return [Session(number, *each) for number, each in enumerate(drawn)]


def _session(chance: random.Random, region: Region) -> tuple[str, float, float, float]:
    if chance.random() < LECTURE_SHARE:
        hour = chance.choices(list(STARTS_AT), weights=list(STARTS_AT.values()))[0]
        local = hour * 3600 + chance.gauss(0, PUNCTUAL_S)
        length = chance.choice(LECTURES_S) + chance.gauss(0, PUNCTUAL_S)
    else:
        local = chance.uniform(*MEETINGS_H) * 3600
        length = chance.uniform(10, 60) * 60
    begins = (local - region.offset_h * 3600) % DAY_S
    joins = begins - max(chance.gauss(EARLY_S, EARLY_SPREAD_S), 0.0)
    return region.name, joins, begins, min(begins + max(length, 60.0), DAY_S)


class Crowd:
    """How many of some spans of time cover a moment."""

    def __init__(self, spans: Iterable[tuple[float, float]]) -> None:
        found = list(spans)
        self._begins = sorted(begins for begins, _ in found)
        self._ends = sorted(ends for _, ends in found)

    def at(self, at_s: float) -> int:
        """Begun by then, and not ended."""
        return bisect_right(self._begins, at_s) - bisect_right(self._ends, at_s)


def demand(planned: Sequence[Session]) -> list[int]:
    """How many of these are recorded at each point of the grid."""
    steps = [0] * (DAY_S // GRID_S + 2)
    for each in planned:
        steps[math.floor(each.begins_s / GRID_S)] += 1
        steps[math.ceil(each.ends_s / GRID_S)] -= 1
    return list(accumulate(steps))[: DAY_S // GRID_S + 1]


def needed(active: Sequence[int], sessions_a_node: int, least: int) -> list[int]:
    """Nodes that `active` sessions need at each point, were they packed at will; never fewer than `least`."""
    return [max(least, math.ceil(each / sessions_a_node)) for each in active]


def oracle_node_s(nodes_needed: Sequence[int], boot_s: float) -> float:
    """What an oracle pays, in node-seconds: each node is asked for just early enough, and paid for while it boots."""
    ahead = math.ceil(boot_s / GRID_S)
    paid = (max(nodes_needed[at : at + ahead + 1]) for at in range(len(nodes_needed)))
    return float(sum(paid)) * GRID_S
