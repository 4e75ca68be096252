"""Who gets a node first while there are not enough, and how long that takes; pure.

Interrupted recordings come first. Then priority, to which waiting adds, so that nobody waits for ever; within a
priority tenants take turns by what they have of the fleet for their share; within a tenant by age.
"""

from collections import deque
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime
from heapq import heapify, heappop, heappush
from itertools import groupby
from math import ceil

TOP_PRIORITY = 9
INTERRUPTED = TOP_PRIORITY + 1
AGING_S = 120.0
"""A job that has waited so long counts as one priority higher."""
LONGEST_RETRY_S = 300
UNKNOWN_RETRY_S = 30
"""While nothing ends nobody knows when there will be room."""


@dataclass(frozen=True, slots=True)
class Waiting:
    """A job that needs a node, or its next one; `tenant_id` is empty for none. It is not tried before `not_before`."""

    job_id: str
    tenant_id: str
    priority: int
    created_at: datetime
    cost_mcpu: int
    interrupted: bool
    not_before: datetime | None = None


@dataclass(frozen=True, slots=True)
class Use:
    """What a tenant's running recordings take, and how large its share of the fleet is against others'."""

    mcpu: int = 0
    share: int = 1


@dataclass(frozen=True, slots=True)
class Quota:
    """Limits of a tenant; None: no limit. What waits counts as active too, for it will be."""

    max_active: int | None = None
    max_queued: int | None = None

    def exceeded_by(self, active: int, queued: int) -> str | None:
        """Why a tenant with so many recordings gets no other one; None where it does."""
        if self.max_active is not None and active + queued >= self.max_active:
            return f"the tenant has {active + queued} recordings and may have {self.max_active}"
        return None

    def queue_exceeded_by(self, queued: int) -> str | None:
        """Why a recording for which there is no node may not wait either; None where it may."""
        if self.max_queued is not None and queued > self.max_queued:
            return f"no node is free, and the tenant may have {self.max_queued} recordings wait"
        return None


def order(waiting: Iterable[Waiting], use: Mapping[str, Use], now: datetime) -> list[Waiting]:
    """All of `waiting`, whose turn it is first."""
    taken = {tenant: each.mcpu / each.share for tenant, each in use.items()}
    ordered: list[Waiting] = []
    ranked = sorted(waiting, key=lambda job: (-_rank(job, now), job.created_at, job.job_id))
    for _, group in groupby(ranked, key=lambda job: _rank(job, now)):
        ordered += _by_turns(group, use, taken)
    return ordered


def _rank(job: Waiting, now: datetime) -> int:
    if job.interrupted:
        return INTERRUPTED
    waited_s = max((now - job.created_at).total_seconds(), 0.0)
    return min(job.priority + int(waited_s / AGING_S), TOP_PRIORITY)


def _by_turns(group: Iterable[Waiting], use: Mapping[str, Use], taken: dict[str, float]) -> list[Waiting]:
    """Each turn is the tenant's that has least for its share; `taken` grows by what is given out."""
    queues: dict[str, deque[Waiting]] = {}
    for job in group:
        queues.setdefault(job.tenant_id, deque()).append(job)
    turns = [(taken.get(tenant, 0.0), queue[0].created_at, tenant) for tenant, queue in queues.items()]
    heapify(turns)
    given: list[Waiting] = []
    while turns:
        has, _, tenant = heappop(turns)
        queue = queues[tenant]
        job = queue.popleft()
        given.append(job)
        taken[tenant] = has + job.cost_mcpu / use.get(tenant, Use()).share
        if queue:
            heappush(turns, (taken[tenant], queue[0].created_at, tenant))
    return given


def estimate_s(position: int, ended: int, over_s: float) -> float | None:
    """Seconds until the job at `position` (from 1) has a node, as `ended` captures made room in the last `over_s`."""
    return None if ended == 0 else position * over_s / ended


def retry_after_s(estimate: float | None) -> int:
    """When a refused caller should ask again."""
    return UNKNOWN_RETRY_S if estimate is None else min(max(ceil(estimate), 1), LONGEST_RETRY_S)
