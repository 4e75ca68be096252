"""VP8 payload descriptors (RFC 7741)."""

import pytest

from edumeet_recording.media.depacketize.vp8 import Vp8Builder, renumbered, resolution, split
from edumeet_recording.media.errors import MediaError

KEY = bytes.fromhex("10 02 00 9d012a 4001 b400") + b"rest"
"""320 x 180, no scaling."""


def add(builder: Vp8Builder, *payloads: str) -> None:
    """Add payloads given in hex."""
    for payload in payloads:
        builder.add(memoryview(bytes.fromhex(payload)))


@pytest.mark.parametrize(
    "descriptor",
    ["10", "90 00", "90 80 05", "90 80 8005", "90 40 01", "90 20 40", "90 10 03", "90 f0 ff01 02 03", "b0 e0 05 07 40"],
)
def test_descriptors_of_every_length(descriptor: str) -> None:
    builder = Vp8Builder()
    builder.add(memoryview(bytes.fromhex(descriptor) + KEY))
    assert builder.finish() == (KEY, True, 320, 180)


def test_a_frame_is_its_payloads_joined() -> None:
    builder = Vp8Builder()
    add(builder, "90 80 05 01aa", "80 80 05 bb", "91 80 05 cc")
    assert builder.finish() == (bytes.fromhex("01aabbcc"), False, None, None)


@pytest.mark.parametrize(
    "payload", ["10", "90", "90 80", "90 80 80", "90 80 8001", "90 f0 ff01 02", "80 80 05", "00 aa", "11 aa"]
)
def test_malformed_or_out_of_place_at_the_beginning(payload: str) -> None:
    with pytest.raises(MediaError):
        add(Vp8Builder(), payload)


def test_a_second_beginning_is_refused() -> None:
    builder = Vp8Builder()
    add(builder, "10 01")
    with pytest.raises(MediaError):
        add(builder, "10 01")


@pytest.mark.parametrize(
    ("before", "after", "follows"),
    [
        ("90 80 05", "90 80 06", True),
        ("90 80 05", "90 80 05", False),
        ("90 80 05", "90 80 07", False),
        ("90 80 7f", "90 80 00", True),
        ("90 80 80ff", "90 80 8100", True),
        ("90 80 ffff", "90 80 8000", True),
        ("90 80 05", "10", False),
        ("10", "10", False),
        ("10", "90 80 06", False),
    ],
)
def test_picture_ids_tell_whether_frames_are_neighbours(before: str, after: str, follows: bool) -> None:
    builder = Vp8Builder()
    add(builder, before + "01")
    builder.finish()
    add(builder, after + "01")
    assert builder.resume() is follows


@pytest.mark.parametrize("frame", [b"", KEY[:9], b"\x11" + KEY[1:], KEY[:3] + bytes(7)])
def test_no_size_of_what_is_no_key_frame(frame: bytes) -> None:
    with pytest.raises(MediaError):
        resolution(frame)


def test_scaling_bits_are_no_size() -> None:
    assert resolution(KEY[:6] + bytes.fromhex("4041 b4c0")) == (320, 180)


def test_a_broken_key_frame_is_refused() -> None:
    builder = Vp8Builder()
    add(builder, "10 00 00")
    with pytest.raises(MediaError):
        builder.finish()


@pytest.mark.parametrize(
    ("payload", "contents", "picture", "range_"),
    [
        (b"\x90\xe0\x85\x39\x07\x20data", b"\x90\xe0\x20data", 0x539, 0x8000),
        (b"\x90\x80\x39data", b"\x90\x80data", 0x39, 0x80),
        (b"\x90\x40\x07\x07data", b"\x90\x40\x07\x07data", 0, 1),
        (b"\x10data", b"\x10data", 0, 1),
        (b"\x90\x80\x81", b"\x90\x80\x81", 0, 1),
    ],
)
def test_numbers_are_told_from_contents(payload: bytes, contents: bytes, picture: int, range_: int) -> None:
    assert split(memoryview(payload)) == (contents, picture, range_)


@pytest.mark.parametrize(
    ("payload", "by", "expected"),
    [
        (b"\x90\x80\x85\x39data", 2, b"\x90\x80\x85\x3bdata"),
        (b"\x90\x80\xff\xffdata", 2, b"\x90\x80\x80\x01data"),
        (b"\x90\x80\x7fdata", 1, b"\x90\x80\x00data"),
    ],
)
def test_pictures_are_renumbered(payload: bytes, by: int, expected: bytes) -> None:
    assert bytes(renumbered(memoryview(payload), by)) == expected
