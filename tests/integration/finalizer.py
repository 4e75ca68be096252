"""Makes files of synthetic tapes in this process, and says what a decoder finds in them."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

from imageio_ffmpeg import get_ffmpeg_exe
from tests.integration.synthetic_tape import Sent, TapeStore, audio, capture, video

from edumeet_recording.domain.codecs import Codec
from edumeet_recording.node.assemble import assemble
from edumeet_recording.node.transcode import Converter
from edumeet_recording.sim.analyse import ContentReport, analyse
from edumeet_recording.sim.content import Shape
from edumeet_recording.wire.node_link import FinalizeDone, FinalizeFailed, FinalizeTask, TaskCapture


class Finalizer:
    """Finalizes tasks in a folder and judges the file."""

    def __init__(self, folder: Path) -> None:
        self.store = TapeStore(folder / "storage")
        self.said: list[tuple[str, float]] = []
        self.converter = Converter(get_ffmpeg_exe())
        self._work_dir = folder / "work"

    async def outcome(self, given: FinalizeTask) -> FinalizeDone | FinalizeFailed:
        return await assemble(
            given, self.store, self._work_dir, self.converter, lambda phase, at: self.said.append((phase, at))
        )

    async def done(self, given: FinalizeTask) -> tuple[FinalizeDone, ContentReport]:
        outcome = await self.outcome(given)
        assert isinstance(outcome, FinalizeDone), outcome
        return outcome, analyse(self.store.path(outcome.file_key))


def streams(done: FinalizeDone) -> list[dict[str, Any]]:
    return json.loads(json.dumps(done.report["streams"]))


def renumbered(sent: Sent) -> Sent:
    """Without holes in the sequence numbers."""
    first = sent.datagrams[0].sequence
    numbers = {one.sequence: first + number for number, one in enumerate(sent.datagrams)}
    return sent.map(lambda one: replace(one, sequence=numbers[one.sequence]))


def three_sizes(store: TapeStore, codec: Codec) -> TaskCapture:
    """160x90, then 320x180, then portrait, each for four seconds, as a simulcast sender does it."""
    parts = [
        video(codec, 4, shape=shape, first_number=100 * number)
        for number, shape in enumerate((Shape(160, 90, 25), Shape(320, 180, 25), Shape(90, 160, 25)))
    ]
    joined = replace(parts[0], datagrams=tuple(one for part in parts for one in part.datagrams))
    first = joined.datagrams[0].sequence
    datagrams = tuple(replace(one, sequence=first + number) for number, one in enumerate(joined.datagrams))
    return capture(store, audio(Codec.OPUS, 12), replace(joined, datagrams=datagrams))
