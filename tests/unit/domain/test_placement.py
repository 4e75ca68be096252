"""Which node takes a capture: the order of each strategy, the reason of every refusal, and few looks at many nodes."""

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edumeet_recording.domain import placement as placing
from edumeet_recording.domain.codecs import Codec
from edumeet_recording.domain.failure_domain import FailureDomain
from edumeet_recording.domain.fleet import Fleet, NodeSnapshot
from edumeet_recording.domain.placement import STRATEGIES, Placement, PlacementRequest, StrategyName, place
from edumeet_recording.domain.price import Price

NODE = NodeSnapshot("a", "eu", True, None, False, True, 1000, 0)
REQUEST = PlacementRequest(Price(8), regions=(("eu", 0.0), ("us", 1.0)))


def fleet_of(*nodes: NodeSnapshot) -> Fleet:
    fleet = Fleet()
    for node in nodes:
        fleet.put(node)
    return fleet


def ids(placement: Placement) -> list[str]:
    return [candidate.node_id for candidate in placement.candidates]


def order(name: StrategyName, *nodes: NodeSnapshot, request: PlacementRequest = REQUEST) -> list[str]:
    return ids(place(request, fleet_of(*nodes), name))


def test_each_refusal_names_its_reason() -> None:
    request = replace(
        REQUEST,
        price=Price(8, 10, 20),
        exclude_nodes=frozenset({"itself"}),
        apart_from=(FailureDomain(rack="r1"),),
        codecs=frozenset({Codec.AV1}),
    )
    nodes = [
        replace(NODE, id="ill", is_healthy=False, health_reason="its heartbeats have stopped"),
        replace(NODE, id="quiet", is_healthy=False),
        replace(NODE, id="leaving", is_draining=True),
        replace(NODE, id="disk", accepts_captures=False, refusal="the spool's disk is 91 % full"),
        replace(NODE, id="older", accepts_captures=False),
        replace(NODE, id="full", load_mcpu=993),
        replace(NODE, id="busy", capacity_bytes_per_s=100, load_bytes_per_s=81),
        replace(NODE, id="itself"),
        replace(NODE, id="neighbour", failure_domain=FailureDomain(rack="r1")),
        replace(NODE, id="old", codecs=frozenset({Codec.OPUS})),
        replace(NODE, id="elsewhere", storages=frozenset({"asia"})),
        replace(NODE, id="far", region="asia"),
    ]
    placement = place(request, fleet_of(*nodes))
    assert placement.candidates == ()
    assert placement.considered == len(nodes)
    assert placement.refused == {
        "does not know the codec": 1,
        "does not know the storage": 1,
        "draining": 1,
        "full": 1,
        "has it already": 1,
        "network or disk full": 1,
        "region not allowed": 1,
        "takes no new captures": 2,
        "unhealthy": 2,
        "would die with the other capture": 1,
    }
    assert "full: 7 of 1000 milli-cores free, 8 needed" in placement.explanation
    assert {each.closed_because for each in nodes if each.closed_by} == {
        "its heartbeats have stopped",
        "unhealthy",
        "draining",
        "the spool's disk is 91 % full",
        "takes no new captures",
    }


def test_no_node_at_all() -> None:
    assert place(REQUEST, Fleet()).explanation == "no FFmpeg node is registered"


def test_only_regions_that_are_not_allowed() -> None:
    placement = place(REQUEST, fleet_of(replace(NODE, region="asia")))
    assert placement.explanation == "no FFmpeg node can take it (a: region asia is not allowed)"


def test_a_long_explanation_is_cut() -> None:
    nodes = [replace(NODE, id=str(number), is_draining=True) for number in range(7)]
    assert place(REQUEST, fleet_of(*nodes)).explanation.endswith("and 2 more: 7 draining)")


def test_region_then_processor_then_room_then_share() -> None:
    nodes = [
        replace(NODE, id="has failed this job"),
        replace(NODE, id="keeps failing", is_quarantined=True),
        replace(NODE, id="elsewhere", region="us"),
        replace(NODE, id="with a GPU", has_gpu=True),
        replace(NODE, id="fuller", load_mcpu=100),
        replace(NODE, id="emptier"),
        replace(NODE, id="has the room", load_mcpu=500),
    ]
    request = replace(REQUEST, avoid=frozenset({"has failed this job"}), room_nodes=frozenset({"has the room", "gone"}))
    best = ["has the room", "emptier", "fuller", "with a GPU", "elsewhere"]
    assert order("least-loaded", *nodes, request=request) == best
    assert order("least-loaded", *nodes[:3], request=request) == ["elsewhere", "has failed this job", "keeps failing"]


