"""The plan of a simulated day, and what an oracle would pay for it."""

from statistics import fmean

import pytest

from edumeet_recording.config import OrchestratorSettings
from edumeet_recording.domain.codecs import Codec, Kind
from edumeet_recording.domain.price import price
from edumeet_recording.domain.request import RequestStream
from edumeet_recording.sim.fleet.day import (
    DAY_S,
    EARLY_S,
    GRID_S,
    REGIONS,
    Crowd,
    Region,
    Session,
    demand,
    needed,
    oracle_node_s,
    sessions,
)
from edumeet_recording.sim.fleet.scenario import SESSION_MCPU


def test_a_day_is_the_same_for_the_same_seed() -> None:
    assert sessions(50, REGIONS, 7) == sessions(50, REGIONS, 7)
    assert sessions(50, REGIONS, 7) != sessions(50, REGIONS, 8)


def test_recordings_begin_in_order_and_end_within_the_day() -> None:
    planned = sessions(2000, REGIONS, 1)
    assert [each.number for each in planned] == list(range(2000))
    assert [each.begins_s for each in planned] == sorted(each.begins_s for each in planned)
    assert all(0 <= each.begins_s < each.ends_s <= DAY_S for each in planned)
    assert {each.region for each in planned} == {region.name for region in REGIONS}


def test_lectures_begin_around_the_hour_of_their_region() -> None:
    planned = sessions(2000, [Region("here", 0.5)], 1)
    near = [each for each in planned if abs((each.begins_s / 60 + 30 + 30) % 60 - 30) < 6]
    assert len(near) > 0.8 * len(planned)


def _session(begins_s: float, ends_s: float) -> Session:
    return Session(0, "here", begins_s, begins_s, ends_s)


def test_people_are_there_before_they_are_recorded() -> None:
    early_s = [each.begins_s - each.joins_s for each in sessions(2000, REGIONS, 1)]
    assert min(early_s) >= 0
    assert EARLY_S - 30 < fmean(early_s) < EARLY_S + 30


def test_demand_counts_what_overlaps_each_minute() -> None:
    active = demand([_session(0, 60), _session(30, 150), _session(DAY_S - 60, DAY_S)])
    assert active[:4] == [2, 1, 1, 0]
    assert (active[-2], active[-1], len(active)) == (1, 0, DAY_S // GRID_S + 1)


def test_a_crowd_is_those_who_have_come_and_not_left() -> None:
    crowd = Crowd([(0, 10), (5, 7), (10, 20)])
    assert [crowd.at(at) for at in (-1, 0, 5, 7, 10, 20)] == [0, 1, 2, 1, 1, 0]


def test_an_oracle_packs_at_will_and_boots_ahead() -> None:
    nodes = needed([0, 0, 3, 4, 0], sessions_a_node=2, least=1)
    assert nodes == [1, 1, 2, 2, 1]
    assert oracle_node_s(nodes, boot_s=0) == 7 * GRID_S
    assert oracle_node_s(nodes, boot_s=GRID_S) == 8 * GRID_S


def test_a_session_costs_what_placement_asks_for_it() -> None:
    streams = [
        RequestStream(0, Kind.AUDIO, Codec.OPUS, 111, 1, 5004, None, 48000, 2),
        RequestStream(1, Kind.VIDEO, Codec.VP8, 96, 2, 5006, None, 90000, None),
    ]
    assert price(streams).mcpu == SESSION_MCPU


@pytest.mark.parametrize("name", [region.name for region in REGIONS])
def test_regions_are_ones_that_can_be_registered(name: str) -> None:
    policy = OrchestratorSettings(_env_file=None, autoscale_policy=f'{{"{name}": {{}}}}').scaled_regions
    assert policy == {name}
