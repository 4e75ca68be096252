"""Files of real encoders: what is told of them is what was written."""

import struct
from collections.abc import Sequence
from pathlib import Path

import av
import pytest
from tests.unit.media.depacketize.vectors import SIZE, load

from edumeet_recording.domain.codecs import Kind
from edumeet_recording.media.probe import Decoded
from edumeet_recording.node import probing as module
from edumeet_recording.node.probing import decode, probe

FRAMES = [data for _, data in load("vp8-ffmpeg").frames]
PACKETS = [data for _, data in load("opus-ffmpeg").frames]


def ivf(path: Path, frames: Sequence[bytes], times: Sequence[int]) -> Path:
    """VP8 at 25 frames a second, as a file that takes any times."""
    header = struct.pack("<4sHH4sHHIIII", b"DKIF", 0, 32, b"VP80", *SIZE, 25, 1, len(frames), 0)
    body = (struct.pack("<IQ", len(data), at) + data for data, at in zip(frames, times, strict=True))
    path.write_bytes(header + b"".join(body))
    return path


def silent_film(path: Path, seconds: int) -> Path:
    """A picture of 64 x 48 and silence."""
    with av.open(str(path), "w") as container:
        video = container.add_stream("mpeg4", rate=25)
        video.width, video.height, video.pix_fmt = 64, 48, "yuv420p"
        audio = container.add_stream("aac", rate=48000, layout="mono")
        for number in range(25 * seconds):
            picture = av.VideoFrame(64, 48, "yuv420p")
            picture.pts = number
            container.mux(video.encode(picture))
        sound = av.AudioFrame(format="fltp", layout="mono", samples=48000 * seconds)
        sound.sample_rate, sound.pts = 48000, 0
        sound.planes[0].update(bytes(4 * sound.samples))
        for stream, frame in ((audio, sound), (audio, None), (video, None)):
            container.mux(stream.encode(frame))
    return path


def test_a_file_is_told_as_it_is(tmp_path: Path) -> None:
    path = silent_film(tmp_path / "film.mp4", 1)
    heard = list[float]()

    made = probe(path, lambda packet, base: heard.append((packet.pts or 0) * base))

    video, audio = made.streams
    assert (video.kind, video.codec, video.width, video.height, video.channels) == (Kind.VIDEO, "mpeg4", 64, 48, None)
    assert (audio.kind, audio.codec, audio.width, audio.height, audio.channels) == (Kind.AUDIO, "aac", None, None, 1)
    assert (video.frames, video.start_s, video.end_s, video.monotonic) == (25, 0, 1, True)
    assert made.duration_s == pytest.approx(1, abs=0.05)
    assert len(heard) == audio.frames
    assert heard == sorted(heard)
    assert decode(path, 1) == Decoded(frames=25 + audio.frames - 1, errors=0, seconds=1)


def test_without_sound_nothing_is_heard(tmp_path: Path) -> None:
    path = ivf(tmp_path / "a.ivf", FRAMES, range(len(FRAMES)))

    made = probe(path, lambda *_: pytest.fail("there is no sound"))

    assert [stream.frames for stream in made.streams] == [len(FRAMES)]


def test_times_that_go_back_are_told(tmp_path: Path) -> None:
    times = [0, 1, 3, 2, *range(4, len(FRAMES))]

    (stream,) = probe(ivf(tmp_path / "a.ivf", FRAMES, times)).streams

    assert not stream.monotonic


def test_what_cannot_be_decoded_is_counted(tmp_path: Path) -> None:
    broken = [FRAMES[0], b"\0", *FRAMES[2:]]

    made = decode(ivf(tmp_path / "a.ivf", broken, range(len(FRAMES))), 2)

    assert made.errors == 1
    assert made.frames == len(FRAMES) - 1


def test_of_a_long_file_three_parts_are_decoded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "DECODE_WHOLE_S", 5)
    monkeypatch.setattr(module, "DECODE_PART_S", 1)
    path = silent_film(tmp_path / "film.mkv", 6)

    made = decode(path, 6)

    assert made.seconds == 3
    assert made.errors == 0
    assert 3 * (25 + 46) <= made.frames < 5 * (25 + 48)


def test_what_is_no_file_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "a.mp4"
    path.write_bytes(b"no film")
    with pytest.raises(av.FFmpegError):
        probe(path)
