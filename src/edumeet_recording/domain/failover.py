"""What the loss of a capture means for its job, given what else records it; pure."""

from collections.abc import Collection
from enum import StrEnum, unique

from edumeet_recording.domain.capture import CaptureState
from edumeet_recording.domain.job import JobStatus


@unique
class Consequence(StrEnum):
    """What follows from a loss."""

    NONE = "none"
    """The job was over, or somebody else has taken over already."""
    UNPLACED = "unplaced"
    """Nothing was recorded yet and nobody else is at it: back to the queue."""
    INTERRUPTED = "interrupted"
    """Recorded media has no successor that receives: another node must take over."""
    TRY_AGAIN = "try_again"
    """The successor of an interrupted recording was lost as well, before it received anything."""


def after_loss(status: JobStatus, others: Collection[CaptureState]) -> Consequence:
    """The consequence for a job in `status`; `others`: the states of its other captures that are live and wanted."""
    match status:
        case JobStatus.INITIALIZING if not others:
            return Consequence.UNPLACED
        case JobStatus.RECORDING if CaptureState.RECEIVING not in others:
            return Consequence.INTERRUPTED
        case JobStatus.INTERRUPTED if not others:
            return Consequence.TRY_AGAIN
        case _:
            return Consequence.NONE
