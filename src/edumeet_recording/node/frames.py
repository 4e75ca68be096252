"""Second pass over a tape: the frames of every track, in the order they are to be written."""

import heapq
from collections.abc import Callable, Iterator, Mapping, Sequence

from edumeet_recording.media.timeline import Holdback, TimedFrame
from edumeet_recording.node.demux import CaptureDemux, Source
from edumeet_recording.node.fetch import FetchedCapture
from edumeet_recording.node.reader import SourceReader
from edumeet_recording.node.side_by_side import side_by_side
from edumeet_recording.node.twins import Twins


def frames(
    captures: Sequence[FetchedCapture],
    by_source: Mapping[Source, SourceReader],
    twins: Twins,
    on_chunk: Callable[[], None],
) -> Iterator[TimedFrame]:
    """All frames of all captures by decoding time; `on_chunk` hears of each chunk that is read."""
    together = {number for group in twins.groups for number in group}
    streams = [_capture_frames(capture, by_source, on_chunk) for capture in captures if capture.number not in together]
    streams += (
        side_by_side([captures[number] for number in group], by_source, twins, on_chunk) for group in twins.groups
    )
    return streams[0] if len(streams) == 1 else heapq.merge(*streams, key=lambda frame: frame.dts_ns)


def _capture_frames(
    fetched: FetchedCapture, by_source: Mapping[Source, SourceReader], on_chunk: Callable[[], None]
) -> Iterator[TimedFrame]:
    mine = {source: reader for source, reader in by_source.items() if source.capture == fetched.number}
    indices = {source.stream for source in mine}
    demux = CaptureDemux(fetched.number, [one for one in fetched.capture.streams if one.index in indices])
    held = Holdback()
    for records in fetched.chunks():
        arrival_ns = 0
        for record in records:
            arrival_ns = record[0]
            taken = demux.take(record)
            if taken is not None and (reader := mine.get(taken[0])) is not None:
                held.push(reader.push(taken[1]))
        on_chunk()
        yield from held.ready(arrival_ns)
    for reader in mine.values():
        held.push(reader.flush())
    yield from held.rest()
