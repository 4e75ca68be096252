"""How true the pictures of a file are: each is compared with the one that was sent under the number it shows."""

import math
from dataclasses import dataclass
from pathlib import Path

import av
import numpy as np
import numpy.typing as npt

from edumeet_recording.sim import content
from edumeet_recording.sim.content import Shape


@dataclass(frozen=True, slots=True)
class Fidelity:
    """Of all pictures that a decoder shows: `unreadable` show no legible number, `psnr_db` of luma, worst first."""

    shown: int
    unreadable: int
    psnr_db: tuple[float, ...]

    @property
    def worst_db(self) -> float:
        """Of the picture that is least like the one sent; 0 where one shows no number at all."""
        return self.psnr_db[0] if self.psnr_db and not self.unreadable else 0.0


def fidelity(path: Path, fps: int, index: int) -> Fidelity:
    """Compares the first video stream with what peer `index` sent at `fps`, each picture in its own size.

    Raises `av.error.FFmpegError` where a picture does not decode.
    """
    unreadable = 0
    found: list[float] = []
    with av.open(str(path)) as container:
        for frame in container.decode(video=0):
            plane = frame.reformat(format="yuv420p").planes[0]
            luma = np.frombuffer(memoryview(plane), np.uint8).reshape(plane.height, plane.line_size)[:, : plane.width]
            number = content.read_number(luma)
            if number is None:
                unreadable += 1
                continue
            sent = content.frame(number, Shape(frame.width, frame.height, fps), index)[: frame.height]
            found.append(_psnr_db(luma, sent))
    return Fidelity(len(found) + unreadable, unreadable, tuple(sorted(found)))


def _psnr_db(shown: npt.NDArray[np.uint8], sent: npt.NDArray[np.uint8]) -> float:
    error = float(np.mean(np.square(shown.astype(np.float64) - sent)))
    return 10 * math.log10(255**2 / error) if error else math.inf
