"""Which lost packets of a stream are asked for again, and when (generic NACK, RFC 4585 §6.2.1); pure.

Every stream is asked, audio too: no signalling tells whether its sender answers. One that leaves many holes in a row
unanswered is asked now and then only.
"""

from dataclasses import dataclass
from typing import NamedTuple

from edumeet_recording.media.rtp import ReceptionStats

TRIES = 10
FIRST_INTERVAL_NS = 50_000_000
GROWTH = 1.2
"""Asked at 0, 50, 110, 182 … 1040 ms; given up at 1.3 s, within what an SFU keeps and finalizing waits for."""
MOST_PACKETS = 500
"""Asked for at a time; what is lost beyond that is an outage, and has to be mended by a key frame."""
DEAF_HOLES = 20
"""A sender that left so many holes in a row unanswered does not answer …"""
PROBE_HOLES = 10
"""… and is asked for every tenth hole only."""


@dataclass(slots=True)
class _Asked:
    tries: int
    due_ns: int
    interval_ns: float
    key_frames: int
    """How many the stream had had when the packet was missed."""


class Due(NamedTuple):
    """`sequences` to ask for now, ascending; `broken`: something was given up, and no key frame came since it was lost.

    Sequence numbers are those on the wire.
    """

    sequences: tuple[int, ...] = ()
    broken: bool = False


class Repair:
    """The lost packets of one stream that may still come. Times are nanoseconds of any one clock."""

    __slots__ = ("_asked", "_holes", "_unanswered")

    def __init__(self) -> None:
        self._asked: dict[int, _Asked] = {}
        self._holes = 0
        self._unanswered = 0

    @property
    def waits(self) -> bool:
        """True while something that was asked for may still come."""
        return bool(self._asked)

    def due(self, now_ns: int, stats: ReceptionStats, key_frames: int) -> Due:
        """What to do about the holes in `stats`; `key_frames`: how many the stream has had."""
        broken = False
        for hole in stats.take_holes():
            broken = not self._open(hole, now_ns, key_frames) or broken
        sequences: list[int] = []
        for extended, asked in list(self._asked.items()):
            if now_ns < asked.due_ns:
                continue
            if not stats.ask_again(extended):
                del self._asked[extended]
                self._unanswered = 0 if asked.tries else self._unanswered
            elif asked.tries == TRIES:
                self._give_up(extended)
                broken = broken or asked.key_frames == key_frames
            else:
                asked.tries += 1
                asked.due_ns = now_ns + int(asked.interval_ns)
                asked.interval_ns *= GROWTH
                sequences.append(extended)
        return Due(tuple(extended & 0xFFFF for extended in sorted(sequences)), broken)

    def _open(self, hole: range, now_ns: int, key_frames: int) -> bool:
        """False where the hole is given up at once."""
        self._holes += 1
        deaf = self._unanswered >= DEAF_HOLES and self._holes % PROBE_HOLES
        if deaf or len(self._asked) + len(hole) > MOST_PACKETS:
            return False
        for extended in hole:
            self._asked[extended] = _Asked(0, now_ns, FIRST_INTERVAL_NS, key_frames)
        return True

    def _give_up(self, extended: int) -> None:
        del self._asked[extended]
        if extended + 1 not in self._asked:  # a hole counts once, by its last packet
            self._unanswered += 1
