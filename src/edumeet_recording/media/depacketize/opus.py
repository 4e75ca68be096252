"""Opus packets from RTP payloads (RFC 7587): the payload is the packet, DTX packets of a byte or two among them."""

from edumeet_recording.media.errors import MediaError

_MAX_SAMPLES = 5760
_FRAME_SAMPLES = (480, 960, 1920, 2880) * 3 + (480, 960) * 2 + (120, 240, 480, 960) * 4
"""Samples at 48 kHz of one frame, by configuration: SILK, hybrid, CELT (RFC 6716 §3.1, table 2)."""


def opus_duration(payload: bytes | memoryview) -> int:
    """Duration of a packet in samples at 48 kHz, of its TOC (RFC 6716 §3.1).

    Raises `MediaError` where it is empty, or longer than 120 ms.
    """
    if not payload:
        raise MediaError("an Opus packet without TOC")
    toc = payload[0]
    frames = (1, 2, 2)[toc & 3] if toc & 3 < 3 else _coded_count(payload)
    samples = frames * _FRAME_SAMPLES[toc >> 3]
    if not 0 < samples <= _MAX_SAMPLES:
        raise MediaError("an Opus packet of no duration or of more than 120 ms")
    return samples


def _coded_count(payload: bytes | memoryview) -> int:
    if len(payload) < 2:
        raise MediaError("an Opus packet without its frame count")
    return payload[1] & 0x3F
