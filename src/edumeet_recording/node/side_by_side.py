"""Reads captures that hold the same packets side by side, and has each fill the other's holes before frames are made.

They are read a window of arrival time after the other, so that memory does not grow with the recording. What came in
the last moment of a window waits for the next: what is missing there may still come by itself.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from edumeet_recording.media.merge import NEAR, Offset, fill
from edumeet_recording.media.reorder import Ordered
from edumeet_recording.media.tape import Record
from edumeet_recording.media.timeline import Holdback, TimedFrame
from edumeet_recording.node.demux import CaptureDemux, Source
from edumeet_recording.node.fetch import FetchedCapture
from edumeet_recording.node.reader import SourceReader
from edumeet_recording.node.twins import Twins

NS = 1_000_000_000
WINDOW_NS = 4 * NS
SETTLE_NS = NS
"""How long a hole is left to close by itself."""
KEPT = 4 * NEAR
"""Packets a source keeps of what it has given out: a hole's other side may be in the next window."""


def side_by_side(
    captures: Sequence[FetchedCapture],
    by_source: Mapping[Source, SourceReader],
    twins: Twins,
    on_chunk: Callable[[], None],
) -> Iterator[TimedFrame]:
    """All frames of these captures by decoding time; `on_chunk` hears of each chunk that is read."""
    sides = [_Side(capture, by_source, twins.ahead_ns.get(capture.number, 0), on_chunk) for capture in captures]
    windows = {
        source: _Window(reader, twins.offsets.get(source, {}))
        for source, reader in by_source.items()
        if source.capture in {capture.number for capture in captures}
    }
    held = Holdback()
    while starts := [side.next_ns for side in sides if side.next_ns is not None]:
        end_ns = min(starts) + WINDOW_NS
        for side in sides:
            for source, item in side.until(end_ns):
                windows[source].coming.append(item)
        held.push(_settle(windows, end_ns - SETTLE_NS))
        yield from held.ready(end_ns - SETTLE_NS)
    held.push(_settle(windows, None))
    for window in windows.values():
        held.push(window.reader.flush())
    yield from held.rest()


class _Side:
    """The packets of one capture, by the clock that all captures share."""

    def __init__(
        self,
        fetched: FetchedCapture,
        by_source: Mapping[Source, SourceReader],
        ahead_ns: int,
        on_chunk: Callable[[], None],
    ) -> None:
        indices = {source.stream for source in by_source if source.capture == fetched.number}
        self._demux = CaptureDemux(fetched.number, [one for one in fetched.capture.streams if one.index in indices])
        self._by_source = by_source
        self._ahead_ns = ahead_ns
        self._records = _records(fetched, on_chunk)
        self._next = next(self._records, None)

    @property
    def next_ns(self) -> int | None:
        """When the next packet came; None at the end."""
        return None if self._next is None else self._next.arrival_ns - self._ahead_ns

    def until(self, end_ns: int) -> Iterator[tuple[Source, Ordered]]:
        """The packets up to the first that came at `end_ns` or later."""
        record, ahead_ns = self._next, self._ahead_ns
        while record is not None and record.arrival_ns - ahead_ns < end_ns:
            taken = self._demux.take(record)
            if taken is not None and taken[0] in self._by_source:
                source, item = taken
                yield source, item._replace(arrival_ns=item.arrival_ns - ahead_ns) if ahead_ns else item
            record = next(self._records, None)
        self._next = record


def _records(fetched: FetchedCapture, on_chunk: Callable[[], None]) -> Iterator[Record]:
    for records in fetched.chunks():
        yield from records
        on_chunk()


@dataclass(slots=True)
class _Window:
    """The packets of one source: `given` out, the last of them, and `coming`."""

    reader: SourceReader
    twins: Mapping[Source, Sequence[Offset]]
    given: list[Ordered] = field(default_factory=list[Ordered])
    coming: list[Ordered] = field(default_factory=list[Ordered])

    def by_sequence(self) -> dict[int, Ordered]:
        """All of them; the first of those that came twice."""
        return {item.sequence: item for item in (*reversed(self.coming), *self.given)}

    def settle(self, filled: Sequence[Ordered], end_ns: int | None) -> list[TimedFrame]:
        """Give out what came before `end_ns`, None for all, and what fills its holes."""
        if end_ns is None:
            settled, self.coming = self.coming, []
        else:
            settled = [item for item in self.coming if item.arrival_ns < end_ns]
            self.coming = [item for item in self.coming if item.arrival_ns >= end_ns]
        settled += filled
        settled.sort(key=lambda item: (item.arrival_ns, item.sequence))
        self.given = sorted((*self.given, *settled), key=lambda item: item.sequence)[-KEPT:] if self.twins else []
        return [frame for item in settled for frame in self.reader.push(item)]


def _settle(windows: Mapping[Source, _Window], end_ns: int | None) -> list[TimedFrame]:
    packets = {source: window.by_sequence() for source, window in windows.items() if window.twins}
    filled = {source: _filled(windows, packets, source, end_ns) for source in packets}
    return [frame for source, window in windows.items() for frame in window.settle(filled.get(source, ()), end_ns)]


def _filled(
    windows: Mapping[Source, _Window], packets: Mapping[Source, dict[int, Ordered]], source: Source, end_ns: int | None
) -> list[Ordered]:
    """What fills the holes of one source, from whichever other source has it."""
    window = windows[source]
    mine = dict(packets[source])
    filled: list[Ordered] = []
    for other, offset in ((other, offset) for other, offsets in window.twins.items() for offset in offsets):
        found = fill(sorted(mine.values()), packets[other], offset, window.reader.codec, before_ns=end_ns)
        mine |= {item.sequence: item for item in found}
        filled += found
        window.reader.filled += len(found)
        windows[other].reader.gave += len(found)
    return filled
