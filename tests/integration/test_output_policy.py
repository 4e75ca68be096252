"""What a caller may ask of the file: copied or not, cut or fitted, audio alone, pictures, options, a GPU."""

import json
from dataclasses import replace
from typing import Any

import av
import pytest
from tests.integration.finalizer import Finalizer, renumbered, three_sizes
from tests.integration.synthetic_tape import Datagram, audio, capture, task, video

from edumeet_recording.domain.codecs import Codec, Container, CopyPolicy, Kind, Quality
from edumeet_recording.media.ffmpeg import Encoder
from edumeet_recording.sim.analyse import analyse, presence
from edumeet_recording.wire.node_link import FinalizeDone, FinalizeFailed


def assets(done: FinalizeDone, kind: str) -> list[dict[str, Any]]:
    listed: Any = done.report["assets"]
    return [each for each in listed if each["kind"] == kind]


def beside(finalizer: Finalizer, done: FinalizeDone, name: str) -> bytes:
    return finalizer.store.objects[f"{done.file_key.rpartition('/')[0]}/{name}"]


async def test_a_quality_does_not_undo_a_copy(finalizer: Finalizer) -> None:
    sent = audio(Codec.OPUS, 4), video(Codec.H264, 4)

    done, _ = await finalizer.done(
        task(capture(finalizer.store, *sent), container=Container.MP4, quality=Quality.MEDIUM)
    )

    assert json.loads(json.dumps(done.report["file"]))["made"] == "copy"


@pytest.mark.parametrize(
    ("codec", "container", "codecs"),
    [
        (Codec.H264, Container.MP4, {"h264", "aac"}),
        (Codec.VP8, Container.WEBM, {"vp9", "opus"}),
        (Codec.VP9, Container.MKV, {"h264", "opus"}),
    ],
)
async def test_copy_never_encodes_everything_anew(
    finalizer: Finalizer, codec: Codec, container: Container, codecs: set[str]
) -> None:
    sent = audio(Codec.OPUS, 6), video(codec, 6)

    done, found = await finalizer.done(
        task(capture(finalizer.store, *sent), container=container, quality=Quality.LOW, copy=CopyPolicy.NEVER)
    )

    assert {stream.codec for stream in done.streams} == codecs
    assert done.warnings == ()
    assert found.decode_errors == found.disordered == 0
    assert (found.offset_p95_ms or 0) < 30
    assert abs(done.duration_s - 6) < 0.15


async def test_a_gap_is_silence_and_a_still_picture_when_encoded(finalizer: Finalizer) -> None:
    def heard(one: Datagram) -> bool:
        return not 4 <= one.sent_s < 9

    sent = [renumbered(one.where(heard)) for one in (audio(Codec.OPUS, 14), video(Codec.VP8, 14))]

    done, found = await finalizer.done(
        task(capture(finalizer.store, *sent), container=Container.MP4, copy=CopyPolicy.NEVER)
    )

    assert abs(done.duration_s - 14) < 0.15
    assert len(found.offsets_s) >= 7
    assert (found.offset_p95_ms or 0) < 30
    with av.open(str(finalizer.store.path(done.file_key))) as container:
        pcm_s = sum(frame.samples / frame.sample_rate for frame in container.decode(audio=0))
    assert pcm_s == pytest.approx(14, abs=0.2)


async def test_what_must_be_copied_and_cannot_be_fails_for_good(finalizer: Finalizer) -> None:
    outcome = await finalizer.outcome(
        task(capture(finalizer.store, video(Codec.VP8, 2)), container=Container.MP4, copy=CopyPolicy.REQUIRE)
    )

    assert isinstance(outcome, FinalizeFailed)
    assert not outcome.retryable
    assert "mp4 does not take vp8" in outcome.error


@pytest.mark.parametrize(
    ("codec", "container"),
    [(Codec.VP8, Container.WEBM), (Codec.H264, Container.MP4), (Codec.VP9, Container.MKV)],
)
async def test_a_required_copy_is_cut_where_the_picture_changes_its_size(
    finalizer: Finalizer, codec: Codec, container: Container
) -> None:
    done, first = await finalizer.done(
        task(three_sizes(finalizer.store, codec), container=container, copy=CopyPolicy.REQUIRE)
    )

    parts = json.loads(json.dumps(done.report["parts"]))
    assert [(part["width"], part["height"]) for part in parts] == [(160, 90), (320, 180), (90, 160)]
    assert [part["startS"] for part in parts] == pytest.approx([0, 4, 8], abs=0.1)
    assert done.duration_s == pytest.approx(12, abs=0.1)
    assert json.loads(beside(finalizer, done, "manifest.json"))["parts"] == parts
    assert [asset["name"] for asset in assets(done, "part")] == [part["name"] for part in parts[1:]]
    folder = finalizer.store.path(done.file_key).parent
    for part in parts:
        found = analyse(folder / part["name"])
        assert found.decode_errors == found.disordered == 0
        assert found.video is not None
        assert found.video.frames == 100
        assert found.video.sizes == ((part["width"], part["height"]),)
        assert found.duration_s == pytest.approx(part["durationS"], abs=0.1)
        assert (found.offset_p95_ms or 0) < 25
    assert first.audio is not None
    assert any("cut into 3 parts" in warning for warning in done.warnings)
    assert len(done.warnings) == 1


