"""When a video stream's sender is asked for a key frame, within a budget: each one costs the whole meeting; pure.

Until the first key frame with back-off; after that only because something was lost for good, the stream stalled, or
somebody wants one: never by a timer.
"""

from collections import deque

FIRST_ASK_NS = 300_000_000
LONGEST_ASK_NS = 30_000_000_000
"""The first one is asked for after 0.3, 0.6, 1.2 … s: a timer that does not back off degrades the live meeting."""
SPACING_NS = 2_000_000_000
MINUTE_NS = 60_000_000_000
ASKS_A_MINUTE = 6
OVERDUE_NS = 4_000_000_000
"""None within this, and who is asked by RTCP does not hear it."""


class KeyFrameAsks:
    """The asking for one stream. Times are nanoseconds of any one clock."""

    __slots__ = ("_asked", "_due_ns", "_interval_ns", "_needed_after", "_unanswered")

    def __init__(self) -> None:
        self._asked: deque[int] = deque(maxlen=ASKS_A_MINUTE)
        self._interval_ns = FIRST_ASK_NS
        self._due_ns: int | None = None
        self._needed_after: int | None = None
        """How many key frames there were when another one was needed."""
        self._unanswered: tuple[int, int] | None = None
        """How many there were when one was asked for, and when that was first."""

    def need(self, key_frames: int) -> None:
        """The picture is broken until a key frame comes after these."""
        self._needed_after = key_frames

    def spend(self, now_ns: int) -> None:
        """One is asked for now, because somebody wants it."""
        self._asked.append(now_ns)

    def due(self, now_ns: int, key_frames: int) -> bool:
        """True where one is to be asked for now, which counts as done; `key_frames`: how many have come."""
        due = self._next_due(now_ns, key_frames) if key_frames else self._first_due(now_ns)
        if due and (self._unanswered is None or self._unanswered[0] != key_frames):
            self._unanswered = key_frames, now_ns
        return due

    def overdue(self, now_ns: int, key_frames: int) -> bool:
        """True where one was asked for in vain; `key_frames`: how many have come."""
        if self._unanswered is None or self._unanswered[0] != key_frames:
            return False
        return now_ns - self._unanswered[1] >= OVERDUE_NS

    def _next_due(self, now_ns: int, key_frames: int) -> bool:
        if self._needed_after is None:
            return False
        if key_frames > self._needed_after:
            self._needed_after = None
            return False
        if not self._affordable(now_ns):
            return False
        self.spend(now_ns)
        return True

    def _first_due(self, now_ns: int) -> bool:
        if self._due_ns is None:
            self._due_ns = now_ns + FIRST_ASK_NS
        if now_ns < self._due_ns:
            return False
        self._interval_ns = min(2 * self._interval_ns, LONGEST_ASK_NS)
        self._due_ns = now_ns + self._interval_ns
        self.spend(now_ns)
        return True

    def _affordable(self, now_ns: int) -> bool:
        asked = self._asked
        if asked and now_ns - asked[-1] < SPACING_NS:
            return False
        return len(asked) < ASKS_A_MINUTE or now_ns - asked[0] >= MINUTE_NS
