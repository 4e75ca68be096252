"""When a node that keeps failing recordings gets no new ones for a while, and for how long; pure."""

from dataclasses import dataclass
from datetime import datetime, timedelta

ONE_FAILURE_S = 5.0
"""What fails within this of a failure belongs to it: a node that dies takes all its captures with it, and dies once."""
MOST_DOUBLINGS = 6


@dataclass(frozen=True, slots=True)
class QuarantineLimits:
    """`failures` within `window_s` seconds put a node aside for `back_off_s`, and twice as long each time after."""

    failures: int
    window_s: float
    back_off_s: float


@dataclass(frozen=True, slots=True)
class Conduct:
    """How a node has done: its latest failures, how often it was put aside, and until when it is."""

    failures: tuple[datetime, ...] = ()
    quarantines: int = 0
    quarantined_until: datetime | None = None


def after_failure(conduct: Conduct, now: datetime, limits: QuarantineLimits) -> Conduct:
    """The conduct of a node that has failed a recording `now`.

    Who was put aside is put aside again by its next failure; who has done well for a whole window after it was let
    back begins anew.
    """
    window = timedelta(seconds=limits.window_s)
    recent = tuple(at for at in conduct.failures if now - at <= window)
    if recent and now - recent[-1] <= timedelta(seconds=ONE_FAILURE_S):
        return conduct
    until = conduct.quarantined_until
    on_probation = until is not None and now - until <= window
    quarantines = conduct.quarantines if on_probation else 0
    failures = (*recent, now)[-limits.failures :]
    if len(failures) < limits.failures and not on_probation:
        return Conduct(failures, quarantines, None)
    doubled = timedelta(seconds=limits.back_off_s * 2 ** min(quarantines, MOST_DOUBLINGS))
    return Conduct(failures, quarantines + 1, max(now + doubled, until or now))
