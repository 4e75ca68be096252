"""From tape to file: synthetic tapes of real encoders' packets, and what a decoder finds in the file."""

from pathlib import Path

import pytest
from tests.integration.synthetic_tape import TapeStore, audio, capture, task, video

from edumeet_recording.domain.codecs import Codec, Container
from edumeet_recording.node.assemble import assemble
from edumeet_recording.node.transcode import ffmpeg_binary
from edumeet_recording.sim.analyse import ContentReport, analyse, presence
from edumeet_recording.wire.node_link import FinalizeDone, FinalizeFailed, FinalizeTask


class Finalizer:
    """Finalizes tasks in a folder and judges the file."""

    def __init__(self, folder: Path) -> None:
        self.store = TapeStore(folder / "storage")
        self.said: list[tuple[str, float]] = []
        self._work_dir = folder / "work"

    async def outcome(self, given: FinalizeTask) -> FinalizeDone | FinalizeFailed:
        return await assemble(
            given, self.store, self._work_dir, ffmpeg_binary(""), lambda phase, at: self.said.append((phase, at))
        )

    async def done(self, given: FinalizeTask) -> tuple[FinalizeDone, ContentReport]:
        outcome = await self.outcome(given)
        assert isinstance(outcome, FinalizeDone), outcome
        return outcome, analyse(self.store.path(outcome.file_key))


@pytest.fixture
def finalizer(tmp_path: Path) -> Finalizer:
    return Finalizer(tmp_path)


COPIES = [
    (Codec.VP8, Container.WEBM),
    (Codec.VP8, Container.MKV),
    (Codec.VP9, Container.WEBM),
    (Codec.VP9, Container.MP4),
    (Codec.H264, Container.MP4),
    (Codec.H264, Container.MKV),
    (Codec.AV1, Container.MP4),
    (Codec.AV1, Container.WEBM),
    (Codec.AV1, Container.MKV),
]


@pytest.mark.parametrize(("codec", "container"), COPIES)
async def test_copies_what_the_container_takes(finalizer: Finalizer, codec: Codec, container: Container) -> None:
    sent = audio(Codec.OPUS, 6), video(codec, 6)

    done, found = await finalizer.done(task(capture(finalizer.store, *sent), container=container))

    assert done.warnings == ()
    assert abs(done.duration_s - 6) < 0.1
    assert found.decode_errors == found.disordered == 0
    assert found.video is not None
    assert found.video.frames == 150
    assert found.audio is not None
    assert presence(found.audio.beeps, 5) == presence(found.video.flashes, 5) == 1
    assert (found.offset_p95_ms or 0) < 20
