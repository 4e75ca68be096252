"""Which sources of different captures hold the same packets, and what that tells of their numbers and clocks."""

from collections.abc import Hashable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TypeVar

from edumeet_recording.media.clock import Shift
from edumeet_recording.media.merge import Fingerprints, Offset, matches
from edumeet_recording.node.demux import Source

Name = TypeVar("Name", bound=Hashable)


@dataclass(frozen=True, slots=True)
class Twins:
    """For each source that shares packets with others their offsets to it, and all of them laid on one scale.

    `timestamps` are what is to be added to each source's, `ahead_ns` by how much each capture's node's clock is ahead;
    both against the first of those that hang together, which is 0.
    """

    offsets: Mapping[Source, Mapping[Source, Sequence[Offset]]] = field(
        default_factory=dict[Source, Mapping[Source, Sequence[Offset]]]
    )
    timestamps: Mapping[Source, int] = field(default_factory=dict[Source, int])
    ahead_ns: Mapping[int, int] = field(default_factory=dict[int, int])
    groups: Sequence[Sequence[int]] = field(default_factory=list[Sequence[int]])
    """Numbers of the captures that hang together, where it is more than one."""

    @classmethod
    def among(cls, tracks: Iterable[Mapping[Source, Fingerprints]]) -> "Twins":
        """Find them; sources of each track by rank."""
        offsets: dict[Source, Mapping[Source, Sequence[Offset]]] = {}
        for track in tracks:
            offsets |= matches(track)
        by_source: dict[Source, dict[Source, Offset]] = {
            mine: {other: max(each, key=lambda one: one.matches) for other, each in others.items()}
            for mine, others in offsets.items()
        }
        by_capture: dict[int, dict[int, Offset]] = {}
        for mine, others in by_source.items():
            for other, offset in others.items():
                best = by_capture.setdefault(mine.capture, {})
                before = best.get(other.capture)
                if before is None or offset.matches > before.matches:
                    best[other.capture] = offset
        timestamps, _ = _on_one_scale({mine: {o: s.timestamp for o, s in to.items()} for mine, to in by_source.items()})
        behind_ns, groups = _on_one_scale(
            {mine: {o: s.ahead_ns for o, s in to.items()} for mine, to in by_capture.items()}
        )
        return cls(offsets, timestamps, {capture: -behind for capture, behind in behind_ns.items()}, groups)

    def shift(self, source: Source) -> Shift:
        """What is known of a source beside its own packets."""
        return Shift(self.timestamps.get(source, 0), self.ahead_ns.get(source.capture, 0))


def _on_one_scale(steps: Mapping[Name, Mapping[Name, int]]) -> tuple[dict[Name, int], list[list[Name]]]:
    """For each name what leads from it to the first of its group, by steps from `name` to what it is reached from."""
    found: dict[Name, int] = {}
    groups: list[list[Name]] = []
    for first in steps:
        if first in found:
            continue
        found[first] = 0
        group = [first]
        for name in group:
            for other, step in steps[name].items():
                if other not in found:
                    found[other] = found[name] + step
                    group.append(other)
        groups.append(group)
    return found, groups
