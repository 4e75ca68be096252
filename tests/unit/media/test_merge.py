"""Two captures of one sender: each gets the other's packets into its holes, and none that does not belong there."""

import random
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edumeet_recording.domain.codecs import Codec
from edumeet_recording.media.depacketize import VideoDepacketizer, vp8
from edumeet_recording.media.merge import MIN_RUN, Fingerprints, Offset, fill, match, matches
from edumeet_recording.media.reorder import WAIT_PACKETS, Ordered
from edumeet_recording.media.rtp import RtpPacket, build_rtp

MS = 1_000_000
FRAME = 3000


@dataclass(frozen=True)
class Sent:
    """A packet as its sender knows it; `number` counts packets, `frame` frames."""

    number: int
    frame: int
    payload: bytes


def sent(count: int, chance: random.Random, *, sizes: Sequence[int] = (60, 900)) -> list[Sent]:
    """Frames of one to four packets."""
    made: list[Sent] = []
    frame = 0
    while len(made) < count:
        frame += 1
        for _ in range(chance.randint(1, 4)):
            made.append(Sent(len(made), frame, chance.randbytes(chance.choice(sizes))))
    return made


@dataclass
class Consumer:
    """How one capture hears them: its own numbers, `skips` numbers left out before some frames, and what it lost."""

    sequence: int = 0
    timestamp: int = 0
    ahead_ms: int = 0
    skips: dict[int, int] = field(default_factory=dict[int, int])
    lost: frozenset[int] = frozenset()
    codec: Codec = Codec.H264
    picture: int = 0

    def hears(self, packets: Sequence[Sent]) -> Iterator[tuple[Sent, Ordered]]:
        skipped = frame = 0
        for one in packets:
            if one.frame != frame:
                frame = one.frame
                skipped += self.skips.get(one.frame, 0)
            if one.number in self.lost:
                continue
            payload = one.payload
            if self.codec is Codec.VP8:
                picture = (one.frame + self.picture) & 0x7FFF | 0x8000
                payload = b"\x90\x80" + picture.to_bytes(2) + payload
            packet = RtpPacket(96, False, 0, 0, 1, memoryview(payload))
            yield (
                one,
                Ordered(
                    self.sequence + one.number + skipped,
                    self.timestamp + one.frame * FRAME,
                    (one.number + self.ahead_ms) * MS,
                    packet,
                ),
            )

    def tape(self, packets: Sequence[Sent]) -> list[Ordered]:
        return [item for _, item in self.hears(packets)]


def fingerprints(items: Sequence[Ordered], codec: Codec = Codec.H264) -> Fingerprints:
    prints = Fingerprints(codec)
    for item in items:
        packet = item.packet
        data = build_rtp(payload_type=96, sequence=0, timestamp=0, ssrc=1, payload=packet.payload, extension={1: b"x"})
        prints.see(item.sequence, item.timestamp, item.arrival_ns, memoryview(data))
    return prints


def filled(mine: Sequence[Ordered], other: Sequence[Ordered], codec: Codec = Codec.H264) -> list[Ordered]:
    """`mine` with its holes filled from `other`, whatever `match` says."""
    made = {item.sequence: item for item in mine}
    for offset in match(fingerprints(mine, codec), fingerprints(other, codec)):
        in_order = [made[sequence] for sequence in sorted(made)]
        for item in fill(in_order, {item.sequence: item for item in other}, offset, codec):
            assert item.sequence not in made
            made[item.sequence] = item
    return [made[sequence] for sequence in sorted(made)]


def losses(count: int, share: float, chance: random.Random) -> frozenset[int]:
    return frozenset(number for number in range(count) if chance.random() < share)


def test_offsets_are_found() -> None:
    packets = sent(2000, random.Random(1))
    mine, other = Consumer().tape(packets), Consumer(700, -90_000, 1500).tape(packets)

    (offset,) = match(fingerprints(mine), fingerprints(other))

    assert (offset.sequence, offset.timestamp, offset.ahead_ns) == (-700, 90_000, -1500 * MS)
    assert offset.matches > 100
    assert offset.first < min(item.sequence for item in other)
    assert offset.last > max(item.sequence for item in other)
    assert offset.inverse.inverse == offset


def test_what_is_sent_again_a_minute_later_is_not_the_same() -> None:
    """A sender that begins anew with the same clip, as players do, sends the same bits."""
    packets = sent(2000, random.Random(1))
    first, again = Consumer().tape(packets), Consumer(700, -90_000, 60_000).tape(packets)
    assert match(fingerprints(first), fingerprints(again)) == ()


