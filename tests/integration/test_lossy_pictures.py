"""Whatever is lost of real encoders' packets: each picture that comes out is, bit for bit, what it is without loss."""

import random
import zlib
from collections.abc import Sequence, Set

import av
import pytest

from edumeet_recording.domain.codecs import CLOCK_RATE_HZ, Codec
from edumeet_recording.media.depacketize import Frame, depacketizer_for
from edumeet_recording.media.reorder import Ordered, Reorderer
from edumeet_recording.media.rtp import RtpPacket
from edumeet_recording.sim.content import Shape
from edumeet_recording.sim.encode import Piece, VideoEncoder

DECODERS = {Codec.VP8: "vp8", Codec.VP9: "vp9", Codec.H264: "h264", Codec.AV1: "libdav1d"}
FRAMES = 100
RUNS = 12


def encoded(codec: Codec, chance: random.Random) -> list[Piece]:
    """A few seconds in frames of one to many packets, key frames where they fall due and at random."""
    encoder = VideoEncoder(
        codec, shape=Shape(320, 180, 25), index=0, bit_rate=400_000, key_frame_interval_s=1, first_timestamp=0
    )
    pieces = [
        piece for number in range(FRAMES) for piece in encoder.encode(number, force_key=chance.random() < 0.02).pieces
    ]
    encoder.close()
    return pieces


def rebuilt(codec: Codec, pieces: Sequence[Piece], lost: Set[int]) -> list[Frame]:
    depacketizer, reorderer = depacketizer_for(codec), Reorderer(CLOCK_RATE_HZ[codec])
    ready: list[Ordered] = []
    for number, piece in enumerate(pieces):
        if number not in lost:
            packet = RtpPacket(96, piece.marker, number, piece.timestamp, 1, memoryview(piece.payload))
            ready += reorderer.push(Ordered(number, piece.timestamp, piece.timestamp * 11_111, packet))
    ready += reorderer.flush()
    frames = [frame for item in ready for frame in depacketizer.push(*item)]
    return frames + depacketizer.flush()


def shown(codec: Codec, frames: Sequence[Frame]) -> dict[int, int]:
    """The checksum of each decoded picture by its RTP timestamp. Raises where one does not decode."""
    decoder = av.CodecContext.create(DECODERS[codec], "r")
    pictures: dict[int, int] = {}
    for frame in (*frames, None):
        packet = None
        if frame is not None:
            packet = av.Packet(frame.data)
            packet.pts = packet.dts = frame.timestamp
        for picture in decoder.decode(packet):
            pictures[picture.pts] = zlib.crc32(picture.to_ndarray().tobytes())
    return pictures


@pytest.mark.parametrize("codec", DECODERS)
def test_no_picture_is_smeared(codec: Codec) -> None:
    chance = random.Random(f"loss of {codec}")
    pieces = encoded(codec, chance)
    whole = shown(codec, rebuilt(codec, pieces, frozenset()))
    assert len(whole) == FRAMES
    left_out = 0

    for _ in range(RUNS):
        share, burst = chance.choice((0.005, 0.02, 0.1)), chance.randrange(len(pieces))
        lost = {number for number in range(len(pieces)) if chance.random() < share}
        lost |= set(range(burst, burst + chance.choice((0, 0, 20))))
        frames = rebuilt(codec, pieces, lost)
        pictures = shown(codec, frames)

        assert len(pictures) == len(frames) > 0
        assert pictures.items() <= whole.items()
        left_out += FRAMES - len(frames)
    assert left_out
