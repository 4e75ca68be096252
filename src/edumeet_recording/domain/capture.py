"""The states of a capture, one job on one node for one epoch, and of its streams."""

from enum import StrEnum, unique


@unique
class CaptureState(StrEnum):
    """In the order they are passed; the SQL enum `capture_state` equals it. `drained` and `lost` are final."""

    ASSIGNED = "assigned"
    PREPARED = "prepared"
    FORWARDING = "forwarding"
    RECEIVING = "receiving"
    DRAINED = "drained"
    LOST = "lost"


LIVE = frozenset({CaptureState.ASSIGNED, CaptureState.PREPARED, CaptureState.FORWARDING, CaptureState.RECEIVING})


@unique
class CaptureRole(StrEnum):
    """`standby` records the same peer at once on a node of another failure domain (`options.redundancy = 2`)."""

    PRIMARY = "primary"
    STANDBY = "standby"


@unique
class StreamState(StrEnum):
    """What a stream does now, as its receiver sees it."""

    WAITING = "waiting"
    """Nothing has come yet: the camera may be off."""
    RECEIVING = "receiving"
    NO_KEY_FRAME = "no_key_frame"
    """Video comes that cannot be shown yet."""
    MUTED = "muted"
    """RTP has stopped and sender reports go on: the publisher has paused it."""
    STALLED = "stalled"
    """Neither comes any more."""
    UNDECRYPTABLE = "undecryptable"
    """Packets come that were not encrypted with the announced key."""


BROKEN = frozenset({StreamState.STALLED, StreamState.UNDECRYPTABLE})
"""What somebody should know of at once."""


def event_of(before: StreamState, now: StreamState) -> str | None:
    """The event of the job where a change of one of its streams is worth one."""
    if now is before:
        return None
    if now is StreamState.STALLED:
        return "stream_stalled"
    if now is StreamState.UNDECRYPTABLE:
        return "srtp_error"
    return "stream_recovered" if before in BROKEN else None
