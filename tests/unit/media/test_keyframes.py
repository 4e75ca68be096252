import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.unit.media.depacketize.vectors import VIDEO_NAMES, load

from edumeet_recording.domain.codecs import Codec
from edumeet_recording.media.keyframes import LOOKS, begins_key_frame
from edumeet_recording.media.rtp import parse_rtp


@pytest.mark.parametrize(
    ("codec", "payload", "begins"),
    [
        (Codec.VP8, "1000", True),
        (Codec.VP8, "1001", False),
        (Codec.VP8, "0000", None),
        (Codec.VP8, "1100", None),
        (Codec.VP8, "90800500", True),
        (Codec.VP8, "90200000", True),
        (Codec.VP8, "9080850500", True),
        (Codec.VP8, "90f085050102" + "01", False),
        (Codec.VP8, "10", None),
        (Codec.VP9, "0882", True),
        (Codec.VP9, "0886", False),
        (Codec.VP9, "08", None),
        (Codec.VP9, "888001", True),
        (Codec.VP9, "48", False),
        (Codec.VP9, "40", None),
        (Codec.H264, "65", True),
        (Codec.H264, "67", True),
        (Codec.H264, "41", False),
        (Codec.H264, "06", None),
        (Codec.H264, "78000467", True),
        (Codec.H264, "7c85", True),
        (Codec.H264, "7c81", False),
        (Codec.H264, "7c05", None),
        (Codec.AV1, "18", True),
        (Codec.AV1, "10", False),
        (Codec.AV1, "98", None),
        (Codec.AV1, "", None),
    ],
)
def test_the_beginning_of_a_key_frame_is_seen(codec: Codec, payload: str, begins: bool | None) -> None:
    assert begins_key_frame(LOOKS[codec], memoryview(bytes.fromhex(payload))) is begins


@pytest.mark.parametrize("name", VIDEO_NAMES)
def test_the_key_frames_of_real_encoders_are_counted(name: str) -> None:
    vector = load(name)
    begun = dict[int, bool]()
    for packet in map(parse_rtp, vector.packets):
        begins = begins_key_frame(LOOKS[vector.codec], packet.payload)
        if begins is not None:
            begun.setdefault(packet.timestamp, begins)
    assert list(begun.values()) == [key for key, _ in vector.frames]


@given(st.sampled_from(list(LOOKS)), st.binary(max_size=8))
def test_any_bytes_are_looked_at_without_complaint(codec: Codec, payload: bytes) -> None:
    assert begins_key_frame(LOOKS[codec], memoryview(payload)) in (True, False, None)
