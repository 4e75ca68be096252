"""From tape to file where the clock of the node was set while it recorded: NTP's steps, seen through the whole path."""

import pytest
from tests.integration.finalizer import Finalizer, streams
from tests.integration.synthetic_tape import Network, audio, capture, task, video

from edumeet_recording.domain.codecs import Codec, Container
from edumeet_recording.sim.analyse import presence


@pytest.mark.parametrize("by_s", [-3600.0, -1.5, 2.5, 3600.0])
async def test_a_clock_that_is_set_leaves_no_mark(finalizer: Finalizer, by_s: float) -> None:
    sent = [
        audio(Codec.OPUS, 24).with_reports(3, clock_s=77_000, error_s=(0.01, -0.02)),
        video(Codec.VP8, 24).with_reports(1, clock_s=77_000, error_s=(0.02, -0.01)),
    ]
    network = Network(loss=0.002, ahead_s=lambda at_s: by_s if at_s > 12.4 else 0)

    done, found = await finalizer.done(task(capture(finalizer.store, *sent, network=network), container=Container.WEBM))

    assert abs(done.duration_s - 24) < 0.1
    assert found.decode_errors == found.disordered == 0
    assert found.audio is not None
    assert found.video is not None
    assert presence(found.audio.beeps, 23) == 1
    assert presence(found.video.flashes, 23) > 0.9
    assert (found.offset_p95_ms or 0) < 30
    assert [stream["gapS"] for stream in streams(done)] == [pytest.approx(0, abs=2)] * 2
    assert all(gap["cause"] == "loss" for stream in streams(done) for gap in stream["gaps"])
    assert any("clock was set" in warning for warning in done.warnings)


@pytest.mark.parametrize("reported", [False, True])
async def test_set_back_without_reports_or_while_the_camera_is_off(finalizer: Finalizer, reported: bool) -> None:
    sound = audio(Codec.OPUS, 24)
    picture = video(Codec.H264, 24).where(lambda one: one.sent_s >= 16)
    if reported:
        sound, picture = sound.with_reports(3, clock_s=77_000), picture.with_reports(1, clock_s=77_000)
    network = Network(ahead_s=lambda at_s: -2.0 if at_s > 8 else 0)

    done, found = await finalizer.done(
        task(capture(finalizer.store, sound, picture, network=network), container=Container.MKV)
    )

    assert abs(done.duration_s - 24) < 0.1
    assert len(found.offsets_s) >= 7
    assert (found.offset_p95_ms or 0) < 20
    assert [stream["gapCount"] for stream in streams(done)] == [0, 0]
