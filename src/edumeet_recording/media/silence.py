"""Silence for the gaps of Ogg Opus: its pages carry no times but their ends, so that nothing may be missing between.

RFC 7845 §4.1 asks multiplexers of live streams to fill what was lost or not sent.
"""

from collections.abc import Iterator

from edumeet_recording.media.timeline import Sample

PACKET = b"\xf8\xff\xfe"
"""20 ms of silence: fullband CELT, mono, one frame (RFC 6716 §3.1)."""
PACKET_US = 20_000


def silence_between(before: Sample, after: Sample) -> Iterator[Sample]:
    """The packets that fit between two of one track; what is left, less than one, stays empty."""
    at_us = before.pts_us + before.duration_us
    while after.pts_us - at_us >= PACKET_US:
        yield Sample(before.track, at_us, at_us, PACKET_US, True, PACKET)
        at_us += PACKET_US
