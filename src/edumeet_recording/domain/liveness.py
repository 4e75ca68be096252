"""Who is alive: heartbeats are believed first, refused probes second, and silence after a while; pure."""

from collections.abc import Sequence
from enum import StrEnum, unique

PROBES = 2
"""Probes that must all be refused before a node is dead without waiting for its time-out."""


@unique
class Probe(StrEnum):
    """What came of asking `GET {url}/health`."""

    ANSWERED = "answered"
    REFUSED = "refused"
    """Nobody listens there, or there is no way there: the process or its machine is gone."""
    UNCLEAR = "unclear"
    """No answer in time, or a name that cannot be resolved: says little of the node itself."""


@unique
class Verdict(StrEnum):
    """What follows."""

    SUSPECT = "suspect"
    """Its captures stay; no new ones are given to it."""
    DEAD = "dead"
    """Its captures are lost, and taken over by others."""


def judge(silence_s: float, timeout_s: float, probes: Sequence[Probe]) -> Verdict:
    """The verdict on a node that has been silent for `silence_s` seconds, or whose link closed.

    A node that answers may be cut off from us only: it has its whole time-out to be heard again.
    """
    refused = len(probes) >= PROBES and all(probe is Probe.REFUSED for probe in probes)
    return Verdict.DEAD if refused or silence_s >= timeout_s else Verdict.SUSPECT
