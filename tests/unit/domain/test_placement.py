"""Which node takes a recording, and the reason of every refusal."""

from dataclasses import replace

from hypothesis import given
from hypothesis import strategies as st

from edumeet_recording.domain.codecs import Codec, Kind
from edumeet_recording.domain.failure_domain import FailureDomain
from edumeet_recording.domain.placement import NodeSnapshot, PlacementRequest, capacity_mcpu, place, price_mcpu
from edumeet_recording.domain.request import RequestStream

NODE = NodeSnapshot("a", "eu", True, None, False, True, 1000, 0)
REQUEST = PlacementRequest(cost_mcpu=8, region="eu", room=("server", "room"))


def stream(kind: Kind) -> RequestStream:
    return RequestStream(0, kind, Codec.OPUS if kind is Kind.AUDIO else Codec.VP8, 100, 1, 5004, None, 48000, None)


def test_video_costs_more_than_audio_and_both_more_than_nothing() -> None:
    nothing, audio, video = price_mcpu([]), price_mcpu([stream(Kind.AUDIO)]), price_mcpu([stream(Kind.VIDEO)])
    assert 0 < nothing < audio < video


def test_capacity_leaves_room_for_the_system() -> None:
    assert 0 < capacity_mcpu(4) < 4000


def test_each_refusal_names_its_reason() -> None:
    nodes = [
        replace(NODE, id="ill", is_healthy=False, health_reason="its heartbeats have stopped"),
        replace(NODE, id="quiet", is_healthy=False),
        replace(NODE, id="leaving", is_draining=True),
        replace(NODE, id="disk", accepts_captures=False),
        replace(NODE, id="full", load_mcpu=993),
    ]
    placement = place(REQUEST, nodes)
    assert placement.candidates == ()
    assert placement.refusals == (
        ("ill", "its heartbeats have stopped"),
        ("quiet", "unhealthy"),
        ("leaving", "draining"),
        ("disk", "accepts no new captures"),
        ("full", "7 of 1000 milli-cores free, 8 needed"),
    )
    assert "leaving: draining" in placement.explanation


def test_what_dies_with_the_other_capture_is_refused() -> None:
    nodes = [
        replace(NODE, id="same", failure_domain=FailureDomain(zone="a", host="h1")),
        replace(NODE, id="apart", failure_domain=FailureDomain(zone="b", host="h2")),
    ]
    placement = place(replace(REQUEST, apart_from=(FailureDomain(zone="a", host="h3"),)), nodes)
    assert placement.candidates == ("apart",)
    assert placement.refusals == (("same", "shares zone a with the other capture"),)


def test_a_quarantined_node_is_the_last_resort() -> None:
    ill = replace(NODE, id="a", is_quarantined=True)
    tried = replace(NODE, id="b", region="us")
    request = replace(REQUEST, avoid=frozenset({"b"}))
    assert place(request, [ill, tried]).candidates == ("b", "a")
    assert place(request, [ill]).candidates == ("a",)


def test_no_node_at_all() -> None:
    assert place(REQUEST, []).explanation == "no FFmpeg node is registered"


def test_a_long_explanation_is_cut() -> None:
    nodes = [replace(NODE, id=str(number), is_draining=True) for number in range(7)]
    assert place(REQUEST, nodes).explanation.endswith("and 2 more)")


def test_order_of_preference() -> None:
    best = replace(NODE, id="same room", load_mcpu=500, rooms=frozenset({("server", "room")}))
    emptier = replace(NODE, id="same region, emptier")
    fuller = replace(NODE, id="same region, fuller", load_mcpu=100)
    far = replace(NODE, id="elsewhere", region="us")
    failed = replace(NODE, id="has failed this job")
    request = replace(REQUEST, avoid=frozenset({failed.id}))
    placement = place(request, [failed, far, fuller, emptier, best])
    assert placement.candidates == (best.id, emptier.id, fuller.id, far.id, failed.id)


@given(st.lists(st.tuples(st.integers(0, 50), st.integers(0, 50), st.booleans(), st.booleans()), max_size=20))
def test_every_node_is_a_candidate_or_has_a_reason_and_candidates_fit(rows: list[tuple[int, int, bool, bool]]) -> None:
    nodes = [
        replace(
            NODE, id=str(at), capacity_mcpu=capacity, load_mcpu=min(load, capacity), is_healthy=well, is_draining=out
        )
        for at, (capacity, load, well, out) in enumerate(rows)
    ]
    placement = place(REQUEST, nodes)
    assert sorted([*placement.candidates, *(node for node, _ in placement.refusals)]) == sorted(n.id for n in nodes)
    by_id = {node.id: node for node in nodes}
    assert all(by_id[chosen].free_mcpu >= REQUEST.cost_mcpu for chosen in placement.candidates)
