"""What a stream does now, by when it was last heard; pure."""

from edumeet_recording.domain.capture import StreamState
from edumeet_recording.domain.codecs import Kind

QUIET_NS = 3_000_000_000
"""Longer than DTX or a still screen are silent."""
PATIENCE_NS = {Kind.AUDIO: 12_000_000_000, Kind.VIDEO: 5_000_000_000}
"""Two intervals of the sender reports and some: mediasoup reports audio every 5 s, video every 1 to 1.5 s."""
AFTER_NS = 500_000_000
"""A report that came so much later than the last packet tells that the packets have stopped."""
UNDECRYPTABLE_PACKETS = 50
"""So many in a row of another key are no stray."""


def stream_state(
    now_ns: int, kind: Kind, *, last_ns: int, last_sr_ns: int, key_frames: int, undecryptable: int
) -> StreamState:
    """The state at `now_ns`. `last_ns`, `last_sr_ns`: arrival of the last packet and sender report, 0 for never.

    `undecryptable`: packets of another key since the last that was right.
    """
    if undecryptable >= UNDECRYPTABLE_PACKETS:
        return StreamState.UNDECRYPTABLE
    if not last_ns:
        return StreamState.WAITING
    if now_ns - last_ns >= QUIET_NS:
        if now_ns - max(last_ns, last_sr_ns) >= PATIENCE_NS[kind]:
            return StreamState.STALLED
        if last_sr_ns - last_ns >= AFTER_NS:
            return StreamState.MUTED
    if kind is Kind.VIDEO and not key_frames:
        return StreamState.NO_KEY_FRAME
    return StreamState.RECEIVING
