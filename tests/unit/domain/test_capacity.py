"""What a node learns of its capacity, and when it has too much to do."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edumeet_recording.domain.capacity import (
    CHEAPEST,
    DEAREST,
    LEARN_S,
    REFUSE_AFTER_S,
    SHED_AFTER_S,
    Strain,
    corrected_mcpu,
    learned,
    strained,
    usable_bytes_per_s,
)
from edumeet_recording.domain.price import capacity_mcpu


def after(factor: float, seconds: int, used_mcpu: float, promised_mcpu: int = 1600) -> float:
    for _ in range(seconds):
        factor = learned(factor, used_mcpu=used_mcpu, promised_mcpu=promised_mcpu, cores=4, seconds=1)
    return factor


def test_a_lasting_difference_is_believed_in_the_end() -> None:
    assert after(1.0, 3000, used_mcpu=800) == pytest.approx(0.5, rel=0.01)
    assert after(1.0, 3000, used_mcpu=3200) == pytest.approx(2.0, rel=0.01)


def test_a_moment_changes_next_to_nothing() -> None:
    assert after(1.0, 1, used_mcpu=1_000_000) == pytest.approx(1.0, abs=0.01)


@pytest.mark.parametrize("promised", [0, 319])
def test_few_captures_tell_nothing(promised: int) -> None:
    assert after(1.0, 100, used_mcpu=3000, promised_mcpu=promised) == 1.0


@given(
    st.floats(CHEAPEST, DEAREST),
    st.floats(0, 1e9),
    st.integers(-1, 10**6),
    st.floats(0.1, 512),
    st.floats(0, 10 * LEARN_S),
)
def test_it_stays_in_its_bounds(factor: float, used: float, promised: int, cores: float, seconds: float) -> None:
    new = learned(factor, used_mcpu=used, promised_mcpu=promised, cores=cores, seconds=seconds)
    assert CHEAPEST <= new <= DEAREST
    assert factor / 2 <= new * 1.000001
    assert new <= factor * 2.000001


def test_dearer_captures_leave_room_for_fewer() -> None:
    assert corrected_mcpu(4, 1.0) == capacity_mcpu(4)
    assert corrected_mcpu(4, 2.0) == capacity_mcpu(4) // 2


def test_the_scarcest_counts_and_the_unknown_does_not() -> None:
    assert usable_bytes_per_s(100.0, None) == 80
    assert usable_bytes_per_s(100.0, 50.0) == 40
    assert usable_bytes_per_s(None, None) is None


def strain_of(*percents: float) -> Strain:
    """One look a second."""
    strain = Strain()
    for second, percent in enumerate(percents):
        strain = strained(strain, percent, float(second))
    return strain


def test_hot_cores_refuse_and_then_shed() -> None:
    assert not strain_of(*[95] * int(REFUSE_AFTER_S)).refuses
    refusing = strain_of(*[95] * (int(REFUSE_AFTER_S) + 1))
    assert (refusing.refuses, refusing.sheds) == (True, False)
    assert strain_of(*[95] * (int(SHED_AFTER_S) + 1)).sheds


def test_a_peak_is_none() -> None:
    assert strain_of(95, 95, 80, 95, 95) == Strain(hot_since=3.0)


def test_what_refuses_takes_captures_again_only_when_it_is_cool() -> None:
    hot = [95.0] * 20
    assert strain_of(*hot, 80) == Strain(None, refuses=True, sheds=False)
    assert strain_of(*hot, 80, 74) == Strain()
