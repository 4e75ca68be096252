"""H.264 payloads (RFC 6184), parameter sets and sizes."""

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.unit.media.depacketize.vectors import packet

from edumeet_recording.domain.codecs import Codec
from edumeet_recording.media.depacketize import depacketizer_for
from edumeet_recording.media.depacketize.h264 import H264Builder, resolution, sps_resolution
from edumeet_recording.media.errors import MediaError


def exp_golomb(*values: int) -> str:
    """Unsigned codes."""
    return "".join("0" * (len(f"{value + 1:b}") - 1) + f"{value + 1:b}" for value in values)


def sps(middle: str, *, profile: int = 66, order: str = "", reference_frames: str = "") -> bytes:
    """An SPS NAL unit: `middle` are the bits from pic_width_in_mbs on."""
    text = f"{profile:08b}" + "0" * 8 + f"{31:08b}" + exp_golomb(0) + order + (reference_frames or exp_golomb(1) + "0")
    text += middle + "1"
    text += "0" * (-len(text) % 8)
    body = int(text, 2).to_bytes(len(text) // 8)
    return b"\x67" + re.sub(rb"\0\0(?=[\0-\3])", b"\0\0\3", body)


SIMPLE_ORDER = exp_golomb(0, 2)
"""log2_max_frame_num and picture order count type 2."""
FRAMES = "1" + "1"
"""frame_mbs_only, direct_8x8_inference."""


def size_bits(columns: int, rows: int, rest: str = FRAMES + "0") -> str:
    """Macroblock columns and rows, then flags and cropping."""
    return exp_golomb(columns - 1, rows - 1) + rest


PLAIN = sps(size_bits(20, 15), order=SIMPLE_ORDER)
SLICE, MORE_SLICE, IDR, PPS = b"\x41\x9a", b"\x41\x5a", b"\x65\x88", b"\x68\xce"


def units(*nals: bytes) -> bytes:
    """Annex B."""
    return b"".join(b"\0\0\0\1" + nal for nal in nals)


def stap(*nals: bytes) -> bytes:
    """An aggregate."""
    return b"\x78" + b"".join(len(nal).to_bytes(2) + nal for nal in nals)


def build(*payloads: bytes) -> H264Builder:
    """A builder that was given these."""
    builder = H264Builder()
    for payload in payloads:
        builder.add(memoryview(payload))
    return builder


@pytest.mark.parametrize(
    ("nal", "size"),
    [
        (PLAIN, (320, 240)),
        (sps(size_bits(120, 68, FRAMES + "1" + exp_golomb(0, 0, 0, 4)), order=SIMPLE_ORDER), (1920, 1080)),
        (sps(size_bits(20, 15, FRAMES + "1" + exp_golomb(1, 2, 3, 4)), order=SIMPLE_ORDER), (314, 226)),
        (sps(size_bits(120, 34, "0" + "01" + "1" + exp_golomb(0, 0, 0, 2)), order=SIMPLE_ORDER), (1920, 1080)),
        (sps(size_bits(20, 15), order=exp_golomb(0, 0, 4)), (320, 240)),
        (sps(size_bits(20, 15), order=exp_golomb(0, 1) + "0" + exp_golomb(3, 4, 2, 5, 6)), (320, 240)),
    ],
)
def test_size_of_frames_fields_and_cropping(nal: bytes, size: tuple[int, int]) -> None:
    assert sps_resolution(nal) == size


@pytest.mark.parametrize(
    ("chroma", "size"),
    [
        (exp_golomb(0), (319, 239)),
        (exp_golomb(1), (318, 238)),
        (exp_golomb(2), (318, 239)),
        (exp_golomb(3) + "0", (319, 239)),
        (exp_golomb(3) + "1", (319, 239)),
    ],
)
@pytest.mark.parametrize("lists", ["none", "default", "all"])
def test_size_in_the_high_profiles(chroma: str, size: tuple[int, int], lists: str) -> None:
    count = 12 if chroma == exp_golomb(3) + "0" else 8
    # A list whose first delta is -8 is the default one; deltas of 0 repeat the last value.
    default, flat = "1" + exp_golomb(16), ["1" + exp_golomb(0) * (16 if index < 6 else 64) for index in range(count)]
    scaling = {"none": "0", "default": "1" + default + "0" * (count - 1), "all": "1" + "".join(flat)}[lists]
    order = chroma + exp_golomb(0, 0) + "0" + scaling + SIMPLE_ORDER
    cropped = size_bits(20, 15, FRAMES + "1" + exp_golomb(0, 1, 0, 1))
    assert sps_resolution(sps(cropped, profile=100, order=order)) == size


def test_emulation_prevention_is_undone() -> None:
    nal = sps(size_bits(20, 15), order=exp_golomb(0, 0, 4), reference_frames=exp_golomb(2**28) + "0")
    assert b"\0\0\3" in nal
    assert sps_resolution(nal) == (320, 240)


@pytest.mark.parametrize(
    "nal",
    [
        b"\x67",
        PLAIN[:5],
        sps(size_bits(20, 15, FRAMES + "1" + exp_golomb(200, 200, 0, 0)), order=SIMPLE_ORDER),
        sps(size_bits(20, 15, FRAMES + "1" + exp_golomb(0, 0, 200, 200)), order=SIMPLE_ORDER),
        sps(size_bits(5000, 15), order=SIMPLE_ORDER),
        sps(size_bits(20, 15), order=exp_golomb(0, 1) + "0" + exp_golomb(0, 0, 256)),
    ],
)
def test_an_impossible_sps_is_refused(nal: bytes) -> None:
    with pytest.raises(MediaError):
        sps_resolution(nal)


@given(st.binary(max_size=80), st.sampled_from([66, 100]))
def test_a_random_sps_has_a_size_or_is_refused(body: bytes, profile: int) -> None:
    try:
        width, height = sps_resolution(bytes([0x67, profile]) + body)
    except MediaError:
        return
    assert 0 < width < 65536
    assert 0 < height < 65536


def test_size_of_an_access_unit() -> None:
    assert resolution(units(b"\x09\xf0", PLAIN, PPS, IDR)) == (320, 240)
    assert resolution(b"\0\0\1" + PLAIN + b"\0\0\1" + IDR) == (320, 240)
    with pytest.raises(MediaError, match="no SPS"):
        resolution(units(IDR))


def test_a_key_frame_of_single_units_of_an_aggregate_and_of_fragments() -> None:
    whole = units(PLAIN, PPS, IDR + b"abcdef")
    for payloads in (
        [PLAIN, PPS, IDR + b"abcdef"],
        [stap(PLAIN, PPS, IDR + b"abcdef")],
        [stap(PLAIN, PPS), b"\x7c\x85" + IDR[1:] + b"ab", b"\x7c\x05cd", b"\x7c\x45ef"],
    ):
        assert build(*payloads).finish() == (whole, True, 320, 240)


def test_an_idr_picture_of_unknown_size_is_no_key_frame() -> None:
    assert build(PPS, IDR).finish() == (units(PPS, IDR), False, None, None)


def test_parameter_sets_once_are_enough() -> None:
    builder = build(PLAIN, PPS, SLICE)
    assert builder.finish() == (units(PLAIN, PPS, SLICE), False, None, None)
    for _ in range(2):
        builder.add(memoryview(IDR))
        builder.resume()
        assert builder.finish() == (units(IDR), True, 320, 240)


def test_parameter_sets_of_their_own_wait_for_their_picture() -> None:
    depacketizer = depacketizer_for(Codec.H264)
    assert depacketizer.push(0, 0, 0, packet(stap(PLAIN, PPS), marker=True)) == []
    assert depacketizer.push(1, 1, 0, packet(b"\x06\x05\x01\x00", marker=True)) == []
    (frame,) = depacketizer.push(2, 2, 0, packet(IDR, marker=True))
    assert frame.data == units(PLAIN, PPS, b"\x06\x05\x01\x00", IDR)
    assert (frame.key, frame.first_sequence, frame.timestamp) == (True, 2, 2)


def test_a_key_frame_whose_parameter_sets_were_lost_is_damaged() -> None:
    depacketizer = depacketizer_for(Codec.H264)
    depacketizer.push(0, 0, 0, packet(stap(PLAIN, PPS, IDR), marker=True))
    assert len(depacketizer.push(1, 1, 0, packet(stap(PLAIN, PPS, IDR), marker=True))) == 1
    # Packet 2 held the parameter sets of the next key frame, maybe of another size.
    assert depacketizer.push(3, 2, 0, packet(IDR, marker=True)) == []
    assert depacketizer.damaged == 1
    depacketizer.push(4, 3, 0, packet(stap(PLAIN, PPS, IDR), marker=True))
    (frame,) = depacketizer.push(5, 4, 0, packet(IDR, marker=True))
    assert frame.key


def test_pictures_of_several_slices() -> None:
    assert build(SLICE, MORE_SLICE).finish() == (units(SLICE, MORE_SLICE), False, None, None)
    assert build(b"\x42\x9a", b"\x43\x9a", b"\x44\x9a").finish() == (
        units(b"\x42\x9a", b"\x43\x9a", b"\x44\x9a"),
        False,
        None,
        None,
    )


@pytest.mark.parametrize(
    "payloads",
    [
        [MORE_SLICE],
        [b"\x41"],
        [b"\x60"],
        [b"\x79\x00\x00\x01"],
        [b"\x7d\x81\x00\x00"],
        [b"\x7e\x00"],
        [b"\x78\x00"],
        [b"\x78\x00\x00"],
        [b"\x78\x00\x05\x41"],
        [b"\x7c\x81"],
        [b"\x7c"],
        [b"\x7c\x01\x9a"],
        [b"\x7c\x81\x9a", b"\x7c\x81\x9a"],
        [b"\x7c\x81\x9a", SLICE],
        [b"\x7c\xc1\x9a", b"\x7c\x41\x9a"],
    ],
)
def test_malformed_payloads_and_missing_parts_are_refused(payloads: list[bytes]) -> None:
    with pytest.raises(MediaError):
        build(*payloads)


def test_a_fragment_without_end_is_refused() -> None:
    with pytest.raises(MediaError):
        build(b"\x7c\x81\x9a").finish()


def test_a_broken_sps_is_refused() -> None:
    with pytest.raises(MediaError):
        build(b"\x67\x42", IDR).finish()
