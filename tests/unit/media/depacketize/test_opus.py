"""Durations of Opus packets (RFC 6716 §3.1), and audio packets as frames."""

from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.unit.media.depacketize.vectors import packet

from edumeet_recording.domain.codecs import Codec
from edumeet_recording.media.depacketize import depacketizer_for, opus_duration, pcm_duration, resolution
from edumeet_recording.media.errors import MediaError


@pytest.mark.parametrize(
    ("configuration", "milliseconds"),
    [(0, 10), (3, 60), (4, 10), (9, 20), (11, 60), (12, 10), (15, 20), (16, 2.5), (19, 20), (28, 2.5), (31, 20)],
)
def test_duration_of_each_mode(configuration: int, milliseconds: float) -> None:
    for code, frames in ((0, 1), (1, 2), (2, 2)):
        assert opus_duration(bytes([configuration << 3 | code, 0])) == 48 * milliseconds * frames


def test_counted_frames() -> None:
    assert opus_duration(bytes([31 << 3 | 3, 0x80 | 6])) == 6 * 960


@pytest.mark.parametrize("payload", [b"", b"\xfb", b"\xfb\x00", b"\xfb\x07", b"\x1b\x03"])
def test_impossible_durations_are_refused(payload: bytes) -> None:
    with pytest.raises(MediaError):
        opus_duration(payload)


@given(st.binary(max_size=4))
def test_durations_are_possible_or_refused(payload: bytes) -> None:
    with suppress(MediaError):
        assert 120 <= opus_duration(payload) <= 5760


def test_dtx_packets_are_kept_and_broken_ones_counted() -> None:
    depacketizer = depacketizer_for(Codec.OPUS)
    payloads = [b"\xf8\xff\xfe", b"\xf8", b"", b"\xfb", b"\xf8"]
    frames = [depacketizer.push(10 + i, 960 * i, i, packet(payload)) for i, payload in enumerate(payloads)]
    assert [[frame.data for frame in pushed] for pushed in frames] == [[b"\xf8\xff\xfe"], [b"\xf8"], [], [], [b"\xf8"]]
    (last,) = frames[-1]
    assert (last.timestamp, last.arrival_ns, last.first_sequence, last.last_sequence) == (3840, 4, 14, 14)
    assert (last.key, last.width, last.height) == (True, None, None)
    assert (depacketizer.damaged, depacketizer.dropped_until_key, depacketizer.waiting_key) == (1, 0, False)
    assert depacketizer.flush() == []


def test_g711_has_a_byte_a_sample() -> None:
    assert pcm_duration(bytes(160)) == 160
    frames = depacketizer_for(Codec.PCMA).push(1, 0, 0, packet(bytes(160)))
    assert [frame.data for frame in frames] == [bytes(160)]


def test_sound_has_no_size() -> None:
    with pytest.raises(MediaError):
        resolution(Codec.OPUS, b"\xf8")
