"""A node whose clock is set in mid-recording, told from senders that begin anew or stand still."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.unit.media.test_clock import Simulated

from edumeet_recording.media.clock import NS
from edumeet_recording.media.clock_steps import ClockStep, clock_steps, set_right
from edumeet_recording.media.tape import Record, RecordKind


def heard(source: Simulated, start_s: float, end_s: float, *, by_s: float = 0.0, reports: bool = True) -> Simulated:
    """Send, and report every two seconds, while the node's clock is wrong by `by_s`."""
    for at_s in range(round(start_s), round(end_s), 2):
        source.send(at_s, min(at_s + 2, end_s), extra_s=by_s)
        if reports:
            source.report(at_s + 1, 500 + at_s + 1, by_s)
    return source


def steps(*sources: Simulated) -> tuple[ClockStep, ...]:
    return clock_steps({index: [source.observer] for index, source in enumerate(sources)})


@settings(max_examples=30, deadline=None)
@given(
    by_s=st.one_of(st.floats(-5000, -0.8), st.floats(0.8, 5000)),
    late_s=st.floats(0, 0.03),
    reports=st.booleans(),
)
def test_a_clock_that_is_set_is_noticed(by_s: float, late_s: float, reports: bool) -> None:
    source = Simulated(48000, jitter_s=late_s)
    heard(source, 0, 30, reports=reports)
    heard(source, 30, 60, by_s=by_s, reports=reports)

    found = steps(source)

    if by_s > 0 and not reports:
        # As well the sender may have stood still.
        assert found == ()
        return
    (step,) = found
    assert step.by_ns == pytest.approx(by_s * NS, abs=0.1 * NS)
    # Ahead, it is seen in the first second that is all of it.
    assert 300 <= step.position <= (300 if by_s < 0 else 311)
    assert step.positions == {0: step.position}


def test_all_streams_tell_of_one_step_each_where_it_saw_it() -> None:
    audio = heard(heard(Simulated(48000), 0, 30), 30, 60, by_s=-3)
    video = heard(heard(Simulated(90000), 0, 28, reports=False), 28, 60, by_s=-3, reports=False)
    silent = Simulated(48000).send(0, 10)

    (step,) = steps(audio, video, silent)

    assert step.by_ns == pytest.approx(-3 * NS, abs=1)
    assert step.positions == {0: 300, 1: 280}
    assert step.position == 280


def test_reports_of_one_stream_speak_for_another_without() -> None:
    audio = heard(heard(Simulated(48000), 0, 30), 30, 60, by_s=20)
    video = heard(heard(Simulated(90000), 0, 30, reports=False), 30, 60, by_s=20, reports=False)

    (step,) = steps(video, audio)

    assert set(step.positions) == {0, 1}


def test_set_there_and_back() -> None:
    source = heard(heard(heard(Simulated(48000), 0, 30), 30, 60, by_s=2), 60, 90)

    there, back = steps(source)

    assert (there.by_ns, back.by_ns) == (2 * NS, -2 * NS)


def test_set_while_the_stream_was_muted() -> None:
    """What was reported in the meantime is of either side."""
    source = heard(Simulated(48000), 0, 30)
    for at_s in range(31, 60, 2):
        source.report(at_s, 500 + at_s, -4 if at_s > 40 else 0)
    heard(source, 60, 90, by_s=-4)

    (step,) = steps(source)

    assert step.by_ns == -4 * NS


@pytest.mark.parametrize("by_s", [-40_000, -15, 15, 40_000])
@pytest.mark.parametrize("reports", [True, False])
def test_a_sender_that_began_anew_is_no_clock(by_s: float, reports: bool) -> None:
    source = heard(Simulated(90000), 0, 30, reports=reports)
    source.base += round(by_s * 90000)
    heard(source, 32, 60, reports=reports)

    assert steps(source) == ()


def test_a_sender_that_stood_still_is_no_clock() -> None:
    source = heard(Simulated(48000), 0, 20)
    source.base -= 4 * 48000
    heard(source, 24, 50)

    assert steps(source) == ()


def test_a_network_that_stalled_is_no_clock() -> None:
    assert steps(Simulated(48000).send(0, 20).send(20, 20.5, extra_s=4).send(26, 60)) == ()


def test_a_sender_that_began_anew_just_then_does_not_tell_by_how_much() -> None:
    source = heard(Simulated(48000), 0, 30, reports=False)
    source.base += 20_000 * 48000
    heard(source, 30, 60, by_s=-3, reports=False)

    assert steps(source) == ()


def test_records_are_set_right_by_stream_and_position() -> None:
    by = [ClockStep(100, 2, {0: 3}), ClockStep(-30, 5, {})]
    chunks = [
        [Record(1000 + number, stream, RecordKind.RTP, memoryview(b"")) for number, stream in numbers]
        for numbers in ([(0, 0), (1, 1), (2, 0)], [(3, 0), (4, 1), (5, 1), (6, 0)])
    ]

    right = [[record.arrival_ns for record in chunk] for chunk in set_right(chunks, by)]

    assert right == [[1000, 1001, 1002], [903, 904, 935, 936]]
