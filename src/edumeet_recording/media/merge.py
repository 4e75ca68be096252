"""Merges captures of one peer packet by packet: what one of them lost, another may have.

Each capture hears the peer through a consumer of its own, which renumbers what it sends: sequence numbers, timestamps
and VP8 picture ids of two captures differ, each by a constant while neither consumer begins anew. `match` finds the
constants from packets that are the same, sampled by their contents so that both captures sample the same ones. `fill`
takes them for no more than a hint: a hole is filled only between two packets that both captures hold, alike byte for
byte, so that a wrong constant fills nothing.
"""

from array import array
from collections import Counter
from collections.abc import Hashable, Mapping, Sequence
from itertools import groupby, pairwise
from statistics import median_low
from typing import NamedTuple, TypeVar
from zlib import crc32

from edumeet_recording.domain.codecs import Codec
from edumeet_recording.media.depacketize import vp8
from edumeet_recording.media.errors import MediaError
from edumeet_recording.media.reorder import WAIT_PACKETS, Ordered
from edumeet_recording.media.rtp import parse_rtp

MIN_BYTES = 36
"""Of a datagram that is sampled: shorter ones are silence, and all alike."""
SAMPLED = 0x0F
"""A packet is sampled where these bits of its last bytes are zero: one in sixteen."""
MIN_RUN = 3
"""Matches in a row with one offset that make it believable; a checksum may be the same by chance."""
CLOCKS_APART_NS = 10_000_000_000
"""Nodes' clocks differ by less than this: what comes alike but further apart was sent twice, as by a player that began
its clip anew, and says nothing of clocks."""
NEAR = 16
"""How many packets beside a hole are tried for one that the other capture holds too."""
FAR = 1 << 62
Name = TypeVar("Name", bound=Hashable)


class Offset(NamedTuple):
    """What to add to another source's numbers to have mine, for its packets from `first` to `last`.

    `ahead_ns` is by how much my packets arrive later by my node's clock than the other's by its own: latency, and
    whatever the two clocks differ. `matches` tells how many packets say so.
    """

    first: int
    last: int
    sequence: int
    timestamp: int
    ahead_ns: int
    matches: int

    @property
    def inverse(self) -> "Offset":
        """The same, seen from the other."""
        first, last = self.first + self.sequence, self.last + self.sequence
        return Offset(first, last, -self.sequence, -self.timestamp, -self.ahead_ns, self.matches)


class Fingerprints:
    """A sample of one source's packets, some 30 bytes each."""

    def __init__(self, codec: Codec) -> None:
        self._numbered = codec is Codec.VP8
        self._checksums = array("L")
        self._sequences = array("q")
        self._timestamps = array("q")
        self._arrivals = array("q")

    def see(self, sequence: int, timestamp: int, arrival_ns: int, datagram: memoryview) -> None:
        """Take a datagram, its numbers extended; remember it where its contents say so."""
        if len(datagram) < MIN_BYTES or (datagram[-1] ^ datagram[-2] ^ datagram[-3]) & SAMPLED:
            return
        try:
            packet = parse_rtp(datagram)
        except MediaError:
            return
        contents = _contents(packet.payload, numbered=self._numbered).contents
        self._checksums.append(crc32(contents))
        self._sequences.append(sequence)
        self._timestamps.append(timestamp)
        self._arrivals.append(arrival_ns)

    def once(self) -> dict[int, int]:
        """Where each checksum stands that came only once."""
        counts = Counter(self._checksums)
        return {checksum: at for at, checksum in enumerate(self._checksums) if counts[checksum] == 1}

    def numbers(self, at: int) -> tuple[int, int, int]:
        """Sequence number, timestamp and arrival of one of them."""
        return self._sequences[at], self._timestamps[at], self._arrivals[at]


def match(mine: Fingerprints, other: Fingerprints) -> tuple[Offset, ...]:
    """The offsets between two sources, by the other's sequence numbers; none where they do not hold the same packets.

    Where one offset gives way to the next is not known: the reach of each goes as far as the next was seen.
    """
    ours, theirs = mine.once(), other.once()
    pairs: list[tuple[int, int, int, int]] = []
    for checksum in ours.keys() & theirs.keys():
        sequence, timestamp, arrival_ns = mine.numbers(ours[checksum])
        their_sequence, their_timestamp, their_arrival_ns = other.numbers(theirs[checksum])
        ahead_ns = arrival_ns - their_arrival_ns
        if abs(ahead_ns) < CLOCKS_APART_NS:
            pairs.append((their_sequence, sequence - their_sequence, timestamp - their_timestamp, ahead_ns))
    pairs.sort()
    runs = [list(run) for _, run in groupby(pairs, key=lambda pair: pair[1:3])]
    runs = [run for run in runs if len(run) >= MIN_RUN]
    ends = [-FAR, *(run[-1][0] for run in runs)]
    begins = [*(run[0][0] for run in runs[1:]), FAR]
    return tuple(
        Offset(end + 1, begin - 1, run[0][1], run[0][2], median_low(pair[3] for pair in run), len(run))
        for end, begin, run in zip(ends, begins, runs, strict=False)
    )


