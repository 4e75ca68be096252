import numpy as np
import pytest

from edumeet_recording.sim import content
from edumeet_recording.sim.content import Shape

SHAPES = [Shape(), Shape(160, 90, 15), Shape(180, 320, 30), Shape(1280, 720, 25)]


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("number", [0, 1, 24, 25, 77_777, (1 << 20) - 1])
def test_a_frame_tells_its_number(shape: Shape, number: int) -> None:
    picture = content.frame(number, shape, index=2)

    assert content.read_number(picture[: shape.height]) == number


def test_a_smeared_number_is_not_legible() -> None:
    picture = content.frame(1234, Shape(), index=0)[:180]
    picture[:, 120:200] = 16

    assert content.read_number(picture) is None


def test_a_flash_begins_with_each_second_and_lasts_a_tenth() -> None:
    bright = [number for number in range(75) if content.frame(number, Shape(), 0)[90, 160] == content.BRIGHT]

    assert bright == [0, 1, 2, 25, 26, 27, 50, 51, 52]


def test_a_beep_begins_with_each_second_and_lasts_a_tenth() -> None:
    samples = content.beep(0, 2 * 48000, index=0, rate=48000)

    loud = np.flatnonzero(np.abs(samples.astype(int)) > 1000)
    first, second = loud[loud < 24000], loud[loud > 24000]
    assert first[0] < 48
    assert 4700 < first[-1] < 4800
    assert list(second - 48000) == list(first)


def test_samples_do_not_depend_on_how_they_are_cut() -> None:
    whole = content.beep(47000, 3000, index=1, rate=48000)

    parts = [content.beep(47000 + at, 960, index=1, rate=48000) for at in range(0, 2880, 960)]
    assert np.array_equal(np.concatenate(parts), whole[:2880])


def test_frames_of_one_peer_differ_and_peers_differ() -> None:
    frames = {content.frame(number, Shape(), index).tobytes() for number in range(50) for index in range(content.PEERS)}

    assert len(frames) == 50 * content.PEERS
