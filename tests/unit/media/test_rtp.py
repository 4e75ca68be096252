"""RTP headers, unwrapping and reception statistics."""

import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edumeet_recording.media.errors import MediaError
from edumeet_recording.media.rtp import ReceptionStats, RtpPacket, Unwrapper, build_rtp, is_rtcp, parse_rtp

U16 = st.integers(0, 0xFFFF)
U32 = st.integers(0, 0xFFFFFFFF)
SECOND_NS = 1_000_000_000


@given(
    payload_type=st.integers(0, 127),
    marker=st.booleans(),
    sequence=U16,
    timestamp=U32,
    ssrc=U32,
    payload=st.binary(max_size=50),
    csrcs=st.lists(U32, max_size=15),
    extension=st.none() | st.dictionaries(st.integers(1, 14), st.binary(min_size=1, max_size=16), max_size=4),
    padding=st.integers(0, 255),
)
def test_what_is_built_parses(
    *,
    payload_type: int,
    marker: bool,
    sequence: int,
    timestamp: int,
    ssrc: int,
    payload: bytes,
    csrcs: list[int],
    extension: dict[int, bytes] | None,
    padding: int,
) -> None:
    data = build_rtp(
        payload_type=payload_type,
        marker=marker,
        sequence=sequence,
        timestamp=timestamp,
        ssrc=ssrc,
        payload=payload,
        csrcs=csrcs,
        extension=extension,
        padding=padding,
    )
    assert parse_rtp(data) == RtpPacket(payload_type, marker, sequence, timestamp, ssrc, memoryview(payload))


def test_header_as_mediasoup_sends_it() -> None:
    # X bit, 0xBEDE, one element of 3 bytes (id 1), one of 1 byte (id 4), padded to words.
    header = bytes.fromhex("90e5 1234 00015f90 deadbeef bede 0002 12aabbcc 40dd0000")
    packet = parse_rtp(header + b"payload")
    assert packet == RtpPacket(0x65, True, 0x1234, 90000, 0xDEADBEEF, memoryview(b"payload"))
    built = build_rtp(
        payload_type=0x65,
        marker=True,
        sequence=0x1234,
        timestamp=90000,
        ssrc=0xDEADBEEF,
        payload=b"payload",
        extension={1: b"\xaa\xbb\xcc", 4: b"\xdd"},
    )
    assert built == header + b"payload"


@pytest.mark.parametrize(
    "data",
    [
        b"",
        bytes(11),
        b"\x40" + bytes(11),
        b"\x81" + bytes(11),
        b"\x90" + bytes(11),
        b"\x90" + bytes(11) + b"\xbe\xde\x00\x01",
        b"\xa0" + bytes(11),
        b"\xa0" + bytes(11) + b"\x00",
        b"\xa0" + bytes(11) + b"\x02",
    ],
)
def test_malformed_headers_are_refused(data: bytes) -> None:
    with pytest.raises(MediaError):
        parse_rtp(data)


@given(st.binary(max_size=64), st.sampled_from([0x80, 0x90, 0xA0, 0xBF]))
def test_random_bytes_raise_nothing_else(data: bytes, first: int) -> None:
    for candidate in (data, bytes([first]) + data):
        try:
            packet = parse_rtp(candidate)
        except MediaError:
            continue
        assert len(packet.payload) <= len(candidate) - 12


@pytest.mark.parametrize(
    ("kind", "rtcp"), [(191, False), (192, True), (200, True), (206, True), (223, True), (224, False)]
)
def test_rtcp_is_told_by_its_packet_type(kind: int, rtcp: bool) -> None:
    assert is_rtcp(bytes([0x80, kind, 0, 0])) is rtcp


def test_rtcp_is_version_2_and_has_a_header() -> None:
    assert not is_rtcp(b"\x00\xc8\x00\x00")
    assert not is_rtcp(b"\x80\xc8\x00")


@given(
    bits=st.sampled_from([16, 32]),
    start=U32,
    steps=st.lists(st.integers(-(2**31), 2**31 - 1), max_size=50),
)
def test_unwrapper_follows_the_true_counter(bits: int, start: int, steps: list[int]) -> None:
    unwrapper, range_ = Unwrapper(bits), 2**bits
    true = start % range_
    offset = unwrapper.unwrap(true) - true
    for step in steps:
        true += step >> (32 - bits)
        assert unwrapper.unwrap(true % range_) == true + offset


@pytest.mark.parametrize("bits", [16, 32])
def test_unwrapper_is_not_negative_where_the_first_values_come_in_disorder(bits: int) -> None:
    unwrapper = Unwrapper(bits)
    first = unwrapper.unwrap(0)
    assert unwrapper.unwrap(2**bits - 1) == first - 1 >= 0
    assert unwrapper.unwrap(1) == first + 1


