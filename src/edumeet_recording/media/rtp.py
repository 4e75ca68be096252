"""RTP headers, unwrapping of their counters, and reception statistics (RFC 3550)."""

import struct
from collections import deque
from collections.abc import Mapping, Sequence
from math import inf
from typing import NamedTuple

from edumeet_recording.media.errors import MediaError

RTP_HEADER = struct.Struct("!BBHII")
"""Version and flags, marker and payload type, sequence number, timestamp, SSRC (RFC 3550 §5.1)."""
_EXTENSION = struct.Struct("!HH")
_PLAIN = 0x80
"""First byte of version 2 without padding, extension and CSRCs."""
_ONE_BYTE_PROFILE = 0xBEDE


class RtpPacket(NamedTuple):
    """A data packet; `payload` is what remains without CSRCs, header extension and padding (RFC 3550 §5.1).

    `payload` is a view of the datagram: it changes with the buffer that was parsed. A packet of nothing but padding
    has an empty one.
    """

    payload_type: int
    marker: bool
    sequence: int
    timestamp: int
    ssrc: int
    payload: memoryview


def parse_rtp(data: bytes | bytearray | memoryview) -> RtpPacket:
    """Parse one datagram. Raises `MediaError` where it is not RTP version 2, or is cut off."""
    end = len(data)
    if end < 12:
        raise MediaError("shorter than an RTP header")
    first, second, sequence, timestamp, ssrc = RTP_HEADER.unpack_from(data)
    start = 12
    if first != _PLAIN:
        start, end = _payload_bounds(data, first)
    fields = second & 0x7F, second > 0x7F, sequence, timestamp, ssrc, memoryview(data)[start:end]
    # What the constructor of a NamedTuple calls, at a third of its cost: this runs for every packet.
    return tuple.__new__(RtpPacket, fields)


def _payload_bounds(data: bytes | bytearray | memoryview, first: int) -> tuple[int, int]:
    if first >> 6 != 2:
        raise MediaError("not RTP version 2")
    start, end = payload_start(data), len(data)
    if first & 0x20:
        padding = data[-1]
        if padding == 0:
            raise MediaError("padding of no length")
        end -= padding
    if start > end:
        raise MediaError("header and padding are longer than the packet")
    return start, end


def payload_start(data: bytes | bytearray | memoryview) -> int:
    """Where the payload of an RTP packet begins (RFC 3550 §5.1, §5.3.1); beyond its end where the packet is cut off."""
    first = data[0]
    start = 12 + 4 * (first & 0x0F)
    if first & 0x10:
        words = _EXTENSION.unpack_from(data, start)[1] if start + 4 <= len(data) else 0
        start += 4 + 4 * words
    return start


def is_rtcp(data: bytes | bytearray | memoryview) -> bool:
    """True where a datagram on a port shared with RTP is RTCP: packet types 192 to 223 (RFC 5761 §4)."""
    return len(data) >= 4 and data[0] >> 6 == 2 and 192 <= data[1] <= 223


