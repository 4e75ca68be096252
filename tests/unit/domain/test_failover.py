"""A loss matters as much as what is left."""

import pytest

from edumeet_recording.domain.capture import CaptureState
from edumeet_recording.domain.failover import Consequence, after_loss
from edumeet_recording.domain.job import FINAL, JobStatus

PREPARED, RECEIVING = CaptureState.PREPARED, CaptureState.RECEIVING


@pytest.mark.parametrize(
    ("status", "others", "consequence"),
    [
        (JobStatus.INITIALIZING, [], Consequence.UNPLACED),
        (JobStatus.INITIALIZING, [PREPARED], Consequence.NONE),
        (JobStatus.RECORDING, [], Consequence.INTERRUPTED),
        (JobStatus.RECORDING, [PREPARED], Consequence.INTERRUPTED),
        (JobStatus.RECORDING, [PREPARED, RECEIVING], Consequence.NONE),
        (JobStatus.INTERRUPTED, [], Consequence.TRY_AGAIN),
        (JobStatus.INTERRUPTED, [PREPARED], Consequence.NONE),
        *((status, [], Consequence.NONE) for status in sorted({*FINAL, JobStatus.STOPPING, JobStatus.PROCESSING})),
    ],
)
def test_consequences(status: JobStatus, others: list[CaptureState], consequence: Consequence) -> None:
    assert after_loss(status, others) is consequence