def stats_of(sequences: list[int], clock_rate: int = 8000) -> ReceptionStats:
    """Statistics after packets of 20 ms each, in time."""
    stats = ReceptionStats(clock_rate)
    for sequence in sequences:
        stats.update(sequence % 65536, sequence * 160 % 2**32, sequence * SECOND_NS // 50, 100)
    return stats


def test_before_any_packet() -> None:
    stats = ReceptionStats(8000)
    assert (stats.packets, stats.expected, stats.lost, stats.fraction_lost()) == (0, 0, 0, 0)


@given(start=U16, length=st.integers(1, 400), seed=st.integers(0, 999))
def test_loss_reorder_and_duplicates_are_counted_exactly(start: int, length: int, seed: int) -> None:
    rng = random.Random(seed)
    sent = range(start, start + length)
    kept = [sequence for sequence in sent if rng.random() > 0.1 or sequence in (sent[0], sent[-1])]
    late = {sequence for sequence in kept[1:-1] if rng.random() < 0.1}
    order = [sequence for sequence in kept if sequence not in late]
    for sequence in late:
        after = next(index for index, other in enumerate(order) if other > sequence)
        order.insert(min(len(order), after + rng.randrange(1, 20)), sequence)
    highest = order[0]
    reordered = 0
    for sequence in order:
        reordered += sequence < highest
        highest = max(highest, sequence)
    twice = [sequence for sequence in order if rng.random() < 0.1]
    stats = stats_of([*order, *twice])
    assert stats.packets == len(order) + len(twice)
    assert stats.bytes == 100 * stats.packets
    assert stats.expected == length
    assert stats.lost == length - len(kept)
    assert stats.duplicates == len(twice)
    assert stats.reordered == reordered
    assert stats.highest_sequence == sent[-1]


def test_packets_from_before_the_first_count() -> None:
    stats = stats_of([65536 + 5, 65536 + 2, 65536 + 6])
    assert (stats.expected, stats.lost, stats.reordered) == (5, 2, 1)
    stats.update(3, 0, 0, 100)
    assert (stats.lost, stats.reordered, stats.duplicates) == (1, 2, 0)


def test_highest_sequence_carries_the_cycles() -> None:
    stats = stats_of(list(range(65530, 65530 + 70000)))
    assert stats.highest_sequence == 65530 + 69999
    assert (stats.expected, stats.lost) == (70000, 0)


def test_a_stray_packet_changes_nothing() -> None:
    stats = stats_of([*range(10), 30000, *range(10, 20)])
    assert (stats.packets, stats.expected, stats.lost, stats.duplicates) == (21, 20, 0, 0)


def test_a_restart_goes_on_counting() -> None:
    stats = stats_of([*range(10), *range(30000, 30010), 30012])
    assert (stats.expected, stats.lost) == (23, 2)


def test_what_is_remembered_is_bounded() -> None:
    stats = stats_of([0, 2500, 1])
    assert (stats.expected, stats.lost, stats.reordered) == (2501, 2499, 0)
    stats.update(2499, 0, 0, 100)
    assert (stats.lost, stats.reordered) == (2498, 1)
    stats.update(1501, 0, 0, 100)
    stats.update(1502, 0, 0, 100)
    assert stats.lost == 2496


def test_fraction_lost_is_of_the_time_since_the_last_report() -> None:
    stats = stats_of([0, 1, 2, 4])
    assert stats.fraction_lost() == 256 // 5
    assert stats.fraction_lost() == 0
    stats.update(5, 0, 0, 100)
    stats.update(3, 0, 0, 100)
    assert stats.fraction_lost() == 0
    stats.update(7, 0, 0, 100)
    assert stats.fraction_lost() == 128


@given(st.lists(st.integers(-20_000_000, 20_000_000), min_size=1, max_size=60))
def test_jitter_is_that_of_the_standard(delays_ns: list[int]) -> None:
    stats = ReceptionStats(90000)
    epoch_ns, first_timestamp = 1_700_000_000 * SECOND_NS, 2**32 - 5000
    expected, last = 0.0, None
    for number, delay in enumerate(delays_ns):
        arrival_ns = epoch_ns + number * 40_000_000 + delay
        stats.update(number, (first_timestamp + number * 3600) % 2**32, arrival_ns, 1)
        transit = delay * 90000 / SECOND_NS
        if (
            last is not None
            and (first_timestamp + number * 3600) // 2**32 == (first_timestamp + (number - 1) * 3600) // 2**32
        ):
            expected += (abs(transit - last) - expected) / 16
        last = transit
    assert stats.jitter == pytest.approx(expected, abs=0.1)


def test_jumps_of_the_timestamp_and_retransmissions_are_no_jitter() -> None:
    stats = stats_of(list(range(10)))
    stats.update(10, 2**31, 10 * SECOND_NS // 50, 1)
    stats.update(12, 2**31 + 320, 12 * SECOND_NS // 50, 1)
    stats.update(11, 2**31 + 160, 30 * SECOND_NS // 50, 1)
    stats.update(13, 2**31 + 480, 13 * SECOND_NS // 50, 1)
    assert stats.jitter == pytest.approx(0, abs=0.01)


def test_holes_are_told_once_and_what_fills_them_after_being_asked_for_is_recovered() -> None:
    stats = stats_of([65533, 65536, 65538])
    assert stats.has_holes
    assert stats.take_holes() == [range(65534, 65536), range(65537, 65538)]
    assert not stats.has_holes
    assert stats.ask_again(65535)
    stats.update(65535, 0, 0, 100)
    stats.update(65534, 0, 0, 100)
    assert (stats.recovered, stats.reordered, stats.lost) == (1, 1, 1)
    assert not stats.ask_again(65535), "it has come"
    assert not stats.ask_again(65538), "it was never missing"


def test_only_the_newest_holes_are_kept() -> None:
    stats = stats_of(list(range(0, 4 * ReceptionStats.MAX_HOLES, 2)))
    newest = 4 * ReceptionStats.MAX_HOLES - 3
    holes = stats.take_holes()
    assert len(holes) == ReceptionStats.MAX_HOLES
    assert holes[-1] == range(newest, newest + 1)


def test_a_packet_that_came_back_in_a_stream_of_its_own_is_not_lost() -> None:
    stats = stats_of([65534, 65537])
    stats.restore(65535)
    stats.restore(65535)
    stats.restore(1)
    assert (stats.packets, stats.lost, stats.recovered, stats.duplicates) == (2, 1, 1, 0)
    stats.update(65535, 0, 0, 100)
    assert (stats.lost, stats.duplicates) == (1, 1)
    assert stats.fraction_lost() == 256 // 4
