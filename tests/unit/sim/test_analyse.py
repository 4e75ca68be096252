from collections.abc import Callable
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest

from edumeet_recording.sim import content
from edumeet_recording.sim.analyse import ContentReport, analyse, cadence_p95_ms, presence
from edumeet_recording.sim.content import Picture, Shape

RATE = 48000
SECONDS = 4
FAST = {"libvpx": {"deadline": "realtime", "cpu-used": "8"}, "libx264": {"preset": "ultrafast"}}


def _unchanged(_number: int, picture: Picture) -> Picture:
    return picture


def _write(
    path: Path,
    *,
    video: str | None = "libvpx",
    audio: str | None = "libopus",
    layout: str = "stereo",
    index: int = 0,
    audio_shift_s: float = 0.0,
    bit_rate: int = 300_000,
    keep: Callable[[float], bool] = lambda _at: True,
    change: Callable[[int, Picture], Picture] = _unchanged,
) -> None:
    """A file made straight from the generator, `audio_shift_s` of silence before the sound."""
    shape = Shape()
    with av.open(str(path), "w") as container:
        ears = container.add_stream(audio, rate=RATE, layout=layout) if audio else None
        eyes = container.add_stream(video, rate=shape.fps, options=FAST[video]) if video else None
        if eyes is not None:
            rows, eyes.width = change(0, content.frame(0, shape, index)).shape
            eyes.height = rows * 2 // 3
            eyes.pix_fmt, eyes.bit_rate, eyes.codec_context.thread_count = "yuv420p", bit_rate, 1
        for block in range(SECONDS * 50):
            if ears is not None and keep(block / 50):
                samples = content.beep(block * 960, 960, index, RATE)
                interleaved = np.repeat(samples, 2) if layout == "stereo" else samples
                sound = av.AudioFrame.from_ndarray(interleaved[None], format="s16", layout=layout)
                sound.sample_rate, sound.time_base = RATE, Fraction(1, RATE)
                sound.pts = block * 960 + int(audio_shift_s * RATE)
                container.mux(ears.encode(sound))
            if eyes is not None and block % 2 == 0 and keep(block / 50):
                picture = change(block // 2, content.frame(block // 2, shape, index))
                image = av.VideoFrame.from_ndarray(picture, format="yuv420p")
                image.time_base, image.pts = Fraction(1, shape.fps), block // 2
                container.mux(eyes.encode(image))
        for stream in (ears, eyes):
            if stream is not None:
                container.mux(stream.encode(None))


def _both(report: ContentReport) -> tuple[tuple[float, ...], tuple[float, ...]]:
    assert report.audio is not None
    assert report.video is not None
    return report.audio.beeps, report.video.flashes


@pytest.mark.parametrize(
    ("video", "audio", "container"),
    [("libvpx", "libopus", "webm"), ("libx264", "libopus", "mp4"), ("libx264", "aac", "mkv")],
)
def test_finds_every_event_where_it_is(tmp_path: Path, video: str, audio: str, container: str) -> None:
    path = tmp_path / f"known.{container}"
    _write(path, video=video, audio=audio, index=3)

    report = analyse(path)

    beeps, flashes = _both(report)
    assert beeps == pytest.approx(range(1, SECONDS), abs=0.025)
    assert flashes == pytest.approx(range(1, SECONDS), abs=0.025)
    assert report.offset_p95_ms is not None
    assert report.offset_p95_ms < 25
    assert presence(beeps, SECONDS - 1) == presence(flashes, SECONDS - 1) == 1.0
    assert cadence_p95_ms(beeps) < 25
    assert cadence_p95_ms(flashes) < 25
    assert report.duration_s == pytest.approx(SECONDS, abs=0.1)
    assert report.decode_errors == report.disordered == 0


def test_tells_the_peer_the_codecs_and_every_frame(tmp_path: Path) -> None:
    for index in (0, 1, content.PEERS - 1):
        path = tmp_path / f"peer-{index}.mkv"
        _write(path, video="libx264", index=index)

        report = analyse(path)

        assert report.audio is not None
        assert report.video is not None
        assert (report.audio.tone_index, report.video.colour_index) == (index, index)
        assert (report.audio.codec, report.audio.channels, report.audio.rate) == ("opus", 2, 48000)
        assert (report.video.codec, report.video.sizes, report.video.frames) == ("h264", ((320, 180),), SECONDS * 25)
        assert [number for number, _at in report.video.numbers] == list(range(SECONDS * 25))


@pytest.mark.parametrize("shift_s", [0.2, 0.08])
def test_reports_a_shift(tmp_path: Path, shift_s: float) -> None:
    path = tmp_path / "shifted.mkv"
    _write(path, audio_shift_s=shift_s)

    report = analyse(path)

    assert report.offset_median_ms == pytest.approx(shift_s * 1000, abs=15)
    assert report.offset_p95_ms == pytest.approx(shift_s * 1000, abs=15)


def test_what_is_missing_is_not_found(tmp_path: Path) -> None:
    path = tmp_path / "hole.mkv"
    _write(path, audio="pcm_s16le", layout="mono", keep=lambda at: not 0.5 < at < 1.5)

    report = analyse(path)

    beeps, flashes = _both(report)
    assert beeps == pytest.approx([2, 3], abs=0.025)
    assert flashes == pytest.approx([2, 3], abs=0.025)
    assert presence(beeps, SECONDS - 1) == pytest.approx(2 / 3)
    assert cadence_p95_ms((0.0, *beeps)) < 25
    assert cadence_p95_ms((0.6, *beeps)) > 300


def test_letterboxed_and_starved_of_bits(tmp_path: Path) -> None:
    def letterbox(_number: int, picture: Picture) -> Picture:
        canvas = np.full((540, 320), 16, np.uint8)
        canvas[90:270] = picture[:180]
        canvas[360:] = 128
        return canvas

    path = tmp_path / "boxed.webm"
    _write(path, change=letterbox, bit_rate=40_000)

    _beeps, flashes = _both(analyse(path))

    assert flashes == pytest.approx(range(1, SECONDS), abs=0.045)


def test_one_kind_only(tmp_path: Path) -> None:
    _write(tmp_path / "audio.mkv", video=None)
    _write(tmp_path / "video.mkv", audio=None)

    heard, seen = analyse(tmp_path / "audio.mkv"), analyse(tmp_path / "video.mkv")

    assert heard.video is None
    assert heard.offsets_s == ()
    assert heard.offset_p95_ms is None
    assert seen.audio is None
    assert seen.offset_median_ms is None
    assert cadence_p95_ms(()) == 0.0


def test_silence_and_darkness_hold_no_events(tmp_path: Path) -> None:
    path = tmp_path / "between.mkv"
    _write(path, keep=lambda at: at % 1 > 0.3)

    report = analyse(path)

    assert _both(report) == ((), ())
    assert report.audio is not None
    assert report.audio.tone_index is None


def _video_packets(path: Path) -> list[bytes]:
    with av.open(str(path)) as container:
        return [bytes(packet) for packet in container.demux(video=0) if packet.size]


def test_packets_that_do_not_decode_are_counted(tmp_path: Path) -> None:
    path = tmp_path / "damaged.mkv"
    _write(path, audio=None)
    packets = _video_packets(path)
    damaged = path.read_bytes()
    for packet in packets[40:43]:
        damaged = damaged.replace(packet, b"\xff" * len(packet))
    path.write_bytes(damaged)

    report = analyse(path)

    assert report.decode_errors == 3
    assert report.video is not None
    assert report.video.frames == SECONDS * 25 - 3


def test_timestamps_that_go_back_are_counted(tmp_path: Path) -> None:
    path = tmp_path / "disordered.mkv"
    _write(path, audio=None)
    disordered = bytearray(path.read_bytes())
    # a SimpleBlock's time in its cluster, 16 bits and then the flags, stand before the frame (RFC 9559 §10.2)
    time_at = disordered.index(_video_packets(path)[20]) - 3
    disordered[time_at : time_at + 2] = bytes(2)
    path.write_bytes(disordered)

    assert analyse(path).disordered == 1


def test_an_event_that_is_under_way_at_the_start_or_after_a_hole_is_not_counted(tmp_path: Path) -> None:
    path = tmp_path / "late.mkv"
    _write(path, keep=lambda at: at > 0.05 and not 1.5 < at < 2.05)

    beeps, flashes = _both(analyse(path))

    assert beeps == pytest.approx([1, 3], abs=0.025)
    assert flashes == pytest.approx([1, 3], abs=0.025)
