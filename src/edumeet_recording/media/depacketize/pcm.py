"""PCMU and PCMA (G.711) from RTP payloads (RFC 3551 §4.5.14): a byte a sample and channel."""


def pcm_duration(payload: bytes | memoryview) -> int:
    """Duration of a mono packet in samples at 8 kHz."""
    return len(payload)