def test_two_per_cent_lost_on_each_side_leaves_whole_frames() -> None:
    chance = random.Random(5)
    packets = sent(20_000, chance, sizes=(40,))
    captures = [Consumer(lost=losses(20_000, 0.02, chance)), Consumer(77, 5, lost=losses(20_000, 0.02, chance))]
    frames = {one.frame for one in packets}

    for mine, other in (captures, captures[::-1]):
        whole = filled(mine.tape(packets), other.tape(packets))
        came = {item.sequence - mine.sequence for item in whole}
        broken = {one.frame for one in packets if one.number not in came}
        alone = {one.frame for one in packets if one.number in mine.lost}

        assert len(alone) > 0.03 * len(frames)
        assert len(broken) < 0.005 * len(frames)


def _contents(payload: memoryview, codec: Codec) -> bytes:
    return vp8.split(payload).contents if codec is Codec.VP8 else bytes(payload)


@settings(max_examples=60, deadline=None)
@given(
    seed=st.integers(0, 2**32),
    shares=st.tuples(st.floats(0, 0.6), st.floats(0, 0.6)),
    skips=st.tuples(
        st.dictionaries(st.integers(0, 160), st.integers(1, 3), max_size=6),
        st.dictionaries(st.integers(0, 160), st.integers(1, 3), max_size=6),
    ),
    codec=st.sampled_from([Codec.H264, Codec.VP8]),
)
def test_what_fills_a_hole_belongs_there(
    seed: int, shares: tuple[float, float], skips: tuple[dict[int, int], dict[int, int]], codec: Codec
) -> None:
    """Also where either room server begins anew now and then, and leaves numbers out."""
    chance = random.Random(seed)
    packets = sent(400, chance, sizes=(40, 60))
    mine, other = (
        Consumer(base, 90 * base, 0, skip, losses(400, share, chance), codec, base)
        for base, skip, share in zip((10, 5000), skips, shares, strict=True)
    )
    heard, theirs = mine.tape(packets), other.tape(packets)

    whole = filled(heard, theirs, codec)

    assert [item.sequence for item in whole] == sorted({item.sequence for item in whole})
    # The same contents in the same order as they were sent, each once: nothing invented, doubled or out of place.
    numbers = {one.payload: one.number for one in packets}
    start = 2 if codec is Codec.VP8 else 0
    came = [numbers[_contents(item.packet.payload, codec)[start:]] for item in whole]
    assert came == sorted(set(came))
    for number, item in zip(came, whole, strict=True):
        assert item.timestamp == mine.timestamp + packets[number].frame * FRAME
        if codec is Codec.VP8:
            assert vp8.split(item.packet.payload).picture == packets[number].frame + mine.picture


def test_strangers_do_not_match() -> None:
    mine, other = (Consumer().tape(sent(1000, random.Random(seed))) for seed in (1, 2))

    assert match(fingerprints(mine), fingerprints(other)) == ()
    assert matches({"mine": fingerprints(mine), "other": fingerprints(other)}) == {}


def test_a_few_packets_alike_are_no_match() -> None:
    packets = [one for one in sent(4000, random.Random(1)) if fingerprints(Consumer().tape([one])).once()]
    mine, other = Consumer().tape(packets[:MIN_RUN]), Consumer(50).tape(packets[:MIN_RUN])

    assert match(fingerprints(mine), fingerprints(other)) != ()
    assert match(fingerprints(mine[1:]), fingerprints(other)) == ()


def test_what_is_always_the_same_tells_nothing() -> None:
    silence = [Sent(number, number, bytes(80)) for number in range(100)]

    assert match(fingerprints(Consumer().tape(silence)), fingerprints(Consumer(9).tape(silence))) == ()


def test_what_does_not_parse_is_no_fingerprint() -> None:
    prints = Fingerprints(Codec.VP8)
    prints.see(1, 1, 1, memoryview(bytes(100)))

    assert prints.once() == {}


def test_matches_are_told_both_ways_and_after_a_room_server_began_anew() -> None:
    packets = sent(1200, random.Random(3))
    mine, other = Consumer().tape(packets), Consumer(500, skips={200: 7}).tape(packets)

    found = matches({"mine": fingerprints(mine), "other": fingerprints(other)})

    assert [one.sequence for one in found["mine"]["other"]] == [-500, -507]
    assert [one.sequence for one in found["other"]["mine"]] == [500, 507]
    before, after = found["mine"]["other"]
    # Somewhere between the two it changed: each reaches to where the other was seen.
    assert after.first <= before.last


def three_in_a_row(
    change: Callable[[Ordered], Ordered] = lambda third: third,
) -> tuple[list[Ordered], dict[int, Ordered]]:
    """Mine lack the middle one of three; the other's third packet is changed."""
    packets = [Sent(number, number, bytes([number]) * 40) for number in (1, 2, 3)]
    mine = Consumer(lost=frozenset({2})).tape(packets)
    *others, third = Consumer(10, 100).tape(packets)
    return mine, {item.sequence: item for item in (*others, change(third))}


