"""The schedule of random faults: the same for a seed, and nobody is struck while it is down."""

from itertools import pairwise

import pytest

from edumeet_recording.sim.faults.strikes import OF_A_NODE, OF_AN_ORCHESTRATOR, schedule

NODES, ORCHESTRATORS = ["node-1", "node-2"], ["orchestrator-1"]
KINDS = {**dict.fromkeys(NODES, OF_A_NODE), **dict.fromkeys(ORCHESTRATORS, OF_AN_ORCHESTRATOR)}


def test_a_seed_is_a_schedule() -> None:
    assert schedule(7, 600, KINDS) == schedule(7, 600, KINDS)
    assert schedule(7, 600, KINDS) != schedule(8, 600, KINDS)


@pytest.mark.parametrize("seed", range(20))
def test_nobody_is_struck_while_it_is_down_and_all_is_mended_at_the_end(seed: int) -> None:
    planned = schedule(seed, 600, KINDS)
    assert all(each.at_s + each.lasts_s <= 600 for each in planned)
    for target in {each.target for each in planned}:
        its = [each for each in planned if each.target == target]
        assert all(earlier.at_s + earlier.lasts_s < later.at_s for earlier, later in pairwise(its))


def test_everybody_gets_what_can_happen_to_it() -> None:
    planned = [each for seed in range(20) for each in schedule(seed, 600, KINDS)]
    assert {each.strike for each in planned if each.target in NODES} == set(OF_A_NODE)
    assert {each.strike for each in planned if each.target in ORCHESTRATORS} == set(OF_AN_ORCHESTRATOR)
