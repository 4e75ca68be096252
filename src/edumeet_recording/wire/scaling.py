"""Autoscaling on the REST API: capacity, recommendations, decisions. Capacity in milli-cores, times in RFC 3339."""

from datetime import datetime
from typing import Annotated, Literal

from pydantic import Field

from edumeet_recording.domain.alerting import Rule, Severity
from edumeet_recording.domain.forecast import Cause
from edumeet_recording.domain.scaling import Action
from edumeet_recording.wire.base import Body, View
from edumeet_recording.wire.http import Flag, Instant, Region
from edumeet_recording.wire.views import ScalingEvent


class EvaluateScaling(Body):
    """`POST /api/scaling/evaluate`. Unless `dryRun` is false, it is only told what would be done."""

    dry_run: Flag = True


class ScalingHistoryQuery(Body):
    """`GET /api/scaling/history`: newest first; `before` continues a page."""

    region: Region | None = None
    since: Annotated[Instant | None, Field(alias="from")] = None
    until: Annotated[Instant | None, Field(alias="to")] = None
    before: Annotated[int, Field(ge=1, lt=2**63)] | None = None
    limit: Annotated[int, Field(ge=1, le=1000)] = 100


class AlertsQuery(Body):
    """`GET /api/scaling/alerts`: open ones unless `state` says otherwise, newest first; `before` continues a page."""

    state: Literal["open", "over", "all"] = "open"
    before: Annotated[int, Field(ge=1, lt=2**63)] | None = None
    limit: Annotated[int, Field(ge=1, le=1000)] = 100


class RegionCapacity(View):
    """What a region has and what is asked of it.

    `capacityMcpu` counts nodes that take recordings; `demandMcpu` is the price of all that run or wait; `utilisation`
    is one by the other, null without any capacity.
    """

    region: str
    capacity_mcpu: int
    load_mcpu: int
    demand_mcpu: int
    utilisation: float | None
    queue_length: int
    registered_nodes: int
    observed_nodes: int
    requested_nodes: int
    draining_nodes: int
    min_nodes: int
    max_nodes: int


class Capacity(View):
    """All regions at one moment. `provider`: who runs the nodes that autoscaling asks for."""

    timestamp: datetime
    provider: str
    regions: tuple[RegionCapacity, ...]


class ScalingStep(View):
    """One thing that would be done now. `count` of nodes that do not exist yet, else `nodeIds`."""

    action: Action
    reason: str
    detail: str
    node_ids: tuple[str, ...] = ()
    count: int = 0


class Recommendation(View):
    """How many nodes a region should have (`desiredNodes`), is waiting for, and has.

    `neededMcpu` is capacity for `expectedMcpu` at the target utilisation with the warm spare; `cause` says what the
    expectation rests on. `isAtMax`: more would be needed than `maxNodes` permits.
    """

    region: str
    desired_nodes: int
    requested_nodes: int
    observed_nodes: int
    draining_nodes: int
    demand_mcpu: int
    expected_mcpu: int
    cause: Cause
    needed_mcpu: int
    capacity_mcpu: int
    queued: int
    is_at_max: bool
    steps: tuple[ScalingStep, ...]


class Recommendations(View):
    """What autoscaling would do in each region. `dryRun` false: the leader has been told to do it now."""

    timestamp: datetime
    provider: str
    dry_run: bool = True
    regions: tuple[Recommendation, ...]


class ScalingHistory(View):
    """Decisions and alerts, newest first; ask on with `before=nextBefore`, null on the last page."""

    items: tuple[ScalingEvent, ...]
    next_before: int | None = None


class AlertView(View):
    """Something that needs somebody. It was last seen at `seenAt`; over since `recoveredAt`, null while it lasts.

    `region` is `*` for what concerns the whole service.
    """

    id: int
    rule: Rule
    subject: str
    region: str
    severity: Severity
    detail: str
    opened_at: datetime
    seen_at: datetime
    recovered_at: datetime | None = None


class AlertPage(View):
    """Alerts, newest first; ask on with `before=nextBefore`, null on the last page."""

    items: tuple[AlertView, ...]
    next_before: int | None = None