def build_rtp(
    *,
    payload_type: int,
    sequence: int,
    timestamp: int,
    ssrc: int,
    payload: bytes | memoryview,
    marker: bool = False,
    csrcs: Sequence[int] = (),
    extension: Mapping[int, bytes] | None = None,
    padding: int = 0,
) -> bytes:
    """One datagram; `sequence` and `timestamp` are taken modulo their width.

    `extension` maps element ids 1-14 to 1-16 bytes, written in the one-byte form (RFC 8285 §4.2), also when it is
    empty; `padding` is how many bytes are padded, the count included.
    """
    flags = _PLAIN | len(csrcs) | (0x10 if extension is not None else 0) | (0x20 if padding else 0)
    parts: list[bytes | memoryview] = [
        RTP_HEADER.pack(flags, payload_type | marker << 7, sequence & 0xFFFF, timestamp & 0xFFFFFFFF, ssrc),
        struct.pack(f"!{len(csrcs)}I", *csrcs),
    ]
    if extension is not None:
        elements = b"".join(bytes([number << 4 | len(value) - 1]) + value for number, value in extension.items())
        words = -(-len(elements) // 4)
        parts += _EXTENSION.pack(_ONE_BYTE_PROFILE, words), elements.ljust(4 * words, b"\0")
    parts.append(payload)
    if padding:
        parts.append(bytes(padding - 1) + bytes([padding]))
    return b"".join(parts)


class Unwrapper:
    """Extends a counter of `bits` bits over its wraps: each value is taken as the nearest to the one before it.

    The first value comes out one whole range up, so that what was sent just before it and comes late is not negative.
    """

    __slots__ = ("_half", "_last", "_range")

    def __init__(self, bits: int) -> None:
        self._range = 1 << bits
        self._half = self._range >> 1
        self._last: int | None = None

    def unwrap(self, value: int) -> int:
        """The extended value, equal to `value` modulo 2 to the power of `bits`."""
        if self._last is None:
            self._last = value + self._range
        else:
            step = (value - self._last) % self._range
            self._last += step if step < self._half else step - self._range
        return self._last


class ReceptionStats:
    """What became of one stream's packets (RFC 3550 appendices A.1, A.3 and A.8).

    Retransmissions fill the holes they were asked for: `lost` is what never came, by the highest sequence number seen.
    Who asks for what is missing takes the `holes`, and says so by `ask_again`.
    """

    MAX_DROPOUT = 3000
    """A step forward beyond this is a restart of the sender once the next packet confirms it (A.1)."""
    MAX_MISORDER = 1000
    """How late a packet may be; more than A.1's 100, for retransmissions come late."""
    MAX_HOLES = 64
    """Holes kept for who takes them; the newest."""
    MAX_JUMP_S = 10
    """A change of transit time beyond this is a wrap or a restart of the timestamps, not jitter."""

    __slots__ = (
        "_base",
        "_expected_before",
        "_highest",
        "_holes",
        "_max_jump",
        "_missing",
        "_prior",
        "_rate",
        "_restored",
        "_resync",
        "_strays",
        "_transit",
        "bytes",
        "duplicates",
        "jitter",
        "packets",
        "recovered",
        "reordered",
    )

    def __init__(self, clock_rate: int) -> None:
        self.packets = 0
        """All that came, duplicates among them."""
        self.bytes = 0
        self.duplicates = 0
        self.reordered = 0
        """Came after a packet with a higher sequence number, without being asked for again."""
        self.recovered = 0
        """Came because they were asked for again."""
        self.jitter = 0.0
        """Interarrival jitter in units of the RTP clock (§6.4.1)."""
        self._rate = clock_rate / 1e9
        self._max_jump = clock_rate * self.MAX_JUMP_S
        self._base = 0
        self._highest = -1
        self._expected_before = 0
        self._missing: dict[int, bool] = {}
        """By extended sequence number: whether it was asked for again."""
        self._holes: deque[range] = deque(maxlen=self.MAX_HOLES)
        self._restored = 0
        self._strays = 0
        self._resync = -1
        self._transit = inf
        self._prior = (0, 0)

    @property
    def expected(self) -> int:
        """How many packets were sent, by their sequence numbers."""
        return self._expected_before + self._highest - self._base + 1

    @property
    def lost(self) -> int:
        """How many packets never came."""
        return self.expected - self._received

    @property
    def highest_sequence(self) -> int:
        """Extended highest sequence number as it stands in a report block (§6.4.1)."""
        return self._highest & 0xFFFFFFFF

    @property
    def _received(self) -> int:
        return self.packets + self._restored - self.duplicates - self._strays

    @property
    def has_holes(self) -> bool:
        """True where there are holes to take."""
        return bool(self._holes)

    def take_holes(self) -> list[range]:
        """The holes that opened since the last call, as extended sequence numbers; some of it may have come since."""
        holes = list(self._holes)
        self._holes.clear()
        return holes

    def ask_again(self, extended: int) -> bool:
        """True where the packet is still missing: should it come now, that is because it was asked for."""
        if extended not in self._missing:
            return False
        self._missing[extended] = True
        return True

    def restore(self, sequence: int) -> None:
        """Count a packet that came back in a stream of its own (RFC 4588); `sequence` is the original's."""
        extended = self._highest - ((self._highest - sequence) & 0xFFFF)
        if self._missing.pop(extended, None) is not None:
            self.recovered += 1
            self._restored += 1

    def fraction_lost(self) -> int:
        """Share of packets lost since the last call, in 1/256 (A.3)."""
        expected, received = self.expected, self._received
        expected_now, received_now = expected - self._prior[0], received - self._prior[1]
        self._prior = expected, received
        lost = expected_now - received_now
        return 0 if expected_now <= 0 or lost <= 0 else min(255, lost * 256 // expected_now)

    def update(self, sequence: int, timestamp: int, arrival_ns: int, size: int) -> None:
        """Count one packet of `size` bytes."""
        self.packets += 1
        self.bytes += size
        transit = arrival_ns * self._rate - timestamp
        step = (sequence - self._highest) & 0xFFFF
        if step == 1:
            self._highest += 1
        elif not self._out_of_step(sequence, step):
            return
        # Only packets in order: a retransmission's delay is the sender's, not the network's.
        change = abs(transit - self._transit)
        if change < self._max_jump:
            self.jitter += (change - self.jitter) / 16
        self._transit = transit

    def _out_of_step(self, sequence: int, step: int) -> bool:
        """True where the packet is the newest of its stream all the same."""
        if self.packets == 1:
            self._base = self._highest = sequence
        elif step == 0 or step > 0x10000 - self.MAX_MISORDER:
            self._late(self._highest - (-step & 0xFFFF))
            return False
        elif step <= self.MAX_DROPOUT:
            self._miss(self._highest + 1, self._highest + step)
            self._holes.append(range(self._highest + 1, self._highest + step))
            self._highest += step
        elif sequence == self._resync:
            # Two in a row: the sender began anew. The first of them was taken for a stray.
            self._strays -= 1
            self._expected_before = self.expected
            self._base, self._highest = sequence - 1, sequence
            self._missing.clear()
            self._holes.clear()
        else:
            self._strays += 1
            self._resync = (sequence + 1) & 0xFFFF
            return False
        return True

    def _late(self, extended: int) -> None:
        if extended < self._base:
            self._miss(extended + 1, self._base)
            self._base = extended
        elif (asked := self._missing.pop(extended, None)) is None:
            self.duplicates += 1
            return
        elif asked:
            self.recovered += 1
            return
        self.reordered += 1

    def _miss(self, first: int, end: int) -> None:
        """Remember what has not come, to tell a late packet from a duplicate; older than `MAX_MISORDER` is given up."""
        self._missing.update(dict.fromkeys(range(first, end), False))
        while len(self._missing) > self.MAX_MISORDER:
            del self._missing[next(iter(self._missing))]
