"""VP9 payload descriptors (RFC 9628), layers and headers."""

import pytest

from edumeet_recording.media.depacketize.vp9 import Vp9Builder, is_key, resolution
from edumeet_recording.media.errors import MediaError

INTER = b"\x86\x00"


def key_frame(profile: int, color: str, width: int, height: int) -> bytes:
    """An uncompressed header of the VP9 bitstream specification §6.2 up to the size."""
    head = "10" + f"{profile & 1}{profile >> 1}" + ("0" if profile == 3 else "") + "0" + "0" + "1" + "0"
    text = head + f"{0x498342:024b}" + color + f"{width - 1:016b}{height - 1:016b}"
    return int(text.ljust(-(-len(text) // 8) * 8, "0"), 2).to_bytes(-(-len(text) // 8))


KEY = key_frame(0, "0010", 640, 360)


@pytest.mark.parametrize(
    ("profile", "color"),
    [
        (0, "0010"),
        (0, "111"),
        (1, "0010110"),
        (1, "1110"),
        (2, "10010"),
        (2, "1111"),
        (3, "00010110"),
        (3, "01110"),
    ],
)
def test_size_of_every_profile(profile: int, color: str) -> None:
    frame = key_frame(profile, color, 1280, 720)
    assert is_key(frame)
    assert resolution(frame) == (1280, 720)


@pytest.mark.parametrize("frame", [b"", b"\x00", INTER, KEY[:8], KEY[:1] + bytes(11)])
def test_no_size_of_what_is_no_key_frame(frame: bytes) -> None:
    with pytest.raises(MediaError):
        resolution(frame)


@pytest.mark.parametrize(
    ("first", "key"), [(0x82, True), (0x86, False), (0x88, False), (0xB2, False), (0xB4, False), (0xB0, True)]
)
def test_key_frames_are_told_by_their_first_byte(first: int, key: bool) -> None:
    assert is_key(bytes([first])) is key


@pytest.mark.parametrize("frame", [b"", b"\x42"])
def test_what_is_no_frame_is_no_key_frame_either(frame: bytes) -> None:
    with pytest.raises(MediaError):
        is_key(frame)


@pytest.mark.parametrize(
    "descriptor",
    [
        "0c",
        "8c 05",
        "8c 8005",
        "2c 00 07",
        "ac 8005 00 07",
        "bc 05 00",
        "fc 05 00 02",
        "fc 05 00 0302",
        "fc 05 00 030302",
        "0e 00",
        "0e 10 02800168",
        "0e 38 02800168 05000b40 03 00 04 02 28 0102",
        "8e 05 18 02800168 00",
    ],
)
def test_descriptors_of_every_form(descriptor: str) -> None:
    builder = Vp9Builder()
    builder.add(memoryview(bytes.fromhex(descriptor) + KEY))
    assert builder.finish() == (KEY, True, 640, 360)


@pytest.mark.parametrize(
    "payload",
    [
        "0c",
        "8c",
        "8c 80",
        "2c 00",
        "fc 05 00 030303 aa",
        "fc 05 00 03",
        "0e",
        "0e 10",
        "0e 08",
        "0e 08 01",
        "04 aa",
        "00 aa",
    ],
)
def test_malformed_or_out_of_place_at_the_beginning(payload: str) -> None:
    with pytest.raises(MediaError):
        Vp9Builder().add(memoryview(bytes.fromhex(payload)))


def test_a_beginning_before_the_end_is_refused() -> None:
    builder = Vp9Builder()
    builder.add(memoryview(b"\x08" + INTER))
    with pytest.raises(MediaError):
        builder.add(memoryview(b"\x08" + INTER))
    with pytest.raises(MediaError):
        builder.finish()


def test_spatial_layers_become_a_superframe() -> None:
    builder = Vp9Builder()
    upper = INTER + bytes(300)
    builder.add(memoryview(bytes.fromhex("ac 05 00 07") + KEY))
    builder.add(memoryview(bytes.fromhex("e8 05 03 07") + upper[:100]))
    builder.add(memoryview(bytes.fromhex("e4 05 03 07") + upper[100:]))
    index = b"\xc9" + len(KEY).to_bytes(2, "little") + len(upper).to_bytes(2, "little") + b"\xc9"
    assert builder.finish() == (KEY + upper + index, True, 640, 360)


def test_more_layers_than_a_superframe_takes_are_refused() -> None:
    builder = Vp9Builder()
    for _ in range(9):
        builder.add(memoryview(b"\x0c" + INTER))
    with pytest.raises(MediaError):
        builder.finish()


@pytest.mark.parametrize(
    ("before", "after", "follows"),
    [
        ("8c 05", "8c 06", True),
        ("8c 7f", "8c 00", True),
        ("8c ffff", "8c 8000", True),
        ("8c 05", "8c 07", False),
        ("8c 05", "0c", False),
        ("0c", "8c 06", False),
        ("0c", "0c", False),
        ("ac 05 00 00", "ac 06 20 00", True),
        ("ac 05 00 00", "ac 06 21 00", True),
        ("ac 05 00 00", "ac 06 02 00", False),
    ],
)
def test_picture_ids_tell_whether_pictures_are_neighbours(before: str, after: str, follows: bool) -> None:
    builder = Vp9Builder()
    builder.add(memoryview(bytes.fromhex(before) + INTER))
    builder.finish()
    builder.add(memoryview(bytes.fromhex(after) + INTER))
    assert builder.resume() is follows
