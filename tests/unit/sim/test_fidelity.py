from collections.abc import Callable
from fractions import Fraction
from pathlib import Path

import av
import pytest

from edumeet_recording.sim import content
from edumeet_recording.sim.content import Picture, Shape
from edumeet_recording.sim.fidelity import fidelity

SHAPE = Shape(160, 90, 25)


def _write(path: Path, change: Callable[[int, Picture], None] = lambda _number, _picture: None) -> None:
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", rate=SHAPE.fps, options={"preset": "ultrafast", "qp": "20"})
        stream.width, stream.height, stream.pix_fmt = SHAPE.width, SHAPE.height, "yuv420p"
        for number in range(30):
            picture = content.frame(number, SHAPE, 2)
            change(number, picture)
            image = av.VideoFrame.from_ndarray(picture, format="yuv420p")
            image.time_base, image.pts = Fraction(1, SHAPE.fps), number
            container.mux(stream.encode(image))
        container.mux(stream.encode(None))


def test_what_was_sent_is_true(tmp_path: Path) -> None:
    path = tmp_path / "true.mkv"
    _write(path)

    found = fidelity(path, SHAPE.fps, 2)

    assert (found.shown, found.unreadable, len(found.psnr_db)) == (30, 0, 30)
    assert found.worst_db > 35


def test_one_smeared_picture_is_seen(tmp_path: Path) -> None:
    def smear(number: int, picture: Picture) -> None:
        if number == 17:
            picture[20:50, 40:120] = 160

    path = tmp_path / "smeared.mkv"
    _write(path, smear)

    found = fidelity(path, SHAPE.fps, 2)

    assert found.worst_db < 20
    assert sorted(found.psnr_db)[1] > 30


def test_the_picture_of_another_time_is_not_true(tmp_path: Path) -> None:
    def late(number: int, picture: Picture) -> None:
        strip = SHAPE.height - SHAPE.height // 8
        if number == 25:
            picture[:strip] = content.frame(24, SHAPE, 2)[:strip]

    path = tmp_path / "late.mkv"
    _write(path, late)

    assert fidelity(path, SHAPE.fps, 2).worst_db < 20


@pytest.mark.parametrize("value", [16, 235])
def test_a_number_that_is_gone_is_no_true_picture(tmp_path: Path, value: int) -> None:
    def hide(number: int, picture: Picture) -> None:
        if number == 3:
            picture[SHAPE.height * 7 // 8 : SHAPE.height] = value

    path = tmp_path / "hidden.mkv"
    _write(path, hide)

    found = fidelity(path, SHAPE.fps, 2)

    assert found.unreadable == 1
    assert found.worst_db == 0
