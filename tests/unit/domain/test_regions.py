"""Which regions may be used, and in which order."""

from dataclasses import replace

from hypothesis import given
from hypothesis import strategies as st

from edumeet_recording.domain.finalizers import Finalizer, choose
from edumeet_recording.domain.fleet import Fleet, NodeSnapshot
from edumeet_recording.domain.placement import STRATEGIES, PlacementRequest, StrategyName, place
from edumeet_recording.domain.price import Price
from edumeet_recording.domain.regions import (
    allowed_storages,
    both,
    is_allowed,
    located,
    nearest_storage,
    ranked,
    split_location,
)

NAMES = st.text("ab-", min_size=1, max_size=3)
PATTERNS = st.builds(lambda name, star: name + "*" * star, NAMES, st.booleans())
RULES = st.none() | st.lists(PATTERNS, max_size=3)


def test_home_first_then_what_costs_least() -> None:
    spill = {"eu": {"us": 5.0, "asia": 1.0}}
    assert ranked("eu", ["us", "asia", "moon"], None, spill) == [("eu", 0), ("asia", 1), ("us", 5)]


def test_without_an_entry_every_region_is_as_good() -> None:
    assert ranked("eu", ["us", "asia"], None, {"us": {}}) == [("eu", 0), ("asia", 1), ("us", 1)]


def test_an_empty_entry_keeps_it_at_home() -> None:
    assert ranked("eu", ["us"], None, {"eu": {}}) == [("eu", 0)]


def test_what_is_not_allowed_is_not_there_home_or_not() -> None:
    assert ranked("us-1", ["eu-1", "us-1", "eu-2"], ["eu-*"], {}) == [("eu-1", 1), ("eu-2", 1)]


def test_an_empty_rule_allows_nothing_and_none_everything() -> None:
    assert not is_allowed("eu", [])
    assert is_allowed("eu", None)


@given(RULES, RULES, NAMES)
def test_both_rules_hold_where_their_combination_does(one: list[str], other: list[str], region: str) -> None:
    assert is_allowed(region, both(one, other)) == (is_allowed(region, one) and is_allowed(region, other))


PLACES = {"": "us", "eu-1": "eu-1", "eu-2": "eu-2"}


def nearest(region: str, allowed: list[str] | None = None, known: str = "-eu-1-eu-2") -> str | None:
    names = {"", *(name for name in PLACES if name and name in known)} if known.startswith("-") else set(known.split())
    return nearest_storage(region, PLACES, allowed, {"asia": {"eu-2": 1.0, "eu-1": 2.0}}, names)


def test_a_tape_stays_in_its_region_where_there_is_a_storage() -> None:
    assert nearest("eu-2") == "eu-2"
    assert nearest("asia") == "", "else the default one"
    assert nearest("asia", ["eu-*"]) == "eu-2", "else where it costs least"


def test_a_storage_that_is_not_allowed_or_not_known_is_none() -> None:
    assert nearest("us", ["eu-*"]) == "eu-1"
    assert nearest("us", ["asia"]) is None
    assert nearest("eu-1", ["eu-1"], known="eu-2") is None


def test_a_storage_of_nobody_knows_where_is_for_those_who_may_be_anywhere() -> None:
    assert allowed_storages({"": ""}, None) == [""]
    assert allowed_storages({"": ""}, ["*"]) == []


@given(st.sampled_from(["", "eu-1"]), st.text("abc/@", min_size=1).filter(lambda key: not key.startswith("@")))
def test_a_location_names_its_storage(storage: str, key: str) -> None:
    assert split_location(located(storage, key)) == (storage, key)


REGION = st.sampled_from(["eu-1", "eu-2", "us-1", "asia"])
STORAGE_NAMES = st.frozensets(st.sampled_from(["", "eu-1", "us-1"]))
NODES = st.lists(st.tuples(REGION, st.booleans(), st.booleans(), STORAGE_NAMES), max_size=8)


@given(
    rows=NODES,
    home=REGION,
    allowed=st.lists(st.sampled_from(["eu-*", "eu-1", "us-*", "asia", "*", "x"]), max_size=2),
    spill=st.dictionaries(REGION, st.dictionaries(REGION, st.floats(0, 9)), max_size=2),
    default_region=st.sampled_from(["", "eu-2", "us-1"]),
    strategy=st.sampled_from(sorted(STRATEGIES)),
)
def test_no_node_storage_or_finalizer_is_ever_outside(
    *,
    rows: list[tuple[str, bool, bool, frozenset[str]]],
    home: str,
    allowed: list[str],
    spill: dict[str, dict[str, float]],
    default_region: str,
    strategy: StrategyName,
) -> None:
    places = {"": default_region, "eu-1": "eu-1", "us-1": "us-1"}
    fleet, finalizers = Fleet(), list[Finalizer]()
    for number, (region, gpu, failing, known) in enumerate(rows):
        node = NodeSnapshot(f"n{number}", region, True, None, False, True, 100, 0)
        fleet.put(replace(node, has_gpu=gpu, is_quarantined=failing, storages=known))
        finalizers.append(Finalizer(node.id, region, 1, gpu, known))
    regions = tuple(ranked(home, fleet.regions, allowed, spill))
    usable = frozenset(allowed_storages(places, allowed))
    placement = place(PlacementRequest(Price(1), regions, storages=usable), fleet, strategy)
    for node in (fleet.nodes[candidate.node_id] for candidate in placement.candidates):
        assert is_allowed(node.region, allowed)
        storage = nearest_storage(node.region, places, allowed, spill, node.known_storages)
        assert storage is not None, "a node that can write nowhere is no candidate"
        assert is_allowed(places[storage], allowed)
    finalizer = choose(finalizers, regions, frozenset(), gpu=False)
    assert finalizer is None or is_allowed(finalizer.region, allowed)
