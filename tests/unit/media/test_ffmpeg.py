"""Which conversion is needed, and the command lines that make it."""

from dataclasses import replace

import pytest

from edumeet_recording.domain.codecs import Codec, Container, CopyPolicy, FileFormat, Quality
from edumeet_recording.media.ffmpeg import (
    LIBAVFORMAT,
    TARGETS,
    Conversion,
    Encoder,
    NotCopyable,
    conversion,
    convert_argv,
    progress_us,
)

HD = Conversion(FileFormat.MP4, copy_video=False, copy_audio=True, quality=Quality.MEDIUM, width=1280, height=720)


def after(argv: list[str], option: str) -> str:
    return argv[argv.index(option) + 1]


def wanted(
    codecs: set[Codec],
    container: Container,
    *,
    quality: Quality | None = None,
    copy: CopyPolicy = CopyPolicy.PREFER,
    args: tuple[str, ...] = (),
    include_video: bool = True,
) -> Conversion | None:
    return conversion(codecs, container=container, include_video=include_video, quality=quality, copy=copy, args=args)


@pytest.mark.parametrize(
    ("container", "codecs", "quality"),
    [
        (Container.WEBM, {Codec.VP8, Codec.OPUS}, None),
        (Container.MP4, {Codec.H264, Codec.OPUS}, None),
        (Container.MP4, {Codec.H264, Codec.OPUS}, Quality.HIGH),
        (Container.MKV, {Codec.AV1, Codec.OPUS}, None),
        (Container.MP4, {Codec.OPUS}, Quality.HIGH),
    ],
)
@pytest.mark.parametrize("copy", [CopyPolicy.PREFER, CopyPolicy.REQUIRE])
def test_what_a_container_takes_is_copied(
    container: Container, codecs: set[Codec], quality: Quality | None, copy: CopyPolicy
) -> None:
    assert wanted(codecs, container, quality=quality, copy=copy) is None


@pytest.mark.parametrize(
    ("container", "codecs", "quality", "copies"),
    [
        (Container.MP4, {Codec.VP8, Codec.OPUS}, None, (False, True)),
        (Container.WEBM, {Codec.H264}, Quality.LOW, (False, True)),
        (Container.MP4, {Codec.H264, Codec.PCMU}, None, (True, False)),
        (Container.MKV, {Codec.PCMA}, None, (True, False)),
    ],
)
def test_the_rest_is_converted(
    container: Container, codecs: set[Codec], quality: Quality | None, copies: tuple[bool, bool]
) -> None:
    made = wanted(codecs, container, quality=quality)

    assert made is not None
    assert (made.copy_video, made.copy_audio) == copies
    assert made.quality is (quality or Quality.MEDIUM)
    with pytest.raises(NotCopyable, match=container):
        wanted(codecs, container, copy=CopyPolicy.REQUIRE)


def test_never_copies_nothing() -> None:
    made = wanted({Codec.H264, Codec.OPUS}, Container.MP4, copy=CopyPolicy.NEVER)

    assert made is not None
    assert (made.copy_video, made.copy_audio) == (False, False)


@pytest.mark.parametrize(
    ("args", "codecs", "made"),
    [
        (("-crf", "20"), {Codec.H264, Codec.OPUS}, (False, True)),
        (("-ac", "1"), {Codec.H264, Codec.OPUS}, (False, False)),
        (("-metadata", "title=a"), {Codec.OPUS}, (True, True)),
        (("-crf", "20"), {Codec.OPUS}, None),
        (("-b:a", "64k"), {Codec.H264}, (False, True)),
    ],
)
def test_a_callers_options_ask_for_what_they_are_about(
    args: tuple[str, ...], codecs: set[Codec], made: tuple[bool, bool] | None
) -> None:
    got = wanted(codecs, Container.MP4, args=args, include_video=Codec.H264 in codecs)

    assert made == (None if got is None else (got.copy_video, got.copy_audio))


def test_a_callers_options_come_last() -> None:
    argv = convert_argv("ffmpeg", "in", "out", replace(HD, args=("-crf", "30", "-g", "50")))

    assert argv.index("23") < argv.index("30")
    assert argv[argv.index("-g") - 1] == "30"


def test_a_callers_bit_rate_is_not_outdone_by_a_rate_factor() -> None:
    argv = convert_argv("ffmpeg", "in", "out", replace(HD, args=("-b:v", "1M")))

    assert "-crf" not in argv
    assert after(argv, "-b:v") == "1M"


@pytest.mark.parametrize(
    ("file", "encoder", "muxer", "audio"),
    [
        (FileFormat.MP4, "libx264", "mp4", "aac"),
        (FileFormat.MKV, "libx264", "matroska", "libopus"),
        (FileFormat.WEBM, "libvpx-vp9", "webm", "libopus"),
    ],
)
def test_each_format_has_its_encoders(file: FileFormat, encoder: str, muxer: str, audio: str) -> None:
    argv = convert_argv("ffmpeg", "in.nut", "out", replace(HD, format=file, copy_audio=False))

    assert argv[0] == "ffmpeg"
    assert after(argv, "-i") == "in.nut"
    assert after(argv, "-c:v") == encoder
    assert after(argv, "-c:a") == audio
    assert after(argv, "-f") == muxer
    assert after(argv, "-fps_mode") == "passthrough"
    assert argv[-1] == "out"
    assert ("+faststart" in argv) is (file is FileFormat.MP4)


@pytest.mark.parametrize("file", [FileFormat.M4A, FileFormat.OGG, FileFormat.MKA])
def test_every_format_has_a_muxer(file: FileFormat) -> None:
    argv = convert_argv("ffmpeg", "in.nut", "out", replace(HD, format=file, copy_video=True, copy_audio=False))

    assert after(argv, "-f") == LIBAVFORMAT[file]
    assert after(argv, "-c:a") == ("aac" if file is FileFormat.M4A else "libopus")


def test_vaapi_scales_on_the_processor_and_encodes_on_the_device() -> None:
    argv = convert_argv("ffmpeg", "in", "out", HD, encoder=Encoder.VAAPI, device="/dev/dri/renderD129")

    assert argv.index("-vaapi_device") < argv.index("-i")
    assert after(argv, "-vaapi_device") == "/dev/dri/renderD129"
    assert after(argv, "-c:v") == "h264_vaapi"
    assert after(argv, "-vf").endswith("format=nv12,hwupload")
    assert after(argv, "-maxrate") == "2500k"
    assert "-crf" not in argv


def test_nvenc_has_a_quality_and_a_ceiling() -> None:
    argv = convert_argv("ffmpeg", "in", "out", HD, encoder=Encoder.NVENC)

    assert after(argv, "-c:v") == "h264_nvenc"
    assert after(argv, "-cq") == "23"
    assert after(argv, "-maxrate") == "2500k"
    assert "-crf" not in argv


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
    assert after(argv, "-c:a") == "aac"
    assert after(argv, "-af") == "aresample=async=1000"


@pytest.mark.parametrize(
    ("line", "written_us"),
    [("out_time_us=1500000\n", 1_500_000), ("out_time_us=N/A", None), ("frame=3", None), ("progress=end", None)],
)
def test_progress(line: str, written_us: int | None) -> None:
    assert progress_us(line) == written_us
