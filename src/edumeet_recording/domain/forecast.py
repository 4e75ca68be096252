"""How much will be recorded soon: from the last minutes' trend, the peers in the rooms, and earlier hours; pure."""

from bisect import bisect_left
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum, unique
from itertools import accumulate, pairwise
from statistics import correlation, linear_regression

TREND_WINDOW = timedelta(minutes=5)
TREND_SAMPLES = 4
"""Fewer say nothing of a trend."""
RISING_SAMPLES = 7
"""So many in a row, each above the one before, are no noise: a lecture has begun. In 90 s they say so; a line through
five minutes only sees it when half of it is there."""
HOUR, DAY, WEEK = timedelta(hours=1), timedelta(days=1), timedelta(weeks=1)
GATHERING = timedelta(minutes=30)
"""People come into a room up to so long before they are recorded."""
SHARE_RANK = 0.9
"""Of what an hour's peers say of their share, so much says less than what counts: few who are there are recorded
shortly before a lecture, and most once it has begun. The greatest are left out: peers lack while a server is away."""
TOLERANCE = timedelta(minutes=6)
"""History is thinned to a row in five minutes: an older sample than this says nothing of its moment."""


@unique
class Cause(StrEnum):
    """What a forecast rests on."""

    DEMAND = "demand"
    """What records or waits now: nothing speaks for more."""
    TREND = "trend"
    """Demand has been rising."""
    PEERS = "peers"
    """Peers have come into the rooms, and their usual share of recordings has not begun yet."""
    SCHEDULE = "schedule"
    """An hour, a day or a week ago more came after this moment: lectures start on the hour."""


@dataclass(frozen=True, slots=True)
class Sample:
    """A region at one moment. Demand: the price of all recordings that run or wait, in milli-cores."""

    at: datetime
    demand_mcpu: int
    peers: int = 0


@dataclass(frozen=True, slots=True)
class Forecast:
    """The most that is expected up to the horizon, and why."""

    mcpu: int
    cause: Cause


def spans(now: datetime, horizon: timedelta, kept: timedelta) -> tuple[tuple[datetime, datetime], ...]:
    """The pieces of the past, each (from, to), that a forecast at `now` looks at; the last `kept` are among them."""
    recent = (now - max(HOUR + TOLERANCE, kept), now)
    return (recent, *((now - ago - TOLERANCE, now - ago + max(horizon, TOLERANCE)) for ago in (DAY, WEEK)))


def forecast(present: Sample, past: Sequence[Sample], horizon: timedelta) -> Forecast:
    """What is expected until `horizon` from the present; never less than what is there.

    The causes do not add up, for they mostly see the same: the one that expects most counts. `past` is in order.
    """
    growth = {
        Cause.TREND: _trend(present, past, horizon),
        Cause.PEERS: _peers(present, past),
        Cause.SCHEDULE: _schedule(present, past, horizon),
    }
    cause = max(growth, key=lambda each: growth[each])
    if growth[cause] < 1:
        return Forecast(present.demand_mcpu, Cause.DEMAND)
    return Forecast(present.demand_mcpu + int(growth[cause]), cause)


def _trend(present: Sample, past: Sequence[Sample], horizon: timedelta) -> float:
    """The growth by the line through the last minutes, or by that of the last moments where demand only rose."""
    samples = [*_between(past, present.at - TREND_WINDOW, present.at), present]
    last = samples[-RISING_SAMPLES:]
    rises = len(last) == RISING_SAMPLES and all(one.demand_mcpu < next_.demand_mcpu for one, next_ in pairwise(last))
    return max(_line(samples, horizon), _line(last, horizon) if rises else 0.0)


def _line(samples: Sequence[Sample], horizon: timedelta) -> float:
    """The slope of a straight line through them (least squares), as far as a line explains them (r²).

    So noise has no trend; and no more is expected than has been seen to come.
    """
    demand = [each.demand_mcpu for each in samples]
    if len(samples) < TREND_SAMPLES or min(demand) == max(demand):
        return 0.0
    times = [(each.at - samples[-1].at).total_seconds() for each in samples]
    growth = linear_regression(times, demand).slope * horizon.total_seconds() * correlation(times, demand) ** 2
    return min(growth, demand[-1] - min(demand))


def _peers(present: Sample, past: Sequence[Sample]) -> float:
    """What the peers who came while people gathered are worth, at the hour's share, and was not recorded yet."""
    hour = _between(past, present.at - HOUR, present.at)
    lately = _between(past, present.at - GATHERING, present.at)
    # a room server tells its peers now and then: recordings may be there before the peers they are of
    known = [each for each in hour if each.peers]
    if not (lately and known):
        return 0.0
    share = _usual_share(known)
    begin = min(range(len(lately)), key=lambda at: (lately[at].peers, -at))
    recorded = max(each.demand_mcpu for each in (*lately[begin:], present))
    came = (present.peers - lately[begin].peers) * share - (recorded - lately[begin].demand_mcpu)
    return min(came, present.peers * share - recorded)


def _usual_share(samples: Sequence[Sample]) -> float:
    """Milli-cores for a peer, at `SHARE_RANK` of what the samples say, each with the weight of its peers."""
    shares = sorted((each.demand_mcpu / each.peers, each.peers) for each in samples)
    weights = list(accumulate(peers for _, peers in shares))
    return shares[bisect_left(weights, SHARE_RANK * weights[-1])][0]


def _schedule(present: Sample, past: Sequence[Sample], horizon: timedelta) -> float:
    """By how much demand rose after this moment an hour ago, and a week ago or, where nobody knows, a day ago."""
    week = _rise_after(present.at - WEEK, past, horizon)
    day = _rise_after(present.at - DAY, past, horizon) if week is None else week
    return max(_rise_after(present.at - HOUR, past, horizon) or 0, day or 0)


def _rise_after(moment: datetime, past: Sequence[Sample], horizon: timedelta) -> int | None:
    before = _between(past, moment - TOLERANCE, moment)
    after = _between(past, moment, moment + horizon)
    if before and after:
        return max(each.demand_mcpu for each in after) - before[-1].demand_mcpu
    later = _between(past, moment, moment + TOLERANCE)
    if not (before and later):
        return None
    # rows that are further apart than the horizon: so much of the rise between them falls into it
    share = horizon / (later[0].at - before[-1].at)
    return round((later[0].demand_mcpu - before[-1].demand_mcpu) * share)


def _between(past: Sequence[Sample], since: datetime, until: datetime) -> Sequence[Sample]:
    """The samples from `since` to before `until`."""
    return past[bisect_left(past, since, key=_at) : bisect_left(past, until, key=_at)]


def _at(sample: Sample) -> datetime:
    return sample.at
