"""Silence put into the gaps of a track."""

from edumeet_recording.media.depacketize import opus_duration
from edumeet_recording.media.silence import PACKET, PACKET_US, silence_between
from edumeet_recording.media.timeline import Sample


def sample(at_us: int) -> Sample:
    return Sample(0, at_us, at_us, 20_000, True, b"sound")


def test_a_gap_is_filled_as_far_as_whole_packets_go() -> None:
    filled = list(silence_between(sample(1_000_000), sample(1_105_000)))

    assert [one.pts_us for one in filled] == [1_020_000, 1_040_000, 1_060_000, 1_080_000]
    assert {(one.duration_us, one.data) for one in filled} == {(PACKET_US, PACKET)}


def test_what_follows_at_once_has_nothing_between() -> None:
    assert list(silence_between(sample(0), sample(20_000))) == []
    assert list(silence_between(sample(0), sample(39_000))) == []
    assert list(silence_between(sample(20_000), sample(0))) == []


def test_the_packet_lasts_as_long_as_it_says() -> None:
    assert opus_duration(PACKET) * 1_000_000 // 48_000 == PACKET_US
