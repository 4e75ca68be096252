"""Which encoder a node takes, and what is tried when it fails; FFmpeg itself is in tests/integration."""

from pathlib import Path

import pytest

from edumeet_recording.config import NodeSettings
from edumeet_recording.domain.codecs import FileFormat, Quality
from edumeet_recording.media.ffmpeg import Conversion, Encoder
from edumeet_recording.node import transcode
from edumeet_recording.node.transcode import Converter, TranscodeFailed, convert

NEED = Conversion(FileFormat.MP4, copy_video=False, copy_audio=True, quality=Quality.LOW, width=64, height=64)


class Ffmpeg:
    """Notes what it is asked for, and fails as often as it is told."""

    def __init__(self, *failures: str) -> None:
        self.encoders: list[str] = []
        self.argv: list[list[str]] = []
        self._failures = list(failures)

    async def __call__(self, argv: list[str], *_: object) -> None:
        self.argv.append(argv)
        self.encoders.append(argv[argv.index("-c:v") + 1])
        if self._failures:
            raise TranscodeFailed(self._failures.pop(0))


async def converted(
    ffmpeg: Ffmpeg, monkeypatch: pytest.MonkeyPatch, need: Conversion, encoder: Encoder
) -> transcode.Converted:
    monkeypatch.setattr(transcode, "transcode", ffmpeg)
    converter = Converter("ffmpeg", encoder, "/dev/dri/renderD128")
    return await convert(converter, Path("in"), Path("out"), need, duration_s=1.0, on_fraction=lambda _: None)


@pytest.mark.parametrize(
    ("setting", "nvidia", "render", "encoder"),
    [
        ("auto", False, False, Encoder.SOFTWARE),
        ("auto", False, True, Encoder.VAAPI),
        ("auto", True, True, Encoder.NVENC),
        ("none", True, True, Encoder.SOFTWARE),
        ("vaapi", True, False, Encoder.VAAPI),
        ("nvenc", False, True, Encoder.NVENC),
    ],
)
def test_the_encoder_is_the_one_named_or_found(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, *, setting: str, nvidia: bool, render: bool, encoder: Encoder
) -> None:
    devices = {name: tmp_path / name for name in ("nvidia0", "renderD128")}
    for there, path in zip((nvidia, render), devices.values(), strict=True):
        if there:
            path.touch()
    monkeypatch.setattr(transcode, "NVIDIA_DEVICE", devices["nvidia0"])
    settings = NodeSettings.model_validate({"hw_encoder": setting, "vaapi_device": str(devices["renderD128"])})

    assert Converter.of(settings).encoder is encoder


async def test_a_gpu_that_works_is_all_that_is_tried(monkeypatch: pytest.MonkeyPatch) -> None:
    ffmpeg = Ffmpeg()

    made = await converted(ffmpeg, monkeypatch, NEED, Encoder.NVENC)

    assert ffmpeg.encoders == ["h264_nvenc"]
    assert (made.encoder, made.notes) == ("h264_nvenc", ())


async def test_a_gpu_that_fails_is_told_and_replaced(monkeypatch: pytest.MonkeyPatch) -> None:
    ffmpeg = Ffmpeg("no device")

    made = await converted(ffmpeg, monkeypatch, NEED, Encoder.VAAPI)

    assert ffmpeg.encoders == ["h264_vaapi", "libx264"]
    assert made.encoder == "libx264"
    assert made.notes == ("the hardware encoder h264_vaapi failed, the file was made without: no device",)


async def test_options_are_the_processors_and_given_up_last(monkeypatch: pytest.MonkeyPatch) -> None:
    ffmpeg = Ffmpeg("bad option")
    need = Conversion(FileFormat.MP4, False, True, Quality.LOW, ("-crf", "20"), 64, 64)

    made = await converted(ffmpeg, monkeypatch, need, Encoder.NVENC)

    assert ffmpeg.encoders == ["libx264", "libx264"]
    assert "20" in ffmpeg.argv[0]
    assert "20" not in ffmpeg.argv[1]
    assert made.notes == ("customFFmpegArgs failed, the file was made without: bad option",)


async def test_a_gpu_is_not_asked_for_what_it_does_not_do(monkeypatch: pytest.MonkeyPatch) -> None:
    ffmpeg = Ffmpeg()
    need = Conversion(FileFormat.WEBM, False, True, Quality.LOW, (), 64, 64)

    assert (await converted(ffmpeg, monkeypatch, need, Encoder.VAAPI)).encoder == "libvpx-vp9"
    assert ffmpeg.encoders == ["libvpx-vp9"]


@pytest.mark.parametrize("failure", ["No space left on device", "broken"])
async def test_what_nothing_can_mend_is_an_error(monkeypatch: pytest.MonkeyPatch, failure: str) -> None:
    ffmpeg = Ffmpeg(failure, failure)

    with pytest.raises(TranscodeFailed, match=failure):
        await converted(ffmpeg, monkeypatch, NEED, Encoder.VAAPI)

    assert len(ffmpeg.argv) == (1 if failure.startswith("No space") else 2)
