"""Captures that hold the same packets, laid on one scale."""

import random

from edumeet_recording.domain.codecs import Codec
from edumeet_recording.media.clock import Shift
from edumeet_recording.media.merge import Fingerprints
from edumeet_recording.media.rtp import build_rtp
from edumeet_recording.node.demux import Source
from edumeet_recording.node.twins import Twins

MS = 1_000_000


def fingerprints(
    seed: int, packets: range, *, sequence: int = 0, timestamp: int = 0, ahead_ms: int = 0
) -> Fingerprints:
    """Of some packets of the sender `seed`, as one capture numbers them."""
    prints = Fingerprints(Codec.H264)
    for number in packets:
        payload = random.Random(f"{seed}/{number}").randbytes(100)
        data = build_rtp(payload_type=96, sequence=0, timestamp=0, ssrc=1, payload=payload)
        prints.see(number + sequence, 3000 * number + timestamp, (10 * number + ahead_ms) * MS, memoryview(data))
    return prints


def test_captures_that_overlap_one_after_the_other_hang_together() -> None:
    """The third capture shares nothing with the first: the second leads there."""
    sources = [Source(number, 1, 5) for number in range(4)]
    video = dict(
        zip(
            sources,
            (
                fingerprints(1, range(800)),
                fingerprints(1, range(400, 1600), sequence=50, timestamp=900, ahead_ms=70),
                fingerprints(1, range(1200, 2000), sequence=-9, timestamp=-900, ahead_ms=-2000),
                fingerprints(2, range(2000)),
            ),
            strict=True,
        )
    )

    twins = Twins.among([video])

    assert twins.groups == [[0, 1, 2]]
    assert [twins.shift(source) for source in sources] == [
        Shift(0, 0),
        Shift(-900, 70 * MS),
        Shift(900, -2000 * MS),
        Shift(0, 0),
    ]
    (offset,) = twins.offsets[sources[0]][sources[1]]
    assert offset.sequence == -50


def test_the_clocks_of_nodes_are_compared_by_the_track_that_matches_best() -> None:
    audio = {Source(0, 0, 1): fingerprints(3, range(100)), Source(1, 0, 1): fingerprints(3, range(100), ahead_ms=31)}
    video = {Source(0, 1, 2): fingerprints(4, range(900)), Source(1, 1, 2): fingerprints(4, range(900), ahead_ms=30)}

    for tracks in ([audio, video], [video, audio]):
        assert Twins.among(tracks).ahead_ns == {0: 0, 1: 30 * MS}


def test_one_capture_has_no_twin() -> None:
    assert Twins.among([{Source(0, 0, 1): fingerprints(3, range(100))}]) == Twins()
