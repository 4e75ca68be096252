"""Vectors of real encoders and packetizers (tests/data/rtp/make.py says how they were made), and how to play them."""

import struct
from collections.abc import Iterable
from functools import cache
from pathlib import Path
from typing import NamedTuple

from edumeet_recording.domain.codecs import Codec
from edumeet_recording.media.depacketize import Depacketizer, Frame
from edumeet_recording.media.rtp import RtpPacket, Unwrapper, parse_rtp

FOLDER = Path(__file__).parents[3] / "data" / "rtp"
NAMES = sorted(path.stem for path in FOLDER.glob("*.bin"))
AUDIO_NAMES = [name for name in NAMES if name.startswith(("opus", "pcmu"))]
VIDEO_NAMES = [name for name in NAMES if name not in AUDIO_NAMES]
SIZE = (192, 108)


class Vector(NamedTuple):
    """`frames` as the encoder gave them, each with whether it is a key frame; `packets` as they were sent."""

    codec: Codec
    frames: list[tuple[bool, bytes]]
    packets: list[bytes]


@cache
def load(name: str) -> Vector:
    """Read one vector."""
    data = (FOLDER / f"{name}.bin").read_bytes()
    vector = Vector(Codec(name.split("-", maxsplit=1)[0]), [], [])
    at = 0
    while at < len(data):
        letter, length = struct.unpack_from("<cI", data, at)
        body = data[at + 5 : at + 5 + length]
        if letter == b"P":
            vector.packets.append(body)
        else:
            vector.frames.append((letter == b"K", body))
        at += 5 + length
    return vector


def play(depacketizer: Depacketizer, packets: Iterable[bytes], lost: frozenset[int] = frozenset()) -> list[Frame]:
    """The frames of a stream whose packets come a millisecond apart, without those whose index is in `lost`."""
    frames: list[Frame] = []
    sequences, timestamps = Unwrapper(16), Unwrapper(32)
    for index, data in enumerate(packets):
        packet = parse_rtp(data)
        sequence, timestamp = sequences.unwrap(packet.sequence), timestamps.unwrap(packet.timestamp)
        if index not in lost:
            frames += depacketizer.push(sequence, timestamp, index * 1_000_000, packet)
    return frames + depacketizer.flush()


def packet(payload: bytes, *, marker: bool = False) -> RtpPacket:
    """A packet of which only payload and marker matter."""
    return RtpPacket(96, marker, 0, 0, 0, memoryview(payload))
