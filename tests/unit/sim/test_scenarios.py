from edumeet_recording.domain.codecs import Codec, Kind
from edumeet_recording.sim.scenarios import SCENARIOS, Resize


def test_every_codec_is_recorded() -> None:
    recorded = {scenario.media.codec(kind) for scenario in SCENARIOS.values() for kind in Kind}

    assert recorded - {None} == set(Codec) - {Codec.PCMA}


def test_no_two_meet_in_a_room() -> None:
    assert len({(scenario.room_id, scenario.peer_id) for scenario in SCENARIOS.values()}) == len(SCENARIOS)


def test_what_happens_happens_in_order_and_leaves_time_to_show() -> None:
    for scenario in SCENARIOS.values():
        times = [step.at_s for step in scenario.steps]
        assert times == sorted(times)
        assert all(at_s <= scenario.seconds - 2 for at_s in times)


def test_a_size_keeps_the_frame_rate() -> None:
    for scenario in SCENARIOS.values():
        shapes = [step.act.shape for step in scenario.steps if isinstance(step.act, Resize)]
        assert {shape.fps for shape in shapes} <= {scenario.media.shape.fps}
