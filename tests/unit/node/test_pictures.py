"""Posters, thumbnails and waveforms of files made here: bounded in number, true in time."""

from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest

from edumeet_recording.node import pictures
from edumeet_recording.node.pictures import Stretch, Waveform, poster, thumbnails
from edumeet_recording.node.probing import probe


def film(path: Path, seconds: int, *, size: tuple[int, int] = (64, 64), key_every_s: int = 10) -> Stretch:
    """A frame a second, each brighter than the last."""
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", rate=1, options={"preset": "ultrafast", "g": str(key_every_s)})
        stream.width, stream.height, stream.pix_fmt = *size, "yuv420p"
        for second in range(seconds):
            luma = np.full((size[1] * 3 // 2, size[0]), 128, np.uint8)
            luma[: size[1]] = 16 + second % 200
            frame = av.VideoFrame.from_ndarray(luma, format="yuv420p")
            frame.pts, frame.time_base = second, Fraction(1)
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    return Stretch(path, 0.0, seconds)


def sound(path: Path, seconds: int) -> Stretch:
    """Silence, but for a second of noise in every ten."""
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libopus", rate=48000)
        for block in range(seconds * 50):
            samples = np.full((1, 1920), 30000 if block // 50 % 10 == 3 else 0, np.int16)
            samples[:, 48::96] *= -1
            samples[:, 0::8] *= -1
            frame = av.AudioFrame.from_ndarray(samples, format="s16", layout="stereo")
            frame.sample_rate, frame.time_base, frame.pts = 48000, Fraction(1, 48000), block * 960
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    return Stretch(path, 0.0, seconds)


def waveform(stretch: Stretch) -> dict[str, Any] | None:
    wave = Waveform(stretch.duration_s)
    wave.begin(stretch.start_s)
    probe(stretch.path, wave.hear)
    return wave.document()


def test_a_picture_a_minute_no_larger_than_needed(tmp_path: Path) -> None:
    made = thumbnails([film(tmp_path / "film.mp4", 130, size=(1280, 720))])

    assert [round(one.at_s) for one in made] == [0, 60, 120]
    assert {(one.width, one.height) for one in made} == {(640, 360)}
    assert all(one.data.startswith(b"\xff\xd8") and len(one.data) < 60_000 for one in made)


def test_small_and_upright_pictures_keep_their_shape(tmp_path: Path) -> None:
    upright = poster([film(tmp_path / "upright.mp4", 2, size=(360, 1280))])
    small = poster([film(tmp_path / "small.mp4", 2, size=(160, 90))])

    assert upright is not None
    assert (upright.width, upright.height) == (180, 640)
    assert small is not None
    assert (small.width, small.height) == (160, 90)


def test_the_count_is_bounded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pictures, "EVERY_S", 1.0)
    monkeypatch.setattr(pictures, "MAX_THUMBNAILS", 5)

    assert len(thumbnails([film(tmp_path / "film.mp4", 60, key_every_s=1)])) == 5


def test_one_key_frame_is_one_picture(tmp_path: Path) -> None:
    assert len(thumbnails([film(tmp_path / "film.mp4", 150, key_every_s=1000)])) == 1


def test_parts_are_one_recording(tmp_path: Path) -> None:
    first, second = film(tmp_path / "1.mp4", 100), film(tmp_path / "2.mp4", 100)

    made = thumbnails([first, Stretch(second.path, 100.0, 100.0)])

    assert [round(one.at_s, -1) for one in made] == [0, 60, 120, 180]


@pytest.mark.parametrize("seconds", [20, 90])
def test_the_waveform_is_loud_where_the_sound_is(tmp_path: Path, seconds: int) -> None:
    wave = waveform(sound(tmp_path / "sound.webm", seconds))

    assert wave is not None
    data = wave["data"]
    assert len(data) == 2 * wave["length"]
    assert wave["length"] == pytest.approx(seconds * 10, abs=2)
    for second in range(seconds - 1):
        inner = data[20 * second + 6 : 20 * second + 16]
        assert (min(inner) < -40 and max(inner) > 40) is (second % 10 == 3), second


def test_a_long_waveform_has_no_more_pixels(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pictures, "MAX_PIXELS", 30)

    wave = waveform(sound(tmp_path / "sound.webm", 20))

    assert wave is not None
    assert wave["samples_per_pixel"] == 7 * pictures.PIXEL_SAMPLES
    assert wave["length"] == 29


def test_nothing_to_see_or_hear(tmp_path: Path) -> None:
    heard, seen = sound(tmp_path / "sound.webm", 2), film(tmp_path / "film.mp4", 2)

    assert poster([heard]) is None
    assert thumbnails([heard]) == []
    assert waveform(seen) is None
