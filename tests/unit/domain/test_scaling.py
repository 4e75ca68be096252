"""What the autoscaler decides: each rule by itself; `test_scaling_over_time.py` lets it run."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from edumeet_recording.domain.forecast import Cause, Sample
from edumeet_recording.domain.price import USUAL
from edumeet_recording.domain.scaling import (
    OPEN,
    Action,
    Evaluation,
    FleetNode,
    FleetRequest,
    RegionPolicy,
    RegionState,
    RequestState,
    evaluate,
    state_after,
    summed,
)

NOW = datetime(2026, 11, 23, 8, tzinfo=UTC)
LONG_AGO = NOW - timedelta(hours=5)
POLICY = RegionPolicy(
    min_nodes=0,
    max_nodes=10,
    target_utilisation=0.8,
    spare_nodes=0,
    node_mcpu=1000,
    lead_time_s=60,
    start_timeout_s=300,
    up_cooldown_s=5,
    down_cooldown_s=300,
    shrink_after_s=600,
    lost_after_s=3600,
)
NODE = FleetNode("a", 1000, 0, is_usable=True, is_empty=True, heard_at=NOW)
LEAVING = replace(NODE, is_usable=False)
SEEN = FleetRequest("a", RequestState.SEEN, LONG_AGO)


def region(demand: int, *nodes: FleetNode, requests: tuple[FleetRequest, ...] = (), **more: object) -> RegionState:
    return replace(RegionState("eu", Sample(NOW, demand), sums=summed(nodes), nodes=nodes, requests=requests), **more)


def fleet(*loads: int) -> tuple[FleetNode, ...]:
    return tuple(replace(NODE, id=f"n{number}", load_mcpu=load) for number, load in enumerate(loads))


def ours(nodes: tuple[FleetNode, ...]) -> tuple[FleetRequest, ...]:
    return tuple(replace(SEEN, node_id=node.id) for node in nodes)


def steps(answer: Evaluation) -> list[tuple[Action, str, object]]:
    return [(step.action, step.reason, step.node_ids or step.count) for step in answer.steps]


def test_an_empty_region_without_a_minimum_is_left_alone() -> None:
    answer = evaluate(POLICY, region(0), NOW)
    assert (answer.desired_nodes, answer.steps, answer.cause) == (0, (), Cause.DEMAND)


def test_demand_is_met_at_the_target_utilisation() -> None:
    answer = evaluate(POLICY, region(1601), NOW)
    assert (answer.desired_nodes, answer.needed_mcpu) == (3, 2002)
    assert steps(answer) == [(Action.START, "demand", 3)]
    assert "1601 milli-cores are wanted" in answer.steps[0].detail


def test_the_warm_spare_stands_beside_what_is_needed() -> None:
    assert evaluate(replace(POLICY, spare_nodes=1.5), region(800), NOW).desired_nodes == 3


def test_the_minimum_is_there_without_any_demand() -> None:
    assert steps(evaluate(replace(POLICY, min_nodes=2), region(0), NOW)) == [(Action.START, "min_nodes", 2)]


def test_a_network_that_is_full_before_the_cores_is_what_a_node_has() -> None:
    busy = replace(NODE, load_mcpu=200, load_bytes_per_s=4_000_000, capacity_bytes_per_s=5_000_000)
    answer = evaluate(POLICY, region(240, busy), NOW)
    assert (answer.capacity_mcpu, answer.desired_nodes) == (250, 2)
    assert steps(answer) == [(Action.START, "demand", 1)]
    roomy = replace(busy, capacity_bytes_per_s=500_000_000)
    assert evaluate(POLICY, region(240, roomy), NOW).capacity_mcpu == NODE.capacity_mcpu


def test_the_network_of_a_fleet_that_idles_is_reckoned_by_a_usual_recording() -> None:
    idle = replace(NODE, capacity_bytes_per_s=10 * USUAL.bytes_per_s)
    assert evaluate(POLICY, region(0, idle), NOW).capacity_mcpu == 10 * USUAL.mcpu


def test_the_maximum_holds_and_is_told() -> None:
    answer = evaluate(replace(POLICY, max_nodes=2), region(5000, *fleet(900)), NOW)
    assert (answer.is_at_max, steps(answer)) == (True, [(Action.START, "demand", 1)])


def test_nodes_above_the_maximum_that_are_needed_stay() -> None:
    nodes = fleet(700, 700, 700)
    answer = evaluate(replace(POLICY, max_nodes=2), region(2100, *nodes, requests=ours(nodes)), NOW)
    assert (answer.desired_nodes, answer.is_at_max, answer.steps) == (3, False, ())


def test_a_forecast_counts_like_demand_and_names_itself() -> None:
    past = [Sample(NOW - timedelta(minutes=minutes), 800 - 100 * minutes) for minutes in (4, 3, 2, 1)]
    answer = evaluate(replace(POLICY, lead_time_s=120), region(800, *fleet(800), past=past), NOW)
    assert (answer.demand_mcpu, answer.expected_mcpu, steps(answer)) == (800, 1000, [(Action.START, "trend", 1)])


def test_new_nodes_are_reckoned_as_large_as_those_that_are_there() -> None:
    large = replace(NODE, capacity_mcpu=4000)
    assert steps(evaluate(POLICY, region(6400, large), NOW)) == [(Action.START, "demand", 1)]


def test_what_is_on_its_way_counts() -> None:
    asked = FleetRequest("b", RequestState.ASKED, NOW - timedelta(seconds=10))
    answer = evaluate(POLICY, region(1600, NODE, requests=(asked,)), NOW)
    assert (answer.desired_nodes, answer.requested_nodes, answer.observed_nodes, answer.steps) == (2, 1, 1, ())


def test_nodes_that_take_nothing_do_not_count() -> None:
    full = replace(NODE, is_usable=False)
    assert steps(evaluate(POLICY, region(800, full), NOW)) == [(Action.START, "demand", 1)]


def test_after_asking_there_is_a_pause_that_grows_with_each_that_did_not_come() -> None:
    asked = region(800, asked_at=NOW - timedelta(seconds=30))
    assert steps(evaluate(POLICY, replace(asked, refused=2), NOW)) == [(Action.START, "demand", 1)]
    assert steps(evaluate(POLICY, replace(asked, refused=3), NOW)) == []
    hours_ago = replace(asked, refused=90, asked_at=LONG_AGO)
    assert steps(evaluate(POLICY, hours_ago, NOW)) == [(Action.START, "demand", 1)]


def test_a_node_that_came_is_noted() -> None:
    asked = FleetRequest("a", RequestState.ASKED, NOW - timedelta(seconds=10))
    answer = evaluate(POLICY, region(800, NODE, requests=(asked,)), NOW)
    assert steps(answer) == [(Action.ARRIVED, "arrived", ("a",))]
    assert answer.steps[0].detail == "a came after 10 s"


@pytest.mark.parametrize("node", [(), (replace(NODE, is_usable=False, is_healthy=False),)])
def test_a_node_that_never_came_is_given_up_and_replaced(node: tuple[FleetNode, ...]) -> None:
    late = FleetRequest("a", RequestState.ASKED, NOW - timedelta(seconds=300))
    answer = evaluate(POLICY, region(800, *node, requests=(late,), asked_at=late.asked_at), NOW)
    assert steps(answer) == [(Action.GIVE_UP, "never_came", ("a",)), (Action.START, "demand", 1)]
    assert answer.requested_nodes == 0


def test_a_deregistered_node_is_given_up() -> None:
    assert steps(evaluate(POLICY, region(0, requests=(SEEN,)), NOW)) == [(Action.GIVE_UP, "lost", ("a",))]


@pytest.mark.parametrize(
    ("silent", "gone", "given_up"),
    [(timedelta(minutes=5), False, False), (timedelta(minutes=5), True, True), (timedelta(hours=2), False, True)],
)
def test_a_silent_node_is_kept_while_it_may_hold_tape(silent: timedelta, gone: bool, given_up: bool) -> None:
    silent_node = replace(NODE, is_usable=False, is_healthy=False, heard_at=NOW - silent)
    answer = evaluate(POLICY, region(0, silent_node, requests=(replace(SEEN, is_gone=gone),)), NOW)
    assert steps(answer) == ([(Action.GIVE_UP, "lost", ("a",))] if given_up else [])


def test_a_node_that_was_never_heard_is_silent_since_it_was_asked_for() -> None:
    never = replace(NODE, is_usable=False, is_healthy=False, heard_at=None)
    assert steps(evaluate(POLICY, region(0, never, requests=(SEEN,)), NOW)) == [(Action.GIVE_UP, "lost", ("a",))]


def test_a_drained_node_goes_back_when_nothing_is_left_on_it() -> None:
    draining = replace(SEEN, state=RequestState.DRAINING)
    assert steps(evaluate(POLICY, region(0, LEAVING, requests=(draining,)), NOW)) == [(Action.RETURN, "empty", ("a",))]
    busy = replace(LEAVING, is_empty=False)
    answer = evaluate(POLICY, region(0, busy, requests=(draining,)), NOW)
    assert (answer.draining_nodes, answer.steps) == (1, ())


def test_somebody_may_keep_a_node_that_was_to_leave() -> None:
    answer = evaluate(POLICY, region(800, NODE, requests=(replace(SEEN, state=RequestState.DRAINING),)), NOW)
    assert (steps(answer), answer.draining_nodes) == ([(Action.UNDRAIN, "undrained", ("a",))], 0)


def test_a_leaving_node_stays_before_a_new_one_is_asked_for() -> None:
    leaving = tuple(replace(node, is_usable=False, is_empty=False) for node in fleet(10, 500))
    requests = tuple(replace(each, state=RequestState.DRAINING) for each in ours(leaving))
    one = evaluate(POLICY, region(800, *leaving, requests=requests), NOW)
    assert steps(one) == [(Action.UNDRAIN, "demand", ("n1",))]
    both_and_more = evaluate(replace(POLICY, max_nodes=3), region(4000, *leaving, requests=requests), NOW)
    assert steps(both_and_more) == [(Action.UNDRAIN, "demand", ("n1", "n0")), (Action.START, "demand", 1)]


def test_the_emptiest_of_ours_is_drained() -> None:
    nodes = fleet(400, 20, 0, 300)
    answer = evaluate(POLICY, region(720, *nodes, requests=ours((nodes[0], nodes[1], nodes[3]))), NOW)
    assert (answer.desired_nodes, steps(answer)) == (1, [(Action.DRAIN, "surplus", ("n1",))])


@pytest.mark.parametrize(("finalizing", "most", "desired"), [(0, 10, 0), (1, 10, 1), (50, 10, 1), (50, 0, 0)])
def test_one_node_stays_or_comes_while_files_are_to_be_made(finalizing: int, most: int, desired: int) -> None:
    policy = replace(POLICY, max_nodes=most)
    assert evaluate(policy, region(0, finalizing=finalizing), NOW).desired_nodes == desired


def test_nobody_elses_node_is_drained() -> None:
    assert steps(evaluate(POLICY, region(0, *fleet(0, 0, 0)), NOW)) == []


def test_the_minimum_stays() -> None:
    nodes = fleet(0, 0)
    assert steps(evaluate(replace(POLICY, min_nodes=2), region(0, *nodes, requests=ours(nodes)), NOW)) == []


def test_a_tenth_may_leave_at_once() -> None:
    nodes = fleet(*[0] * 40)
    (step,) = evaluate(replace(POLICY, max_nodes=100), region(0, *nodes, requests=ours(nodes)), NOW).steps
    assert (step.action, len(step.node_ids)) == (Action.DRAIN, 4)


def test_a_large_node_stays_where_its_going_would_be_too_much() -> None:
    small, large = replace(NODE, id="small", load_mcpu=10), replace(NODE, id="large", capacity_mcpu=3000)
    requests = (replace(SEEN, node_id="small"), replace(SEEN, node_id="large"))
    answer = evaluate(POLICY, region(1600, small, large, requests=requests), NOW)
    assert steps(answer) == [(Action.DRAIN, "surplus", ("small",))]


def test_the_peak_of_the_last_while_is_still_room_for() -> None:
    nodes = fleet(0, 0)
    state = region(0, *nodes, requests=ours(nodes))
    for ago, expected in ((9, []), (11, [(Action.DRAIN, "surplus", ("n0",))])):
        past = [Sample(NOW - timedelta(minutes=ago), 1600)]
        assert steps(evaluate(POLICY, replace(state, past=past), NOW)) == expected


@pytest.mark.parametrize(
    "reason_to_wait",
    [
        {"asked_at": NOW - timedelta(seconds=299)},
        {"drained_at": NOW - timedelta(seconds=299)},
        {"queued": 1},
        {"requests": (*ours(fleet(0, 0)), FleetRequest("b", RequestState.ASKED, NOW - timedelta(seconds=200)))},
    ],
)
def test_shrinking_waits(reason_to_wait: dict[str, object]) -> None:
    nodes = fleet(0, 0)
    state = region(0, *nodes, requests=ours(nodes))
    assert steps(evaluate(POLICY, state, NOW)) != []
    assert steps(evaluate(POLICY, replace(state, **reason_to_wait), NOW)) == []


def test_nodes_that_are_plainly_at_work_need_not_be_named() -> None:
    """The sums count them, and only the emptiest leave."""
    nodes = fleet(500, 0, 300, 0, 400, 20)
    gone = replace(NODE, id="gone", is_usable=False, is_healthy=False)
    state = region(500, *nodes, gone, requests=ours((*nodes, gone)))
    emptiest = tuple(node for node in nodes if node.load_mcpu < 300)
    named = replace(state, nodes=(*emptiest, gone), requests=ours((*emptiest, gone)))
    assert evaluate(POLICY, named, NOW) == evaluate(POLICY, state, NOW)
    assert steps(evaluate(POLICY, named, NOW)) == [(Action.DRAIN, "surplus", ("n1",))]


def test_every_step_leads_on_and_only_closed_requests_are_final() -> None:
    reached = {state_after(action, state) for action in Action for state in OPEN}
    assert reached == set(RequestState)
    assert state_after(Action.GIVE_UP, RequestState.ASKED) is RequestState.FAILED
    assert state_after(Action.GIVE_UP, RequestState.DRAINING) is RequestState.LOST
