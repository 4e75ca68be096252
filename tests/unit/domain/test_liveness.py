"""A refused door is believed at once, silence only after its time."""

import pytest

from edumeet_recording.domain.liveness import Probe, Verdict, judge


@pytest.mark.parametrize(
    ("silence_s", "probes", "verdict"),
    [
        (0.2, [Probe.REFUSED, Probe.REFUSED], Verdict.DEAD),
        (0.2, [Probe.REFUSED], Verdict.SUSPECT),
        (0.2, [Probe.REFUSED, Probe.ANSWERED], Verdict.SUSPECT),
        (0.2, [Probe.UNCLEAR, Probe.UNCLEAR], Verdict.SUSPECT),
        (2.9, [Probe.ANSWERED, Probe.ANSWERED], Verdict.SUSPECT),
        (3.0, [Probe.ANSWERED, Probe.ANSWERED], Verdict.DEAD),
        (3.0, [], Verdict.DEAD),
    ],
)
def test_verdicts(silence_s: float, probes: list[Probe], verdict: Verdict) -> None:
    assert judge(silence_s, 3.0, probes) is verdict
