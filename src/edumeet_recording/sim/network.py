"""A bad network: for each datagram it says when, if at all, and how often it arrives; pure, repeatable by its seed."""

import random
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Conditions:
    """What a network does to datagrams. Shares are 0 to 1, times seconds.

    `loss`: share lost, in runs of `burst` on average (Gilbert's model; 1: no longer than chance makes them); `delay_s`:
    always; `jitter_s`: up to so much more, in order; `reorder`: share that is held back for `reorder_s`, past those
    behind it; `duplicate`: share that comes twice.
    """

    loss: float = 0.0
    burst: float = 1.0
    delay_s: float = 0.0
    jitter_s: float = 0.0
    reorder: float = 0.0
    reorder_s: float = 0.03
    duplicate: float = 0.0

    def __post_init__(self) -> None:
        if not 0 <= self.loss < 1 or self.burst < 1:
            raise ValueError("loss is a share below 1, and a burst at least one datagram")


class Network:
    """One direction of a path."""

    def __init__(self, conditions: Conditions, seed: str) -> None:
        self._conditions = conditions
        self._random = random.Random(seed)  # noqa: S311 - must be repeatable, and guards nothing
        self._losing = False
        self._last_arrival = 0.0

    def arrivals(self, now: float) -> tuple[float, ...]:
        """When a datagram that is sent now arrives, seconds of the same clock: never, once or twice."""
        conditions = self._conditions
        if self._lost():
            return ()
        arrival = max(self._last_arrival, now + conditions.delay_s + conditions.jitter_s * self._random.random())
        if self._random.random() < conditions.reorder:
            return (arrival + conditions.reorder_s,)
        self._last_arrival = arrival
        return (arrival, arrival) if self._random.random() < conditions.duplicate else (arrival,)

    def _lost(self) -> bool:
        """A run goes on with 1 - 1/burst, and begins so often that `loss` are lost in all."""
        loss, ends = self._conditions.loss, 1 / self._conditions.burst
        begins = min(1.0, loss * ends / (1 - loss))
        self._losing = self._random.random() < ((1 - ends) if self._losing else begins)
        return self._losing


class Path:
    """Both directions between two addresses."""

    def __init__(self, conditions: Conditions, seed: str) -> None:
        self.there = Network(conditions, f"{seed} there")
        self.back = Network(conditions, f"{seed} back")
