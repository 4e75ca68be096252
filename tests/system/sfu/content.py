"""What Chromium's fake devices show and sound like, and when each of it is in a file: clocks for eye and ear.

The microphone beeps for some 40 ms twice a second. The camera shows a pie that grows from nothing to a whole turn in
0.6 s and begins anew, drawn by the time that has passed, not by frames.
"""

from dataclasses import dataclass
from pathlib import Path

import av
import numpy as np
import numpy.typing as npt

BEEP_S, TURN_S = 0.5, 0.6

_LOUD = 0.05
"""RMS, full scale 1: a beep has 0.3 and more, the rest is silent."""
_WINDOW_S = 0.005
_FALL = 60.0
"""Mean luma of the picture's middle loses more where the pie begins anew: four fifths of the scale."""


@dataclass(frozen=True, slots=True)
class Content:
    """When beeps begin and when turns do, in seconds of the file, and how long each stream was looked at."""

    beeps: tuple[float, ...]
    turns: tuple[float, ...]
    audio_s: float
    video_s: float


def find(path: Path) -> Content:
    """Decodes the file. Raises `av.FFmpegError`."""
    heard, seen = _levels(path), _lumas(path)
    loud = heard[:, 1] > _LOUD
    beeps = heard[1:, 0][loud[1:] & ~loud[:-1]]
    turns = seen[1:, 0][np.diff(seen[:, 1]) < -_FALL]
    audio_s, video_s = np.ptp(heard[:, 0]), np.ptp(seen[:, 0])
    return Content(tuple(beeps.tolist()), tuple(turns.tolist()), float(audio_s), float(video_s))


def cadence_error_ms(events: tuple[float, ...], interval_s: float) -> float:
    """How far the time between two events mostly (median) is from `interval_s`.

    Not the worst: on a busy machine the fake devices themselves stumble now and then.
    """
    return float(np.median(np.abs(np.diff(events) - interval_s))) * 1000


def _levels(path: Path) -> npt.NDArray[np.float64]:
    """Time and RMS of every 5 ms."""
    rows: list[tuple[float, float]] = []
    with av.open(str(path)) as container:
        resampler = av.AudioResampler("flt", "mono", 48000)
        for frame in container.decode(audio=0):
            for part in resampler.resample(frame):
                samples = part.to_ndarray()[0]
                size = int(part.sample_rate * _WINDOW_S)
                for start in range(0, len(samples), size):
                    level = np.sqrt(np.mean(np.square(samples[start : start + size])))
                    rows.append(((part.time or 0.0) + start / part.sample_rate, float(level)))
    return np.array(rows)


def _lumas(path: Path) -> npt.NDArray[np.float64]:
    """Time and mean luma of the middle third of every frame."""
    with av.open(str(path)) as container:
        rows = [
            (frame.time or 0.0, float(_middle(frame.to_ndarray(format="gray")).mean()))
            for frame in container.decode(video=0)
        ]
    return np.array(rows)


def _middle(picture: npt.NDArray[np.uint8]) -> npt.NDArray[np.uint8]:
    height, width = picture.shape
    return picture[height // 3 : height * 2 // 3, width // 3 : width * 2 // 3]