def matches(sources: Mapping[Name, Fingerprints]) -> dict[Name, dict[Name, tuple[Offset, ...]]]:
    """For each source that shares packets with others: their offsets to it."""
    found: dict[Name, dict[Name, tuple[Offset, ...]]] = {}
    names = list(sources)
    for number, mine in enumerate(names):
        for other in names[number + 1 :]:
            offsets = match(sources[mine], sources[other])
            if offsets:
                found.setdefault(mine, {})[other] = offsets
                found.setdefault(other, {})[mine] = tuple(sorted(one.inverse for one in offsets))
    return found


def fill(
    mine: Sequence[Ordered], other: Mapping[int, Ordered], offset: Offset, codec: Codec, *, before_ns: int | None = None
) -> list[Ordered]:
    """What another source has of the packets that are missing in mine, with my numbers.

    `mine` is sorted by sequence number and has none twice; `other` is by its own sequence numbers. Holes that ended
    at or after `before_ns`, if it is given, are left: they may still close by themselves.
    """
    twins = _Twins(mine, other, offset, numbered=codec is Codec.VP8)
    filled: list[Ordered] = []
    for at, (last, after) in enumerate(pairwise(mine)):
        width = after.sequence - last.sequence - 1
        if 0 < width <= WAIT_PACKETS and (before_ns is None or after.arrival_ns < before_ns):
            filled += twins.between(at, at + 1)
    return filled


class _Twins:
    """My packets, and another source's that are the same but for their numbers."""

    def __init__(
        self, mine: Sequence[Ordered], other: Mapping[int, Ordered], offset: Offset, *, numbered: bool
    ) -> None:
        self._mine = mine
        self._other = other
        self._offset = offset
        self._numbered = numbered

    def between(self, left: int, right: int) -> list[Ordered]:
        """What fills the hole between two neighbours of mine, where both sides of it prove the offset."""
        missing = self._missing(self._mine[left], self._mine[right])
        if not missing:
            return []
        first, renumber = self._proof(range(left, max(left - NEAR, -1), -1))
        last, renumber_after = self._proof(range(right, min(right + NEAR, len(self._mine))))
        if renumber is None or renumber != renumber_after:
            return []
        offset = self._offset
        # Just after the last that came: so it stands in its place, and nobody takes it for late.
        filled = [
            Ordered(
                twin.sequence + offset.sequence,
                twin.timestamp + offset.timestamp,
                self._mine[left].arrival_ns,
                twin.packet._replace(payload=vp8.renumbered(twin.packet.payload, renumber))
                if renumber
                else twin.packet,
            )
            for twin in missing
        ]
        return filled if _fits(self._mine[first:right], filled, self._mine[right : last + 1]) else []

    def _missing(self, last: Ordered, after: Ordered) -> list[Ordered]:
        offset = self._offset
        return [
            twin
            for sequence in range(last.sequence + 1, after.sequence)
            if (twin := self._other.get(sequence - offset.sequence)) is not None
            and offset.first <= twin.sequence <= offset.last
        ]

    def _proof(self, indices: range) -> tuple[int, int | None]:
        """The first packet that both hold, and by how much its picture ids differ; None where they are two packets."""
        for index in indices:
            one = self._mine[index]
            twin = self._other.get(one.sequence - self._offset.sequence)
            if twin is not None:
                return index, self._difference(one, twin)
        return 0, None

    def _difference(self, one: Ordered, twin: Ordered) -> int | None:
        if one.timestamp - twin.timestamp != self._offset.timestamp or one.packet.marker != twin.packet.marker:
            return None
        mine = _contents(one.packet.payload, numbered=self._numbered)
        theirs = _contents(twin.packet.payload, numbered=self._numbered)
        if mine.contents != theirs.contents or mine.range != theirs.range:
            return None
        return (mine.picture - theirs.picture) % mine.range


def _fits(before: Sequence[Ordered], filled: Sequence[Ordered], after: Sequence[Ordered]) -> bool:
    """Whether what fills a hole is sure to stand in its place. `before` begins and `after` ends with a proof.

    Between the proofs both room servers may have begun anew, and so have made up for it. They do between frames, so
    that time tells: it must not run back, and no packet that only one of the captures holds may share its frame.
    """
    times = [item.timestamp for items in (before, filled, after) for item in items]
    unproven = {item.timestamp for items in (before[1:], after[:-1]) for item in items}
    runs_on = all(first <= second for first, second in pairwise(times))
    return runs_on and unproven.isdisjoint(item.timestamp for item in filled)


def _contents(payload: memoryview, *, numbered: bool) -> vp8.Numbered:
    """What two consumers of one producer have in common, and the picture id that they have not."""
    return vp8.split(payload) if numbered else vp8.Numbered(bytes(payload), 0, 1)