def test_bin_pack_fills_the_fullest_that_has_room() -> None:
    nodes = [replace(NODE, id=f"{load}", load_mcpu=load) for load in (0, 500, 992, 993)]
    assert order("bin-pack", *nodes) == ["992", "500", "0"]


def test_round_robin_goes_on_behind_the_last() -> None:
    fleet = fleet_of(*(replace(NODE, id=name) for name in "abc"))
    taken: list[str] = []
    for _ in range(5):
        taken.append(ids(place(REQUEST, fleet, "round-robin"))[0])
        fleet.promise(taken[-1], Price(8))
    assert taken == ["a", "b", "c", "a", "b"]


def test_weighted_gives_as_many_chances_as_there_is_room() -> None:
    fleet = fleet_of(replace(NODE, id="large", capacity_mcpu=3000), replace(NODE, id="small", capacity_mcpu=1000))
    first = [ids(place(replace(REQUEST, seed=str(number)), fleet, "weighted"))[0] for number in range(1000)]
    assert 700 < first.count("large") < 800


def test_weighted_falls_back_to_the_others_where_the_sample_has_no_room() -> None:
    full = [replace(NODE, id=f"full {number}", capacity_bytes_per_s=0) for number in range(2 * placing.SAMPLE)]
    request = replace(REQUEST, price=Price(8, 1))
    assert order("weighted", *full, replace(NODE, id="free"), request=request) == ["free"]


def test_the_record_says_why_this_one_and_why_not_those() -> None:
    fleet = fleet_of(NODE, replace(NODE, id="b", load_mcpu=500), replace(NODE, id="c", is_draining=True))
    assert place(REQUEST, fleet).record("a") == {
        "nodeId": "a",
        "strategy": "least-loaded",
        "why": "100% free, region eu",
        "considered": 3,
        "alternatives": [{"nodeId": "b", "why": "50% free, region eu"}],
        "refused": {"draining": 1},
    }


def test_the_record_names_what_is_unusual() -> None:
    far = replace(NODE, region="us", has_gpu=True)
    request = replace(REQUEST, avoid=frozenset({"a"}), room_nodes=frozenset({"a"}))
    (candidate,) = place(request, fleet_of(far)).candidates
    assert candidate.why == (
        "100% free, region us at cost 1, has the room already, has a GPU that this does not need, "
        "failed this recording before, but nobody else is left"
    )
    (candidate,) = place(REQUEST, fleet_of(replace(NODE, is_quarantined=True))).candidates
    assert candidate.why.endswith("keeps failing, but nobody else is left")


Row = tuple[int, int, bool, bool, bool, bool]


@given(
    st.lists(
        st.tuples(st.integers(0, 50), st.integers(0, 50), *[st.booleans()] * 4),
        max_size=20,
    ),
    st.sampled_from(sorted(STRATEGIES)),
)
def test_every_node_is_a_candidate_or_refused_and_candidates_fit(rows: list[Row], name: StrategyName) -> None:
    nodes = [
        replace(
            NODE,
            id=str(at),
            region="eu" if near else "asia",
            capacity_mcpu=capacity,
            load_mcpu=min(load, capacity),
            is_healthy=well,
            is_draining=out,
            has_gpu=gpu,
        )
        for at, (capacity, load, well, out, gpu, near) in enumerate(rows)
    ]
    placement = place(REQUEST, fleet_of(*nodes), name)
    fitting = [each for each in nodes if each.closed_by is None and each.region == "eu" and each.free_mcpu >= 8]
    assert len(placement.candidates) == min(len(fitting), placing.MOST_CANDIDATES)
    assert set(ids(placement)) <= {each.id for each in fitting}
    assert sum(placement.refused.values()) == len(nodes) - len(fitting)


@pytest.mark.parametrize("name", sorted(STRATEGIES))
@pytest.mark.parametrize("full", [0, 5000, 9990, 10_000])
def test_of_ten_thousand_nodes_few_are_looked_at(
    name: StrategyName, full: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    fleet = fleet_of(
        *(
            replace(NODE, id=f"node-{number:05d}", load_mcpu=1000 if number < full else number % 900)
            for number in range(10_000)
        )
    )
    looked: list[str] = []
    unfit = placing._unfit

    def count(node: NodeSnapshot, request: PlacementRequest) -> str | None:
        looked.append(node.id)
        return unfit(node, request)

    monkeypatch.setattr(placing, "_unfit", count)
    placement = place(REQUEST, fleet, name)
    if full < 10_000:
        assert len(placement.candidates) == placing.MOST_CANDIDATES
    assert len(looked) <= (5010 if (name, full) == ("round-robin", 5000) else placing.SAMPLE + 5)
    assert placement.refused.get("full", 0) == full
