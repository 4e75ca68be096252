"""AV1 aggregation headers, OBUs and sequence headers."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edumeet_recording.media.depacketize.av1 import Av1Builder, read_leb128, resolution, write_leb128
from edumeet_recording.media.errors import MediaError

DELIMITER = b"\x12\x00"
SEQUENCE, FRAME_HEADER, FRAME, METADATA, PADDING = 1, 3, 6, 5, 15


def sequence_header(middle: str, width: int = 1280, height: int = 720) -> bytes:
    """A payload: `middle` are the bits between still_picture and the size."""
    text = "000" + "0" + middle + f"{15:04b}{15:04b}{width - 1:016b}{height - 1:016b}"
    text += "0" * (-len(text) % 8)
    return int(text, 2).to_bytes(len(text) // 8)


PLAIN = sequence_header("0" + "0" + "0" + "00000" + "0" * 12 + "00101")


def obu(kind: int, payload: bytes) -> bytes:
    """An OBU as RTP carries it: without size."""
    return bytes([kind << 3]) + payload


def sized(kind: int, payload: bytes) -> bytes:
    """An OBU of the low-overhead format."""
    return bytes([kind << 3 | 2]) + write_leb128(len(payload)) + payload


KEY_FRAME, INTER_FRAME = b"\x10abc", b"\x30abc"


def build(*payloads: bytes) -> Av1Builder:
    """A builder that was given these."""
    builder = Av1Builder()
    for payload in payloads:
        builder.add(memoryview(payload))
    return builder


def element(data: bytes) -> bytes:
    """An OBU element with its size."""
    return write_leb128(len(data)) + data


@pytest.mark.parametrize(
    "middle",
    [
        "0" + "0" + "0" + "00000" + "0" * 12 + "00101",
        "0" + "0" + "0" + "00000" + "0" * 12 + "01000" + "1",
        "0" + "1" + "0" * 64 + "0" + "0" + "0" + "00000" + "0" * 12 + "00101",
        "0" + "1" + "0" * 64 + "1" + "00100" + "0" + "0" + "00000" + "0" * 12 + "00101",
        "0" + "1" + "0" * 64 + "0" + "1" + "01001" + "0" * 42 + "0" + "00000" + "0" * 12 + "00101" + "0",
        "0" + "1" + "0" * 64 + "0" + "1" + "01001" + "0" * 42 + "0" + "00000" + "0" * 12 + "00101" + "1" + "0" * 21,
        "0" + "0" + "1" + "00001" + 2 * ("0" * 12 + "00101" + "1" + "0011"),
        "0" + "0" + "1" + "00000" + "0" * 12 + "00101" + "0",
        "1" + "00101",
    ],
)
def test_size_of_every_form_of_sequence_header(middle: str) -> None:
    unit = DELIMITER + sized(METADATA, b"m") + sized(SEQUENCE, sequence_header(middle))
    assert resolution(unit) == (1280, 720)


@pytest.mark.parametrize(
    "unit",
    [
        b"",
        DELIMITER,
        DELIMITER + b"\x0a",
        DELIMITER + b"\x0a\x05a",
        b"\x08" + PLAIN,
        sized(SEQUENCE, PLAIN[:3]),
        b"\x0e\x00",
    ],
)
def test_no_size_without_a_whole_sequence_header(unit: bytes) -> None:
    with pytest.raises(MediaError):
        resolution(unit)


@given(st.integers(0, 2**56 - 1))
def test_leb128_round_trips(value: int) -> None:
    data = write_leb128(value)
    assert read_leb128(b"x" + data + b"y", 1) == (value, 1 + len(data))


def test_leb128_may_be_longer_than_needed_but_must_end() -> None:
    assert read_leb128(b"\x85\x80\x00", 0) == (5, 3)
    for data in (b"", b"\x80", b"\x80" * 9):
        with pytest.raises(MediaError):
            read_leb128(data, 0)


WHOLE = DELIMITER + sized(SEQUENCE, PLAIN) + sized(FRAME, KEY_FRAME)


@pytest.mark.parametrize(
    "payloads",
    [
        [b"\x08" + element(obu(SEQUENCE, PLAIN)) + element(obu(FRAME, KEY_FRAME))],
        [b"\x28" + element(obu(SEQUENCE, PLAIN)) + obu(FRAME, KEY_FRAME)],
        [b"\x18" + obu(SEQUENCE, PLAIN), b"\x10" + obu(FRAME, KEY_FRAME)],
        [
            b"\x68" + element(obu(SEQUENCE, PLAIN)) + obu(FRAME, KEY_FRAME)[:2],
            b"\xd0" + KEY_FRAME[1:2],
            b"\x90" + KEY_FRAME[2:],
        ],
        [b"\x18" + sized(SEQUENCE, PLAIN), b"\x10" + sized(FRAME, KEY_FRAME) + b"trailing"],
        [
            b"\x38" + element(DELIMITER) + element(obu(SEQUENCE, PLAIN)) + obu(FRAME, KEY_FRAME),
            b"\x10" + obu(PADDING, b"xx"),
        ],
    ],
)
def test_a_key_frame_in_every_packing(payloads: list[bytes]) -> None:
    assert build(*payloads).finish() == (WHOLE, True, 1280, 720)


def test_other_frames_are_no_key_frames() -> None:
    sequence = b"\x18" + obu(SEQUENCE, PLAIN)
    for payloads in (
        [b"\x10" + obu(FRAME, INTER_FRAME)],
        [sequence, b"\x10" + obu(FRAME, INTER_FRAME)],
        [sequence, b"\x10" + obu(FRAME_HEADER, b"\x90")],
        [sequence, b"\x10" + obu(FRAME, INTER_FRAME), b"\x10" + obu(FRAME, KEY_FRAME)],
        [sequence, b"\x10" + obu(FRAME_HEADER, b"")],
        [b"\x10" + obu(FRAME, KEY_FRAME)],
        [b"\x18" + obu(METADATA, b"m"), sequence, b"\x10" + obu(FRAME, KEY_FRAME)],
        [sequence],
    ):
        assert not build(*payloads).finish().key


def test_extension_bytes_are_kept() -> None:
    layered = bytes([FRAME << 3 | 4, 0x28])
    assert build(b"\x10" + layered + INTER_FRAME).finish().data == (
        DELIMITER + bytes([FRAME << 3 | 6, 0x28, len(INTER_FRAME)]) + INTER_FRAME
    )


@pytest.mark.parametrize(
    "payloads",
    [
        [b"\x10"],
        [b"\x00"],
        [b"\x20\x02ab"],
        [b"\x00\x05ab"],
        [b"\x00\x00"],
        [b"\x00\x80"],
        [b"\x90abc"],
        [b"\x50abc", b"\x10abc"],
        [b"\x10\x34"],
        [b"\x10\x32\x05ab"],
        [b"\x10\x32"],
        [b"\x10\x32\x80"],
    ],
)
def test_malformed_payloads_and_missing_parts_are_refused(payloads: list[bytes]) -> None:
    with pytest.raises(MediaError):
        build(*payloads)


def test_the_end_must_be_there() -> None:
    for payloads in ([b"\x50abc"], [b"\x10" + DELIMITER], []):
        with pytest.raises(MediaError):
            build(*payloads).finish()


def test_a_broken_sequence_header_is_refused() -> None:
    with pytest.raises(MediaError):
        build(b"\x18" + obu(SEQUENCE, PLAIN[:3]), b"\x10" + obu(FRAME, KEY_FRAME)).finish()