@pytest.mark.parametrize(
    ("container", "suffix"), [(Container.MP4, ".m4a"), (Container.WEBM, ".ogg"), (Container.MKV, ".mka")]
)
@pytest.mark.parametrize("codec", [Codec.OPUS, Codec.PCMU])
async def test_audio_alone_has_a_format_of_its_own(
    finalizer: Finalizer, codec: Codec, container: Container, suffix: str
) -> None:
    sent = audio(codec, 6), video(Codec.VP8, 6)

    done, found = await finalizer.done(
        task(capture(finalizer.store, *sent), container=container, include=(Kind.AUDIO,))
    )

    assert done.file_key.endswith(suffix)
    assert [stream.kind for stream in done.streams] == [Kind.AUDIO]
    assert done.warnings == ()
    assert found.audio is not None
    assert presence(found.audio.beeps, 5) == 1
    assert assets(done, "poster") == []
    assert len(assets(done, "waveform")) == 1


async def test_a_gap_in_ogg_is_filled_with_silence(finalizer: Finalizer) -> None:
    sent = renumbered(audio(Codec.OPUS, 20).where(lambda one: not 4 <= one.sent_s < 12))

    done, found = await finalizer.done(
        task(capture(finalizer.store, sent), container=Container.WEBM, include=(Kind.AUDIO,))
    )

    assert done.duration_s == pytest.approx(20, abs=0.1)
    assert not any("are in the file" in warning for warning in done.warnings)
    assert found.decode_errors == found.disordered == 0
    assert found.audio is not None
    assert [round(beep) for beep in found.audio.beeps] == [*range(4), *range(12, 20)]
    with av.open(str(finalizer.store.path(done.file_key))) as container:
        pcm_s = sum(frame.samples / frame.sample_rate for frame in container.decode(audio=0))
    assert pcm_s == pytest.approx(20, abs=0.1)


async def test_pictures_and_waveform_lie_beside_the_file(finalizer: Finalizer) -> None:
    sent = audio(Codec.OPUS, 6), video(Codec.VP8, 6)

    done, _ = await finalizer.done(task(capture(finalizer.store, *sent), container=Container.WEBM))

    (poster,) = assets(done, "poster")
    (thumbnail,) = assets(done, "thumbnail")
    for listed in (poster, thumbnail):
        data = beside(finalizer, done, listed["name"])
        assert data.startswith(b"\xff\xd8")
        assert len(data) == listed["bytes"]
        assert (listed["width"], listed["height"]) == (160, 90)
    wave = json.loads(beside(finalizer, done, "waveform.json"))
    assert wave["sample_rate"] / wave["samples_per_pixel"] == 10
    high = wave["data"][1::2]
    assert len(high) == wave["length"]
    loud = {number % 10 for number, peak in enumerate(high[:58]) if peak > 30}
    assert loud <= {9, 0, 1}
    assert 0 in loud


async def test_no_pictures_where_none_are_wanted(finalizer: Finalizer) -> None:
    sent = audio(Codec.OPUS, 2), video(Codec.VP8, 2)

    done, _ = await finalizer.done(task(capture(finalizer.store, *sent), container=Container.WEBM, thumbnails=False))

    assert done.report["assets"] == []


async def test_a_callers_options_reach_the_encoder(finalizer: Finalizer) -> None:
    sent = audio(Codec.OPUS, 4), video(Codec.H264, 4)
    args = ("-crf", "40", "-g", "10", "-ac", "1", "-metadata", "title=Lecture 1")

    done, _ = await finalizer.done(task(capture(finalizer.store, *sent), container=Container.MP4, ffmpeg_args=args))

    assert done.warnings == ()
    with av.open(str(finalizer.store.path(done.file_key))) as container:
        assert container.metadata["title"] == "Lecture 1"
        assert container.streams.audio[0].channels == 1
        keys = sum(packet.is_keyframe for packet in container.demux(video=0) if packet.size)
    assert keys >= 10


async def test_options_that_fail_cost_no_recording(finalizer: Finalizer) -> None:
    sent = audio(Codec.OPUS, 2), video(Codec.VP8, 2)
    args = ("-profile:v", "baseline", "-pix_fmt", "yuv444p")

    done, found = await finalizer.done(task(capture(finalizer.store, *sent), container=Container.MP4, ffmpeg_args=args))

    assert found.decode_errors == 0
    assert any(warning.startswith("customFFmpegArgs failed") for warning in done.warnings)


@pytest.mark.parametrize("encoder", [Encoder.VAAPI, Encoder.NVENC])
async def test_a_gpu_that_fails_costs_no_recording(finalizer: Finalizer, encoder: Encoder) -> None:
    finalizer.converter = replace(finalizer.converter, encoder=encoder, device="/dev/dri/no-such-node")
    sent = audio(Codec.OPUS, 2), video(Codec.VP8, 2)

    done, found = await finalizer.done(task(capture(finalizer.store, *sent), container=Container.MP4))

    assert found.decode_errors == 0
    assert json.loads(json.dumps(done.report["file"]))["encoder"] == "libx264"
    assert any(f"hardware encoder {encoder} failed" in warning for warning in done.warnings)