OFFSET = Offset(0, 1000, -10, -100, 0, 5)


def test_a_hole_is_filled_between_two_that_both_hold() -> None:
    mine, other = three_in_a_row()

    (item,) = fill(mine, other, OFFSET, Codec.H264)

    assert item == Ordered(2, 2 * FRAME, mine[0].arrival_ns, other[12].packet)


@pytest.mark.parametrize(
    "change",
    [
        lambda third: third._replace(packet=third.packet._replace(marker=True)),
        lambda third: third._replace(packet=third.packet._replace(payload=memoryview(b"another"))),
        lambda third: third._replace(timestamp=third.timestamp + 1),
    ],
)
def test_a_hole_is_left_where_one_side_is_not_the_same(change: Callable[[Ordered], Ordered]) -> None:
    assert fill(*three_in_a_row(change), OFFSET, Codec.H264) == []


def test_a_hole_is_left_where_nothing_proves_the_offset() -> None:
    mine, other = three_in_a_row()

    assert fill(mine, {12: other[12]}, OFFSET, Codec.H264) == []
    assert fill(mine, {11: other[11], 12: other[12]}, OFFSET, Codec.H264) == []
    assert fill(mine, {11: other[11], 13: other[13]}, OFFSET, Codec.H264) == []
    assert fill(mine, other, OFFSET._replace(last=11), Codec.H264) == []


def test_a_hole_that_may_still_close_is_left() -> None:
    mine, other = three_in_a_row()

    assert fill(mine, other, OFFSET, Codec.H264, before_ns=mine[1].arrival_ns) == []
    assert fill(mine, other, OFFSET, Codec.H264, before_ns=mine[1].arrival_ns + 1) != []


def test_a_hole_too_wide_to_be_waited_for_is_left() -> None:
    packets = [Sent(number, number, number.to_bytes(40)) for number in range(WAIT_PACKETS + 3)]
    whole = Consumer().tape(packets)
    other = {item.sequence: item for item in whole}
    same = Offset(0, len(packets), 0, 0, 0, 5)

    assert fill([whole[0], whole[-1]], other, same, Codec.H264) == []
    assert len(fill([whole[0], whole[-2]], other, same, Codec.H264)) == WAIT_PACKETS


def test_a_hole_is_left_where_both_began_anew_in_it() -> None:
    """Mine left a number out before the third packet, the other before the fourth: what looks lost is there."""
    packets = [Sent(number, number, bytes([number]) * 40) for number in (1, 2, 3, 4, 5)]
    mine = Consumer(skips={3: 1}, lost=frozenset({2})).tape(packets)
    other = Consumer(skips={4: 1}, lost=frozenset({2})).tape(packets)
    assert [item.sequence for item in mine] == [1, 4, 5, 6]
    assert [item.sequence for item in other] == [1, 3, 5, 6]

    assert fill(mine, {item.sequence: item for item in other}, Offset(0, 9, 0, 0, 0, 5), Codec.H264) == []


def test_time_never_runs_back_over_a_hole() -> None:
    packets = [Sent(number, number, bytes([number]) * 40) for number in (1, 2, 3, 4, 5)]
    mine = Consumer(skips={2: 1, 3: 1}, lost=frozenset({3})).tape(packets)
    other = Consumer(skips={5: 2}, lost=frozenset({2, 4})).tape(packets)
    assert [item.sequence for item in mine] == [1, 3, 6, 7]
    assert [item.sequence for item in other] == [1, 3, 7]
    other[1] = other[1]._replace(sequence=2)

    assert fill(mine, {item.sequence: item for item in other}, Offset(0, 9, 0, 0, 0, 5), Codec.H264) == []


def test_a_filled_frame_has_the_picture_id_that_its_neighbours_say() -> None:
    """An SFU numbers VP8 pictures anew for each receiver."""
    key = bytes.fromhex("9d012a") + (64).to_bytes(2, "little") * 2
    packets = [
        Sent(number, number, (bytes(3) if number == 1 else b"\x01\0\0") + key + bytes([number]) * 40)
        for number in range(1, 9)
    ]
    mine = Consumer(codec=Codec.VP8, picture=0x7FFB, lost=frozenset({3})).tape(packets)
    other = Consumer(10, codec=Codec.VP8, picture=70).tape(packets)
    depacketizer = VideoDepacketizer(vp8.Vp8Builder())

    (found,) = fill(mine, {item.sequence: item for item in other}, Offset(0, 99, -10, 0, 0, 5), Codec.VP8)

    in_order = sorted([*mine, found])
    frames = [frame for item in in_order for frame in depacketizer.push(*item[:3], item.packet._replace(marker=True))]
    assert len(frames) == 8
    assert [vp8.split(item.packet.payload).picture for item in in_order] == [*range(0x7FFC, 0x8000), 0, 1, 2, 3]
