"""Reading bit by bit."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edumeet_recording.media.depacketize.bits import BitReader
from edumeet_recording.media.errors import MediaError


def bits_of(text: str) -> BitReader:
    """A reader of these bits, zeros after them."""
    text = text.replace(" ", "")
    text += "0" * (-len(text) % 8)
    return BitReader(int(text, 2).to_bytes(len(text) // 8))


def test_numbers_come_from_the_most_significant_bit_on() -> None:
    bits = bits_of("1 010 0011 11110000")
    assert [bits.read(1), bits.read(3), bits.read(0), bits.read(4), bits.read(8)] == [1, 2, 0, 3, 0xF0]
    with pytest.raises(MediaError):
        bits.read(1)


@pytest.mark.parametrize(
    ("code", "unsigned", "signed"),
    [("1", 0, 0), ("010", 1, 1), ("011", 2, -1), ("00100", 3, 2), ("00111", 6, -3), ("0001000", 7, 4)],
)
def test_exp_golomb_codes(code: str, unsigned: int, signed: int) -> None:
    assert bits_of(code).ue() == unsigned
    assert bits_of(code).se() == signed


@given(st.integers(0, 2**32 - 2))
def test_exp_golomb_codes_round_trip(value: int) -> None:
    digits = f"{value + 1:b}"
    assert bits_of("0" * (len(digits) - 1) + digits).ue() == value


def test_endless_zeros_are_refused() -> None:
    with pytest.raises(MediaError, match="32 bits"):
        BitReader(bytes(65536)).ue()
    with pytest.raises(MediaError, match="cut off"):
        BitReader(bytes(2)).ue()
