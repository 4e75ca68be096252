"""Every codec against real encoders and two packetizers: what comes out is what the encoder gave."""

from itertools import pairwise

import av
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.unit.media.depacketize.vectors import AUDIO_NAMES, NAMES, SIZE, VIDEO_NAMES, Vector, load, play

from edumeet_recording.domain.codecs import Codec
from edumeet_recording.media.depacketize import depacketizer_for, resolution
from edumeet_recording.media.rtp import build_rtp, parse_rtp

DECODERS = {Codec.VP8: "libvpx", Codec.VP9: "libvpx-vp9", Codec.H264: "h264", Codec.AV1: "libdav1d"}
NUMBERED = ("vp8-ffmpeg", "vp8-gstreamer", "vp9-gstreamer")
"""Vectors whose packets carry picture ids."""


def nal_units(data: bytes, without: frozenset[int] = frozenset()) -> list[bytes]:
    """The NAL units of Annex B, whatever the length of its start codes, but those of some types."""
    units = [nal.rstrip(b"\0") for nal in data.split(b"\0\0\1") if nal.rstrip(b"\0")]
    return [nal for nal in units if nal[0] & 0x1F not in without]


def same(codec: Codec, ours: bytes, encoders: bytes) -> bool:
    """Bit by bit, but for the length of H.264's start codes, which RTP does not carry."""
    return nal_units(ours) == nal_units(encoders) if codec is Codec.H264 else ours == encoders


@pytest.mark.parametrize("name", NAMES)
def test_the_encoders_frames_come_out(name: str) -> None:
    vector = load(name)
    depacketizer = depacketizer_for(vector.codec)
    frames = play(depacketizer, vector.packets)
    assert len(frames) == len(vector.frames)
    for frame, (key, data) in zip(frames, vector.frames, strict=True):
        assert same(vector.codec, frame.data, data)
        assert frame.key is key
    assert (depacketizer.damaged, depacketizer.dropped_until_key, depacketizer.waiting_key) == (0, 0, False)


@pytest.mark.parametrize("name", NAMES)
def test_frames_tell_when_and_of_which_packets(name: str) -> None:
    vector = load(name)
    frames = play(depacketizer_for(vector.codec), vector.packets)
    first = frames[0].first_sequence
    ends = [frame.last_sequence for frame in frames]
    assert [frame.first_sequence for frame in frames] == [first, *(end + 1 for end in ends[:-1])]
    assert ends[-1] == first + len(vector.packets) - 1
    assert [frame.arrival_ns for frame in frames] == [(f.first_sequence - first) * 1_000_000 for f in frames]
    steps = {after.timestamp - before.timestamp for before, after in pairwise(frames[1:])}
    assert (
        max(steps) - min(steps) <= 90
    )  # GStreamer rounds to the milliseconds of its container, and cuts Opus' pre-skip


@pytest.mark.parametrize("name", VIDEO_NAMES)
def test_key_frames_know_their_size_and_everything_decodes(name: str) -> None:
    vector = load(name)
    decoder = av.CodecContext.create(DECODERS[vector.codec], "r")
    decoded = 0
    for frame in play(depacketizer_for(vector.codec), vector.packets):
        if frame.key:
            assert (frame.width, frame.height) == SIZE == resolution(vector.codec, frame.data)
        else:
            assert (frame.width, frame.height) == (None, None)
        decoded += len(decoder.decode(av.Packet(frame.data)))
    decoded += len(decoder.decode(None))
    assert decoded == len(vector.frames)


def decodes_the_same(codec: Codec, ours: bytes, encoders: bytes) -> bool:
    """As `same`, but that an H.264 frame after loss may lack a leading SEI (type 6), which nothing refers to."""
    sei = frozenset([6])
    return nal_units(ours, sei) == nal_units(encoders, sei) if codec is Codec.H264 else ours == encoders


def emitted(vector: Vector, lost: frozenset[int]) -> tuple[list[int], int]:
    """Which of the encoder's frames come out, each checked to be whole; and how many were dropped."""
    times = [frame.timestamp for frame in play(depacketizer_for(vector.codec), vector.packets)]
    depacketizer = depacketizer_for(vector.codec)
    out: list[int] = []
    for frame in play(depacketizer, vector.packets, lost):
        # Sequence numbers and timestamps are unwrapped from the first packet that is there: the offset may differ.
        out.append(next(i for i, time in enumerate(times) if (time - frame.timestamp) % 2**32 == 0))
        key, data = vector.frames[out[-1]]
        assert decodes_the_same(vector.codec, frame.data, data)
        assert frame.key is key
    return out, depacketizer.damaged + depacketizer.dropped_until_key


