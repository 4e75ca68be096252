"""What a simulated peer shows and says: a flash and a beep a second, and a number in every picture; pure arithmetic.

At media time k (whole seconds) the picture turns bright and the tone sounds, both for `EVENT_S`. Pitch and colour tell
the peer. Every frame is a function of its number, so that a decoded frame can be compared with what was sent.
"""

import itertools
import math
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

EVENT_S = 0.1
"""Length of a beep and of a flash, seconds."""

DARK, BRIGHT = 48, 200
"""Luma between flashes and in them."""

PEERS = 6
"""How many peers can be told apart."""

_CHROMA_RADIUS = 56
_NUMBER_BITS, _CHECK_BITS = 20, 4
_BLOCKS = _NUMBER_BITS + _CHECK_BITS
_STRIP = 8
"""The number stands in the lowest 1/8 of the picture."""

_BLACK, _WHITE = 16, 235
_AMPLITUDE = 0.5
_RAMP_S = 0.002

Picture = npt.NDArray[np.uint8]
Samples = npt.NDArray[np.int16]


@dataclass(frozen=True, slots=True)
class Shape:
    """Size in pixels (both even) and frames a second of a video."""

    width: int = 320
    height: int = 180
    fps: int = 25


def tone_hz(index: int) -> float:
    """Pitch of peer `index`."""
    return 440.0 * (index % PEERS + 1)


def chroma(index: int) -> tuple[int, int]:
    """U and V of peer `index`: six hues of one saturation."""
    angle = 2 * math.pi * (index % PEERS) / PEERS
    return 128 + round(_CHROMA_RADIUS * math.cos(angle)), 128 + round(_CHROMA_RADIUS * math.sin(angle))


def flashes(number: int, fps: int) -> bool:
    """True where frame `number` belongs to a flash."""
    return number % fps < EVENT_S * fps


def frame(number: int, shape: Shape, index: int) -> Picture:
    """Frame `number` of peer `index` as planar YUV 4:2:0, an array of height·3/2 rows of width."""
    height, width = shape.height, shape.width
    picture = np.empty((height * 3 // 2, width), np.uint8)
    luma = picture[:height]
    if flashes(number, shape.fps):
        luma[:] = BRIGHT
    else:
        luma[:] = np.linspace(DARK, DARK + 16, height, dtype=np.uint8)[:, None]
        side = height // 6
        left = number * 4 % (width - side)
        luma[side : 2 * side, left : left + side] = DARK + 40
    luma[height - height // _STRIP :] = _strip(number, width)
    planes = picture[height:].reshape(2, -1)
    planes[0], planes[1] = chroma(index)
    return picture


def read_number(luma: Picture) -> int | None:
    """The number of a decoded frame, or None where it is not legible."""
    height, width = luma.shape
    strip = luma[height - height // _STRIP :]
    rows = strip[strip.shape[0] // 4 : max(1, strip.shape[0] * 3 // 4)]
    edges = np.arange(_BLOCKS + 1) * width // _BLOCKS
    value = 0
    for left, right in itertools.pairwise(edges):
        quarter = (right - left) // 4
        value = value << 1 | int(rows[:, left + quarter : right - quarter].mean() > (_BLACK + _WHITE) / 2)
    number, check = value >> _CHECK_BITS, value & ((1 << _CHECK_BITS) - 1)
    return number if _check(number) == check else None


def beep(first_sample: int, count: int, index: int, rate: int) -> Samples:
    """`count` mono samples from `first_sample` on, at `rate` Hz."""
    at = np.arange(first_sample, first_sample + count) % rate / rate
    envelope = np.clip(np.minimum(at, EVENT_S - at) / _RAMP_S, 0, 1)
    return (32767 * _AMPLITUDE * envelope * np.sin(2 * np.pi * tone_hz(index) * at)).astype(np.int16)


def _strip(number: int, width: int) -> Picture:
    number &= (1 << _NUMBER_BITS) - 1
    value = number << _CHECK_BITS | _check(number)
    bits = value >> np.arange(_BLOCKS - 1, -1, -1) & 1
    return np.where(bits, _WHITE, _BLACK).astype(np.uint8)[np.arange(width) * _BLOCKS // width]


def _check(number: int) -> int:
    return (number * 7 + (number >> 4) * 5 + (number >> 8) * 3 + (number >> 12) + (number >> 16) + 9) & 15
