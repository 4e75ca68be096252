"""Puts one source's packets in order: extends their counters, drops duplicates, waits a bounded while for late ones."""

from collections.abc import Sequence
from typing import NamedTuple

from edumeet_recording.media.rtp import RtpPacket

LATE_PACKETS = 3000
"""A packet this far behind the newest is late (retransmitted, reordered); further behind, its sender began anew."""
LATE_S = 5
"""How far a late packet's timestamp may lie behind the newest."""
WAIT_NS = 2_000_000_000
"""How long a hole is held open, by arrival time: longer than a retransmission can take."""
WAIT_PACKETS = 4096
"""How many packets are held back at most."""
RECOVERED_NS = 20_000_000
"""What fills a hole sooner was only reordered by the network."""
RESTART_PACKETS = 10_000
"""A hole at least this wide is no loss but a sender that began anew."""
RESTART_NS = 10_000_000_000
"""Nor is one over which timestamps and arrival part by more than this."""


class Extender:
    """Extends 16-bit sequence numbers and 32-bit timestamps over wraps, jumps and restarts.

    A restart only ever leads ahead, so that the order of sequence numbers is the order of sending. Fed the same packets
    in the same order it gives the same numbers.
    """

    __slots__ = ("_ahead", "_behind", "_sequence", "_timestamp")

    def __init__(self, clock_rate: int) -> None:
        self._sequence = -1
        self._timestamp = 0
        self._behind = -LATE_S * clock_rate
        self._ahead = clock_rate // 2

    def extend(self, sequence: int, timestamp: int) -> tuple[int, int]:
        """Both, extended."""
        if self._sequence < 0:
            self._sequence, self._timestamp = sequence + 0x10000, timestamp + 0x1_0000_0000
            return self._sequence, self._timestamp
        step = (sequence - self._sequence) & 0xFFFF
        # As `timestamp`, written out: this runs for every packet, twice.
        ahead = ((timestamp - self._timestamp + 0x8000_0000) & 0xFFFF_FFFF) - 0x8000_0000
        if (step == 0 or step > 0x10000 - LATE_PACKETS) and self._behind <= ahead <= self._ahead:
            return self._sequence - (-step & 0xFFFF), self._timestamp + ahead
        self._sequence += step or 0x10000
        self._timestamp += ahead
        return self._sequence, self._timestamp

    def timestamp(self, timestamp: int) -> int:
        """The extension of a timestamp that lies near the newest packet's."""
        return self._timestamp + ((timestamp - self._timestamp + 0x8000_0000) & 0xFFFF_FFFF) - 0x8000_0000


class Ordered(NamedTuple):
    """A packet in its place; `sequence` and `timestamp` are extended."""

    sequence: int
    timestamp: int
    arrival_ns: int
    packet: RtpPacket


class Reorderer:
    """Gives packets out by sequence number; what is missing after `WAIT_NS` is given up and counted in `lost`."""

    __slots__ = ("_held", "_last", "_next", "_ns_per_tick", "duplicates", "lost", "recovered", "reordered", "restarts")

    _last: Ordered
    """What was given out last; there is none before the first packet."""

    def __init__(self, clock_rate: int) -> None:
        self._ns_per_tick = 1e9 / clock_rate
        self._next = -1
        self._held: dict[int, Ordered] = {}
        self.lost = 0
        self.reordered = 0
        """Packets that the network brought after a later one."""
        self.recovered = 0
        """Packets that came so late that they must have been asked for again."""
        self.duplicates = 0
        """Packets that had come already, or came too late."""
        self.restarts = 0

    def push(self, item: Ordered) -> Sequence[Ordered]:
        """Take a packet; the packets that are now in order."""
        if self._next < 0:
            self._next = item.sequence
            self._last = item
        if item.sequence == self._next:
            self._next += 1
            self._last = item
            if not self._held:
                return (item,)
            self._count_late(item)
            return [item, *self._contiguous()]
        if item.sequence < self._next or item.sequence in self._held:
            self.duplicates += 1
            return ()
        self._held[item.sequence] = item
        ready: list[Ordered] = []
        while self._held and self._overdue(item.arrival_ns):
            ready += self._skip()
        return ready

    def flush(self) -> list[Ordered]:
        """The packets still held: the source is over."""
        ready: list[Ordered] = []
        while self._held:
            ready += self._skip()
        return ready

    def _count_late(self, item: Ordered) -> None:
        if item.arrival_ns - next(iter(self._held.values())).arrival_ns < RECOVERED_NS:
            self.reordered += 1
        else:
            self.recovered += 1

    def _overdue(self, now_ns: int) -> bool:
        oldest = next(iter(self._held.values()))
        return now_ns - oldest.arrival_ns > WAIT_NS or len(self._held) > WAIT_PACKETS

    def _skip(self) -> list[Ordered]:
        """Give up the first hole."""
        first = min(self._held)
        missing = first - self._next
        if self._began_anew(self._held[first], missing):
            self.restarts += 1
        else:
            self.lost += missing
        self._next = first
        return self._contiguous()

    def _began_anew(self, item: Ordered, missing: int) -> bool:
        """Whether the sender began anew before a packet, rather than that what is missing was lost."""
        sent_ns = (item.timestamp - self._last.timestamp) * self._ns_per_tick
        apart_ns = abs(item.arrival_ns - self._last.arrival_ns - sent_ns)
        return missing >= RESTART_PACKETS or apart_ns > RESTART_NS

    def _contiguous(self) -> list[Ordered]:
        ready: list[Ordered] = []
        while (item := self._held.pop(self._next, None)) is not None:
            ready.append(item)
            self._next += 1
        if ready:
            self._last = ready[-1]
        return ready
