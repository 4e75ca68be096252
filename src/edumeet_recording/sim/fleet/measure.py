"""What is measured of a simulated day. Times are seconds of a monotonic clock unless they say otherwise."""

from collections import defaultdict
from collections.abc import Callable, Iterable
from dataclasses import dataclass

from edumeet_recording.sim.fleet.day import Session


@dataclass(frozen=True, slots=True)
class Sample:
    """One region at one moment; `at_s` of the simulated day. `waiting`: accepted, and on no node yet."""

    at_s: float
    region: str
    sessions: int
    waiting: int
    nodes_paid: int
    nodes_running: int


@dataclass(slots=True)
class Recording:
    """One that was accepted; `ended_at` once it was told to stop."""

    session: Session
    asked_at: float
    answered_at: float
    ended_at: float | None = None


class Watch:
    """Collects, and is the nodes' `Observer`: what a node says may come before the start is answered."""

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._first_assigned: dict[str, float] = {}
        self._first_receiving: dict[str, float] = {}
        self._node_of: dict[str, str] = {}
        self._interrupted: dict[str, float] = {}
        self._without_packet: set[str] = set()
        self._without_file: set[str] = set()
        self._asking = 0
        self.recordings: dict[str, Recording] = {}
        self.refusals: list[str] = []
        self.failovers_s: list[float] = []
        self.samples: list[Sample] = []

    @property
    def in_hand(self) -> int:
        """Recordings that the service was asked for and has not done: no answer, first packet, or file yet."""
        return self._asking + len(self._without_packet) + len(self._without_file)

    @property
    def without_media(self) -> int:
        """Recordings that were stopped before they had begun."""
        over = (job_id for job_id, each in self.recordings.items() if each.ended_at is not None)
        return sum(job_id not in self._first_receiving for job_id in over)

    def asked(self) -> None:
        """A start was sent."""
        self._asking += 1

    def refused(self, why: str) -> None:
        """It was not accepted."""
        self._asking -= 1
        self.refusals.append(why)

    def accepted(self, job_id: str, recording: Recording) -> None:
        """It was."""
        self._asking -= 1
        self.recordings[job_id] = recording
        if job_id not in self._first_receiving:
            self._without_packet.add(job_id)

    def finalized(self, job_id: str) -> None:
        """Its file is made."""
        self._without_file.discard(job_id)

    def assigned(self, job_id: str, node_id: str) -> None:
        """A node was told of a capture."""
        self._first_assigned.setdefault(job_id, self._clock())
        self._node_of[job_id] = node_id

    def receiving(self, job_id: str, node_id: str) -> None:  # noqa: ARG002 - an observer is told both
        """Its first packet is there."""
        now = self._clock()
        self._first_receiving.setdefault(job_id, now)
        self._without_packet.discard(job_id)
        if (since := self._interrupted.pop(job_id, None)) is not None:
            self.failovers_s.append(now - since)

    def failed(self, node_id: str) -> None:
        """A node is gone: what it records is interrupted until another receives."""
        now = self._clock()
        for job_id, recording in self.recordings.items():
            if self._node_of.get(job_id) == node_id and recording.ended_at is None:
                self._interrupted[job_id] = now

    def ended(self, job_id: str) -> None:
        """A recording was told to stop; it needs no other node."""
        self.recordings[job_id].ended_at = self._clock()
        self._interrupted.pop(job_id, None)
        self._without_packet.discard(job_id)
        if job_id in self._first_receiving:
            self._without_file.add(job_id)

    def waiting(self) -> dict[str, int]:
        """How many wait for their first node now, by region."""
        found: dict[str, int] = defaultdict(int)
        for job_id in self._without_packet - self._first_assigned.keys():
            found[self.recordings[job_id].session.region] += 1
        return found

    def waits_s(self) -> list[float]:
        """Of each recording, from its answer until a node was told, or in vain until it was stopped."""
        now = self._clock()
        return [
            max(0.0, self._first_assigned.get(job_id, each.ended_at or now) - each.answered_at)
            for job_id, each in self.recordings.items()
        ]

    def starts_s(self) -> list[float]:
        """Of each that had media, from the request until the first packet."""
        return self._since_asked(self._first_receiving)

    def placements_s(self) -> list[float]:
        """Of each that was placed, from the request until its node was told."""
        return self._since_asked(self._first_assigned)

    def _since_asked(self, at: dict[str, float]) -> list[float]:
        jobs: Iterable[str] = at.keys() & self.recordings.keys()
        return [at[job_id] - self.recordings[job_id].asked_at for job_id in jobs]
