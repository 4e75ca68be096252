"""The autoscaler on a day of lectures that it knows nothing of: nobody waits, nothing swings, little is idle."""

from dataclasses import replace

import pytest

from edumeet_recording.domain.scaling import RegionPolicy
from edumeet_recording.sim.fleet.day import DAY_S, Region, Session
from edumeet_recording.sim.fleet.figures import oracle
from edumeet_recording.sim.fleet.scenario import BOOT_S, Scenario
from edumeet_recording.sim.fleet.virtual import EMPTIED_S, TICK_S, VirtualDay, VirtualRegion, live_virtually

DAY = Scenario(nodes=40, recordings=800, regions=1, minutes=6, replicas=1, failures=2, autoscaled=True, seed=1)
HERE = Region("here", 0)


@pytest.mark.parametrize("scenario", [DAY, replace(DAY, seed=2, recordings=1500)], ids=["800", "1500"])
def test_a_day_that_nobody_knew(scenario: Scenario) -> None:
    planned = scenario.plan()
    fit = scenario.sessions_a_node(planned)
    day = live_virtually(scenario, planned, fit)
    assert len(day.waits_s) == scenario.recordings
    assert max(day.waits_s) <= 10
    assert day.returned_early == 0
    best = oracle(scenario, planned, fit)
    assert 1 < sum(day.node_s.values()) / sum(best.values()) <= 1.23
    assert all(each.nodes_running >= 1 for each in day.samples if each.at_s >= BOOT_S)


def lived(policy: RegionPolicy, *sessions: Session, lost_s: tuple[float, ...] = ()) -> VirtualDay:
    day = VirtualDay()
    VirtualRegion(HERE, policy, sessions, lost_s, day).live()
    return day


def peer(number: int, begins_s: float, ends_s: float) -> Session:
    """One that nobody could expect: recorded as soon as it is there."""
    return Session(number, HERE.name, begins_s, begins_s, ends_s)


POLICY = replace(
    DAY.policy(1),
    min_nodes=0,
    spare_nodes=0,
    target_utilisation=1,
    lead_time_s=0,
    shrink_after_s=0,
    down_cooldown_s=0,
)
"""A node for each recording, none in stock, and no look ahead."""


def test_who_has_no_node_waits_until_one_has_booted() -> None:
    day = lived(POLICY, peer(0, 1000, 2000), peer(1, 1000, 1010))
    assert day.waits_s == [BOOT_S, 10], "the second is over before"
    paid_s = 1000 + BOOT_S
    assert paid_s <= day.node_s["here"] <= paid_s + 2 * (EMPTIED_S + 3 * TICK_S)


def test_who_loses_its_machine_waits_again() -> None:
    day = lived(POLICY, peer(0, 1000, 3000), lost_s=(2000,))
    assert day.waits_s == [2 * BOOT_S]


def test_a_node_in_stock_spares_the_wait_and_is_paid_for() -> None:
    day = lived(replace(POLICY, min_nodes=2), peer(0, 1000, 3000), lost_s=(2000,))
    assert day.waits_s == [0]
    assert 2 * DAY_S - TICK_S <= day.node_s["here"] <= 2 * DAY_S
