"""Order, duplicates and holes of one source's packets."""

import random
from collections.abc import Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edumeet_recording.media.reorder import WAIT_NS, WAIT_PACKETS, Extender, Ordered, Reorderer
from edumeet_recording.media.rtp import RtpPacket

MS = 1_000_000


def packet(sequence: int, arrival_ms: float = 0, sent_ms: float | None = None) -> Ordered:
    timestamp = round(90 * (arrival_ms if sent_ms is None else sent_ms))
    return Ordered(
        sequence, timestamp, round(arrival_ms * MS), RtpPacket(96, False, sequence & 0xFFFF, 0, 1, memoryview(b"x"))
    )


def sequences(items: Sequence[Ordered]) -> list[int]:
    return [item.sequence for item in items]


@given(st.integers(0, 0xFFFF), st.integers(0, 2**32 - 1), st.integers(0, 2**32))
def test_reordered_wrapping_counters_are_extended(first: int, base: int, seed: int) -> None:
    numbers = list(range(300))
    chance = random.Random(seed)
    order = sorted(numbers, key=lambda number: number + chance.uniform(0, 20))
    extender = Extender(90000)

    made = {number: extender.extend((first + number) & 0xFFFF, (base + number * 3000) & 0xFFFFFFFF) for number in order}

    origin = made[0]
    assert made == {number: (origin[0] + number, origin[1] + number * 3000) for number in numbers}


@given(st.integers(0, 0xFFFF), st.integers(10 * 90000, 2**32 - 10 * 90000))
def test_a_restart_leads_ahead(sequence: int, leap: int) -> None:
    extender = Extender(90000)
    before = extender.extend(50_000, 1000)

    after = extender.extend(sequence, (1000 + leap) & 0xFFFFFFFF)

    assert after[0] > before[0]
    assert after[0] % 0x10000 == sequence
    assert (after[1] - before[1]) % 2**32 == leap


def test_a_repeated_packet_is_the_same_number() -> None:
    extender = Extender(48000)

    assert extender.extend(7, 960) == extender.extend(7, 960)


@given(st.permutations(range(12)), st.sets(st.integers(0, 11)))
def test_order_is_restored_and_duplicates_are_dropped(order: list[int], twice: set[int]) -> None:
    reorderer = Reorderer(90000)
    given_out: list[int] = sequences(reorderer.push(packet(100)))

    for number in order:
        for _ in range(2 if number in twice else 1):
            given_out += sequences(reorderer.push(packet(101 + number)))

    assert given_out == list(range(100, 113))
    assert reorderer.duplicates == len(twice)
    assert reorderer.lost == 0


def test_a_hole_is_given_up_after_a_while() -> None:
    reorderer = Reorderer(90000)
    reorderer.push(packet(1))
    assert sequences(reorderer.push(packet(4, 10))) == []

    ready = reorderer.push(packet(5, 11 + WAIT_NS / MS))

    assert sequences(ready) == [4, 5]
    assert reorderer.lost == 2
    assert reorderer.push(packet(2)) == ()
    assert reorderer.duplicates == 1


def test_what_fills_a_hole_late_is_recovered_what_comes_soon_was_only_reordered() -> None:
    reorderer = Reorderer(90000)
    for sequence, arrival_ms in ((1, 0), (3, 1), (2, 2), (5, 10), (4, 150)):
        reorderer.push(packet(sequence, arrival_ms))

    assert reorderer.reordered == 1
    assert reorderer.recovered == 1
    assert reorderer.lost == 0


def test_no_more_than_so_many_are_held() -> None:
    reorderer = Reorderer(90000)
    reorderer.push(packet(0))

    given_out = [one for number in range(WAIT_PACKETS + 1) for one in reorderer.push(packet(2 + number))]

    assert len(given_out) == WAIT_PACKETS + 1
    assert reorderer.lost == 1


def test_a_restart_is_not_counted_as_loss() -> None:
    reorderer = Reorderer(90000)
    reorderer.push(packet(1))
    reorderer.push(packet(40_000))

    assert sequences(reorderer.flush()) == [40_000]
    assert reorderer.lost == 0
    assert reorderer.restarts == 1


@pytest.mark.parametrize(
    ("sent_ms", "lost"), [(60_000, 299), (52_000, 299), (68_000, 299), (0, 0), (1e9, 0), (-1e7, 0)]
)
def test_a_hole_over_which_timestamps_leap_is_a_restart(sent_ms: float, lost: int) -> None:
    """Packets were lost for a minute, or the publisher came back after one with sequence numbers not far ahead."""
    reorderer = Reorderer(90000)
    reorderer.push(packet(1))
    reorderer.push(packet(301, 60_000, sent_ms))

    assert sequences(reorderer.flush()) == [301]
    assert reorderer.lost == lost
    assert reorderer.restarts == (lost == 0)
