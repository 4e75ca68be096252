"""The autoscaler over hours against a fleet that starts nodes late, or never: bounds, cool-downs, no swinging."""

from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from random import Random

import pytest
from hypothesis import Phase, example, given, settings
from hypothesis import strategies as st

from edumeet_recording.domain.forecast import Sample
from edumeet_recording.domain.scaling import (
    OPEN,
    Action,
    FleetNode,
    FleetRequest,
    RegionPolicy,
    RegionState,
    RequestState,
    evaluate,
    state_after,
    summed,
)

BEGIN = datetime(2026, 11, 23, 8, tzinfo=UTC)
TICK_S = 30
SETTLED_TICKS = 2 * 120
"""What came once is expected again an hour later; then the largest fleet shrinks by a node in each cool-down."""
CAPACITY = 1000
POLICY = RegionPolicy(
    min_nodes=1,
    max_nodes=8,
    target_utilisation=0.8,
    spare_nodes=0.5,
    node_mcpu=CAPACITY,
    lead_time_s=60,
    start_timeout_s=120,
    up_cooldown_s=5,
    down_cooldown_s=300,
    shrink_after_s=600,
    lost_after_s=3600,
)


@dataclass
class Fleet:
    """A provider and its nodes: a node comes `start_s` after it was asked for, each `fails`-th never does."""

    policy: RegionPolicy
    start_s: float = 60
    fails: int = 0
    now: datetime = BEGIN
    states: dict[str, RequestState] = field(default_factory=dict)
    asked: dict[str, datetime] = field(default_factory=dict)
    drained: dict[str, datetime] = field(default_factory=dict)
    past: list[Sample] = field(default_factory=list)
    taken: list[tuple[datetime, Action]] = field(default_factory=list)
    refused: int = 0

    def tick(self, demand: int) -> int:
        """Let time pass; the capacity that is usable then."""
        present = Sample(self.now, demand)
        nodes = [self._node(name) for name, state in self.states.items() if state in OPEN and self._has_come(name)]
        state = RegionState(
            "eu",
            present,
            past=tuple(self.past),
            sums=summed(nodes),
            nodes=nodes,
            requests=[
                FleetRequest(name, state, self.asked[name]) for name, state in self.states.items() if state in OPEN
            ],
            asked_at=max(self.asked.values(), default=None),
            drained_at=max(self.drained.values(), default=None),
            refused=self.refused,
        )
        answer = evaluate(self.policy, state, self.now)
        assert self.policy.min_nodes <= answer.desired_nodes <= self.policy.max_nodes
        for step in answer.steps:
            names = step.node_ids or tuple(f"n{len(self.asked) + number}" for number in range(step.count))
            for name in names:
                self._take(step.action, name)
        self.past = [*self.past[-250:], present]
        self.now += timedelta(seconds=TICK_S)
        return sum(node.capacity_mcpu for node in nodes if node.is_usable)

    def _has_come(self, name: str) -> bool:
        never = self.fails and int(name[1:]) % self.fails == 0
        return not never and (self.now - self.asked[name]).total_seconds() >= self.start_s

    def _node(self, name: str) -> FleetNode:
        leaving = self.states[name] is RequestState.DRAINING
        return FleetNode(name, CAPACITY, 0, is_usable=not leaving, is_empty=True, heard_at=self.now)

    def _take(self, action: Action, name: str) -> None:
        if action is Action.START:
            self.asked[name] = self.now
        if action is Action.DRAIN:
            rested = (self.now - self.asked[name]).total_seconds()
            assert rested >= self.policy.down_cooldown_s, "drained within its cool-down"
            self.drained[name] = self.now
        before = self.states.get(name, RequestState.ASKED)
        self.states[name] = state_after(action, before)
        self.refused = self.refused + 1 if self.states[name] is RequestState.FAILED else self.refused
        self.refused = 0 if action is Action.ARRIVED else self.refused
        self.taken.append((self.now, action))
        assert sum(state in OPEN for state in self.states.values()) <= self.policy.max_nodes, "more than the maximum"
        assert sum(state in OPEN - {RequestState.DRAINING} for state in self.states.values()) >= min(
            self.policy.min_nodes, sum(state in OPEN for state in self.states.values())
        )


demands = st.lists(st.tuples(st.integers(0, 8000), st.integers(1, 20)), min_size=1, max_size=8)


@settings(max_examples=10, deadline=None, phases=[Phase.explicit, Phase.reuse, Phase.generate])
@example(demand=[(1375, 4), (7655, 1), (62, 3)], fails=0, start_s=39.587)
@given(demands, st.sampled_from([0, 2, 3]), st.floats(0, 100))
def test_whatever_comes_the_bounds_and_cool_downs_hold_and_it_settles(
    demand: list[tuple[int, int]], fails: int, start_s: float
) -> None:
    fleet = Fleet(POLICY, start_s=start_s, fails=fails)
    for mcpu, ticks in demand:
        for _ in range(ticks):
            fleet.tick(mcpu)
    last = demand[-1][0]
    for _ in range(SETTLED_TICKS):
        fleet.tick(last)
    quiet_since = fleet.now
    for _ in range(2 * 20):
        capacity = fleet.tick(last)
    late = [(at, action) for at, action in fleet.taken if at >= quiet_since]
    assert late == [], "steps while nothing changes"
    enough = min(last / POLICY.target_utilisation, POLICY.max_nodes * CAPACITY - CAPACITY)
    assert capacity >= enough
    assert capacity <= max(last / POLICY.target_utilisation + 3 * CAPACITY, POLICY.min_nodes * CAPACITY)


@pytest.mark.parametrize("seed", range(10))
def test_noise_does_not_make_it_swing(seed: int) -> None:
    fleet, noise = Fleet(POLICY), Random(seed)
    for _ in range(2 * 60):
        fleet.tick(noise.randint(1200, 1900))
    settled = [action for at, action in fleet.taken if at >= BEGIN + timedelta(minutes=20)]
    assert settled == []


def test_lectures_on_the_hour_find_their_nodes() -> None:
    """After the first hour has been seen, capacity is there when the next begins."""
    fleet = Fleet(replace(POLICY, lead_time_s=120), start_s=60)
    lacking: dict[int, int] = {}
    for second in range(0, 4 * 3600, TICK_S):
        demand = 4000 if 600 <= second % 3600 < 1800 else 400
        lacking[second] = max(0, demand - fleet.tick(demand))
    assert lacking[600] > 0
    assert [second for second, lack in lacking.items() if lack and second > 900] == []
