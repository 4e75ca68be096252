"""Tells from a packet's first bytes whether it begins a key frame: enough to count them and to know when to ask."""

from collections.abc import Callable
from types import MappingProxyType

from edumeet_recording.domain.codecs import Codec

Look = Callable[[memoryview], bool | None]
"""True: a key frame begins here; False: another frame begins here; None: the packet does not tell."""


def _vp8(payload: memoryview) -> bool | None:
    """RFC 7741 §4.2, §4.3: S bit, partition 0, then the P bit of the payload header."""
    first = payload[0]
    if first & 0x1F != 0x10:
        return None
    at = 1
    if first & 0x80:
        extensions = payload[1]
        at = 2
        if extensions & 0x80:
            at += 2 if payload[2] & 0x80 else 1
        at += (extensions >> 6 & 1) + (1 if extensions & 0x30 else 0)
    return payload[at] & 1 == 0


def _vp9(payload: memoryview) -> bool | None:
    """RFC 9628 §4.2: B bit at the start of a frame, P bit clear where it is not predicted from another picture.

    FFmpeg, whose descriptor is a single byte, never sets P: there the frame tells, by `show_existing_frame` and
    `frame_type` of its header (VP9 bitstream specification §6.2).
    """
    first = payload[0]
    if not first & 0x08:
        return None
    if first & 0xF2:
        return first & 0x40 == 0
    return payload[1] & 0x0C == 0


def _h264(payload: memoryview) -> bool | None:
    """RFC 6184 §5.2: an IDR slice or a sequence parameter set, alone, first in a STAP-A, or at the start of a FU-A."""
    unit = payload[0] & 0x1F
    if unit == 24:
        unit = payload[3] & 0x1F
    elif unit == 28:
        if not payload[1] & 0x80:
            return None
        unit = payload[1] & 0x1F
    if unit in (5, 7):
        return True
    return False if unit == 1 else None


def _av1(payload: memoryview) -> bool | None:
    """RTP payload format for AV1 §4.4: the N bit of the aggregation header marks a new coded video sequence."""
    first = payload[0]
    return first & 0x08 != 0 if not first & 0x80 else None


LOOKS: MappingProxyType[Codec, Look] = MappingProxyType(
    {Codec.VP8: _vp8, Codec.VP9: _vp9, Codec.H264: _h264, Codec.AV1: _av1}
)


def begins_key_frame(look: Look, payload: memoryview) -> bool | None:
    """What `look` sees in an RTP payload; None where the payload is too short to tell."""
    try:
        return look(payload)
    except IndexError:
        return None
