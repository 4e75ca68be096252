"""The states of a capture: one job on one node for one epoch."""

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
