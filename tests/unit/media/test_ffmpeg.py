"""Which conversion is needed, and the command lines that make it."""

from dataclasses import replace

import pytest

from edumeet_recording.domain.codecs import Codec, Container, Quality
from edumeet_recording.media.ffmpeg import TARGETS, Conversion, conversion, convert_argv, progress_us

HD = Conversion(Container.MP4, copy_video=False, copy_audio=True, quality=Quality.MEDIUM, width=1280, height=720)


def after(argv: list[str], option: str) -> str:
    return argv[argv.index(option) + 1]


@pytest.mark.parametrize(
    ("container", "codecs", "quality"),
    [
        (Container.WEBM, {Codec.VP8, Codec.OPUS}, None),
        (Container.MP4, {Codec.H264, Codec.OPUS}, None),
        (Container.MKV, {Codec.AV1, Codec.OPUS}, None),
        (Container.MP4, {Codec.OPUS}, Quality.HIGH),
    ],
)
def test_what_a_container_takes_is_copied(container: Container, codecs: set[Codec], quality: Quality | None) -> None:
    assert conversion(container, codecs, quality) is None


@pytest.mark.parametrize(
    ("container", "codecs", "quality", "copies"),
    [
        (Container.MP4, {Codec.VP8, Codec.OPUS}, None, (False, True)),
        (Container.WEBM, {Codec.H264}, Quality.LOW, (False, True)),
        (Container.MP4, {Codec.H264, Codec.OPUS}, Quality.HIGH, (False, True)),
        (Container.MP4, {Codec.H264, Codec.PCMU}, None, (True, False)),
        (Container.MKV, {Codec.PCMA}, None, (True, False)),
    ],
)
def test_the_rest_is_converted(
    container: Container, codecs: set[Codec], quality: Quality | None, copies: tuple[bool, bool]
) -> None:
    made = conversion(container, codecs, quality)

    assert made is not None
    assert (made.copy_video, made.copy_audio) == copies
    assert made.quality is (quality or Quality.MEDIUM)


@pytest.mark.parametrize(
    ("container", "encoder", "muxer"),
    [
        (Container.MP4, "libx264", "mp4"),
        (Container.MKV, "libx264", "matroska"),
        (Container.WEBM, "libvpx-vp9", "webm"),
    ],
)
def test_each_container_has_its_encoder(container: Container, encoder: str, muxer: str) -> None:
    argv = convert_argv("ffmpeg", "in.nut", "out", replace(HD, container=container))

    assert argv[0] == "ffmpeg"
    assert after(argv, "-i") == "in.nut"
    assert after(argv, "-c:v") == encoder
    assert after(argv, "-c:a") == "copy"
    assert after(argv, "-f") == muxer
    assert after(argv, "-fps_mode") == "passthrough"
    assert argv[-1] == "out"
    assert ("+faststart" in argv) is (container is Container.MP4)


@pytest.mark.parametrize("quality", Quality)
def test_a_quality_caps_rate_and_size(quality: Quality) -> None:
    argv = convert_argv("ffmpeg", "in", "out", replace(HD, quality=quality, width=1921, height=1081))

    target = TARGETS[quality]
    assert after(argv, "-crf") == str(target.x264_crf)
    assert after(argv, "-maxrate") == f"{target.video_kbps}k"
    fit = after(argv, "-vf")
    width, height = map(int, fit.split("pad=")[1].split(":")[:2])
    assert width % 2 == height % 2 == 0
    assert height == target.max_height
    assert width / height == pytest.approx(1921 / 1081, abs=0.01)


def test_copied_video_is_left_alone_and_audio_is_filled() -> None:
    argv = convert_argv("ffmpeg", "in", "out", replace(HD, copy_video=True, copy_audio=False))

    assert after(argv, "-c:v") == "copy"
    assert "-vf" not in argv
    assert after(argv, "-c:a") == "libopus"
    assert after(argv, "-af") == "aresample=async=1000"


@pytest.mark.parametrize(
    ("line", "written_us"),
    [("out_time_us=1500000\n", 1_500_000), ("out_time_us=N/A", None), ("frame=3", None), ("progress=end", None)],
)
def test_progress(line: str, written_us: int | None) -> None:
    assert progress_us(line) == written_us