@pytest.mark.parametrize("name", VIDEO_NAMES)
@settings(max_examples=30)
@given(data=st.data())
def test_after_loss_only_whole_frames_that_can_be_decoded_come_out(name: str, data: st.DataObject) -> None:
    vector = load(name)
    indices = st.integers(0, len(vector.packets) - 1)
    lost = data.draw(st.frozensets(indices, max_size=6) | st.frozensets(indices))
    out, dropped = emitted(vector, lost)
    assert out == sorted(set(out))
    assert len(out) + dropped <= len(vector.frames)
    for index in out:
        assert vector.frames[index][0] or index - 1 in out


@pytest.mark.parametrize("name", VIDEO_NAMES)
def test_each_single_loss_costs_no_more_than_its_group(name: str) -> None:
    vector = load(name)
    keys = [index for index, (key, _) in enumerate(vector.frames) if key]
    whole = play(depacketizer_for(vector.codec), vector.packets)
    for lost in range(len(vector.packets)):
        hit = next(i for i, f in enumerate(whole) if f.last_sequence - whole[0].first_sequence >= lost)
        end = next((key for key in keys if key > hit), len(whole))
        out, _ = emitted(vector, frozenset([lost]))
        assert out == [*range(hit), *range(end, len(whole))]


@pytest.mark.parametrize("name", NAMES)
def test_header_extensions_and_padding_packets_change_nothing(name: str) -> None:
    vector = load(name)
    sent: list[bytes] = []
    for data in vector.packets:
        packet = parse_rtp(data)
        for payload, padding in ((b"", 200), (packet.payload, 0), (packet.payload[:0], 3)):
            sent.append(
                build_rtp(
                    payload_type=packet.payload_type,
                    marker=packet.marker if payload else False,
                    sequence=len(sent),
                    timestamp=packet.timestamp,
                    ssrc=packet.ssrc,
                    payload=payload,
                    extension={1: b"\xaa"},
                    padding=padding,
                )
            )
    frames = play(depacketizer_for(vector.codec), sent)
    plain = play(depacketizer_for(vector.codec), vector.packets)
    assert [(frame.data, frame.timestamp) for frame in frames] == [(frame.data, frame.timestamp) for frame in plain]


@pytest.mark.parametrize("name", VIDEO_NAMES)
def test_the_timestamp_ends_a_frame_where_no_marker_does(name: str) -> None:
    vector = load(name)
    unmarked = [bytes([data[0], data[1] & 0x7F]) + data[2:] for data in vector.packets]
    depacketizer = depacketizer_for(vector.codec)
    frames = play(depacketizer, unmarked)
    whole = play(depacketizer_for(vector.codec), vector.packets)
    assert [frame.data for frame in frames] == [frame.data for frame in whole[:-1]]
    assert depacketizer.damaged == 1  # whether the last one ended cannot be known


@pytest.mark.parametrize("name", VIDEO_NAMES)
@pytest.mark.parametrize("lost_padding", range(1, 3))
def test_lost_padding_between_frames_is_told_by_picture_ids(name: str, lost_padding: int) -> None:
    vector = load(name)
    depacketizer = depacketizer_for(vector.codec)
    frames = []
    sequence = 0
    for data in vector.packets:
        packet = parse_rtp(data)
        frames += depacketizer.push(sequence, packet.timestamp, 0, packet)
        sequence += 1 + (lost_padding if packet.marker else 0)
    keys = sum(key for key, _ in vector.frames)
    assert len(frames) == (len(vector.frames) if name in NUMBERED else keys)
    assert depacketizer.dropped_until_key == len(vector.frames) - len(frames)
    assert depacketizer.damaged == 0


@pytest.mark.parametrize("name", AUDIO_NAMES)
def test_lost_audio_costs_itself_only(name: str) -> None:
    vector = load(name)
    frames = play(depacketizer_for(vector.codec), vector.packets, frozenset([3, 4, 9]))
    assert len(frames) == len(vector.packets) - 3
