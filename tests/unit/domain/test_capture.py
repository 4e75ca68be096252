"""A capture's states only go forwards."""

import pytest

from edumeet_recording.domain.capture import LIVE, CaptureState, advances


@pytest.mark.parametrize("now", CaptureState)
@pytest.mark.parametrize("to", CaptureState)
def test_only_forwards_and_never_out_of_a_final_state(now: CaptureState, to: CaptureState) -> None:
    order = list(CaptureState)
    assert advances(now, to) == (now in LIVE and order.index(to) > order.index(now))
