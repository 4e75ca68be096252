"""How many nodes a region should have, and the next steps towards that; pure.

Desired (what should be), requested (asked for, not there yet) and observed (usable now) are kept apart. Growing is
quick, shrinking slow: a node leaves only where the peak of the last while would fit into the others, is drained first,
and is given back when nothing of a recording is on it any more. All sizes are milli-cores, as placement prices them.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from enum import StrEnum, unique

from edumeet_recording.domain.forecast import Cause, Sample, forecast
from edumeet_recording.domain.price import USUAL

SHRINK_SHARE = 0.1
"""Of the nodes, how many may leave at a time; one always may."""
CANDIDATES = 100
"""To leave, where a share of the nodes is fewer."""
MOST_DOUBLINGS = 7
"""Of the pause before a provider that delivers nothing is asked again."""


@unique
class RequestState(StrEnum):
    """A node that was asked for; the SQL enum `fleet_request_state` equals it. The last three are final."""

    ASKED = "asked"
    SEEN = "seen"
    """It has registered and sends heartbeats."""
    DRAINING = "draining"
    RETURNED = "returned"
    FAILED = "failed"
    """It never came: not counted, and replaced where it is still needed."""
    LOST = "lost"
    """It was there and is gone, without having been asked to go."""


OPEN = frozenset({RequestState.ASKED, RequestState.SEEN, RequestState.DRAINING})


@unique
class Action(StrEnum):
    """A step of the autoscaler."""

    START = "start"
    ARRIVED = "arrived"
    UNDRAIN = "undrain"
    """A node that was about to leave stays: it is here already, and a new one would take its time."""
    DRAIN = "drain"
    RETURN = "return"
    GIVE_UP = "give_up"


AFTER: dict[Action, RequestState] = {
    Action.START: RequestState.ASKED,
    Action.ARRIVED: RequestState.SEEN,
    Action.UNDRAIN: RequestState.SEEN,
    Action.DRAIN: RequestState.DRAINING,
    Action.RETURN: RequestState.RETURNED,
}
"""The state of a request after a step; giving up leads to `failed` from `asked`, else to `lost`."""

_CLOSING = frozenset({Action.RETURN, Action.GIVE_UP})


def state_after(action: Action, state: RequestState) -> RequestState:
    """The state of a request in `state` once `action` is taken."""
    if action is Action.GIVE_UP:
        return RequestState.FAILED if state is RequestState.ASKED else RequestState.LOST
    return AFTER[action]


@dataclass(frozen=True, slots=True, kw_only=True)
class RegionPolicy:
    """What an operator wants of one region; `docs/operate.md` says what each is for. Times in seconds."""

    min_nodes: int
    max_nodes: int
    target_utilisation: float
    spare_nodes: float
    node_mcpu: int
    lead_time_s: float
    start_timeout_s: float
    up_cooldown_s: float
    down_cooldown_s: float
    shrink_after_s: float
    lost_after_s: float


@dataclass(frozen=True, slots=True)
class FleetNode:
    """A registered node. `is_usable`: takes captures; `is_empty`: nothing of a recording is on one that leaves, spool
    included.

    `capacity_bytes_per_s`: of its network and disk, None where nobody has measured them.
    """

    id: str
    capacity_mcpu: int
    load_mcpu: int
    is_usable: bool
    is_empty: bool
    is_healthy: bool = True
    heard_at: datetime | None = None
    capacity_bytes_per_s: int | None = None
    load_bytes_per_s: int = 0


@dataclass(frozen=True, slots=True)
class FleetSums:
    """Over the nodes of a region: how many take captures, how many of these have any capacity, and what they carry.

    `load_*` are of all its nodes: what is recorded on them, by which `carried_mcpu` reckons.
    """

    usable: int = 0
    sized: int = 0
    capacity_mcpu: int = 0
    load_mcpu: int = 0
    load_bytes_per_s: int = 0


@dataclass(frozen=True, slots=True)
class FleetRequest:
    """A node that we have asked for and still have to do with. `is_gone`: its provider does not have it (any more)."""

    node_id: str
    state: RequestState
    asked_at: datetime
    is_gone: bool = False


@dataclass(frozen=True, slots=True)
class RegionState:
    """What the policy looks at. `queued`, `finalizing`: recordings that wait for a node, or have no file yet.

    `sums` are over all nodes. Of `nodes` and `requests` those may be left out that are plainly at work, and not among
    the emptiest: nothing happens to them. `refused`: requests in a row that came to nothing; `past` in order of time.
    """

    region: str
    present: Sample
    queued: int = 0
    finalizing: int = 0
    past: Sequence[Sample] = ()
    sums: FleetSums = FleetSums()
    nodes: Sequence[FleetNode] = ()
    requests: Sequence[FleetRequest] = ()
    asked_at: datetime | None = None
    drained_at: datetime | None = None
    refused: int = 0


@dataclass(frozen=True, slots=True)
class Step:
    """One thing to do. `count` for nodes that do not exist yet, else `node_ids`. `reason` is a stable word."""

    action: Action
    reason: str
    detail: str
    node_ids: tuple[str, ...] = ()
    count: int = 0


@dataclass(frozen=True, slots=True)
class Evaluation:
    """The policy's answer for one region, with the numbers that it rests on."""

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
    steps: tuple[Step, ...]


def evaluate(policy: RegionPolicy, state: RegionState, now: datetime) -> Evaluation:
    """What to do in a region at `now`."""
    return _Region(policy, state, now).evaluation()


def summed(nodes: Sequence[FleetNode]) -> FleetSums:
    """The sums over all nodes of a region; `fleet_sums` in SQL is the same."""
    recorded = FleetSums(
        load_mcpu=sum(node.load_mcpu for node in nodes), load_bytes_per_s=sum(node.load_bytes_per_s for node in nodes)
    )
    sizes = [carried_mcpu(node, recorded) for node in nodes if node.is_usable]
    return replace(recorded, usable=len(sizes), sized=sum(map(bool, sizes)), capacity_mcpu=sum(sizes))


def carried_mcpu(node: FleetNode, sums: FleetSums) -> int:
    """A node's milli-cores, and no more than its network and disk have bytes for, by what the region records now.

    So that all else need not know what runs out first.
    """
    if node.capacity_bytes_per_s is None:
        return node.capacity_mcpu
    mcpu, bytes_per_s = sums.load_mcpu, sums.load_bytes_per_s
    if not mcpu or not bytes_per_s:
        mcpu, bytes_per_s = USUAL.mcpu, USUAL.bytes_per_s
    return min(node.capacity_mcpu, node.capacity_bytes_per_s * mcpu // bytes_per_s)


class _Region:
    """One evaluation: who is there, what is needed, and the steps."""

    def __init__(self, policy: RegionPolicy, state: RegionState, now: datetime) -> None:
        self._policy, self._state, self._now = policy, state, now
        self._by_id = {node.id: node for node in state.nodes}
        self._settled = [step for request in state.requests if (step := self._settle(request)) is not None]
        over = {id_ for step in self._settled if step.action in _CLOSING for id_ in step.node_ids}
        live = [request for request in state.requests if request.node_id not in over]
        here = {node.id for node in state.nodes if node.is_usable}
        self._pending = [each for each in live if each.state is RequestState.ASKED and each.node_id not in here]
        leaving = {each.node_id for each in live if each.state is RequestState.DRAINING}
        self._draining = [node for node in state.nodes if node.id in leaving and node.is_healthy and not node.is_usable]
        self._ours = {each.node_id: each for each in live if each.state is RequestState.SEEN}
        self._usable, self._capacity = state.sums.usable, state.sums.capacity_mcpu
        self._node_mcpu = round(self._capacity / state.sums.sized) if state.sums.sized else policy.node_mcpu
        # somebody must make the files of what was recorded, though that takes no capacity
        self._fewest = max(policy.min_nodes, min(state.finalizing, policy.max_nodes, 1))
        horizon = timedelta(seconds=policy.lead_time_s)
        self._forecast = forecast(state.present, state.past, horizon)
        self._needed = self._with_room(self._forecast.mcpu)

    def evaluation(self) -> Evaluation:
        """The desired number first, then the steps towards it."""
        wanted, current = self._wanted(), self._usable + len(self._pending)
        # the maximum bounds what is asked for: nodes that are there and needed stay
        desired = max(self._fewest, min(wanted, max(current, self._policy.max_nodes)))
        grown = self._grow(desired)
        return Evaluation(
            region=self._state.region,
            desired_nodes=desired,
            requested_nodes=len(self._pending),
            observed_nodes=self._usable,
            draining_nodes=len(self._draining),
            demand_mcpu=self._state.present.demand_mcpu,
            expected_mcpu=self._forecast.mcpu,
            cause=self._forecast.cause,
            needed_mcpu=self._needed,
            capacity_mcpu=self._capacity,
            queued=self._state.queued,
            is_at_max=wanted > desired,
            steps=(*self._settled, *(grown or self._shrink(desired))),
        )

    def _settle(self, request: FleetRequest) -> Step | None:
        """What became of a node that was asked for, or asked to leave."""
        node = self._by_id.get(request.node_id)
        ids = (request.node_id,)
        if request.state is RequestState.ASKED:
            return self._arrival(request, node)
        if node is None:
            return Step(Action.GIVE_UP, "lost", f"{request.node_id} was deregistered", ids)
        if not node.is_healthy:
            return self._lost(request, node)
        if request.state is RequestState.DRAINING and node.is_usable:
            return Step(Action.UNDRAIN, "undrained", f"somebody wants {request.node_id} to stay", ids)
        if request.state is RequestState.DRAINING and node.is_empty:
            return Step(Action.RETURN, "empty", f"{request.node_id} is drained: nothing is left on it", ids)
        return None

    def _arrival(self, request: FleetRequest, node: FleetNode | None) -> Step | None:
        waited_s = (self._now - request.asked_at).total_seconds()
        if node is not None and node.is_healthy:
            return Step(Action.ARRIVED, "arrived", f"{node.id} came after {waited_s:.0f} s", (node.id,))
        if waited_s < self._policy.start_timeout_s:
            return None
        detail = f"{request.node_id} did not come in {waited_s:.0f} s"
        return Step(Action.GIVE_UP, "never_came", detail, (request.node_id,))

    def _lost(self, request: FleetRequest, node: FleetNode) -> Step | None:
        """Silence alone takes long to count: a node that is cut off may have tape that is in no storage yet."""
        silent_s = (self._now - (node.heard_at or request.asked_at)).total_seconds()
        if request.is_gone:
            detail = f"{node.id} is silent, and its provider does not have it any more"
        elif silent_s >= self._policy.lost_after_s:
            detail = f"{node.id} has been silent for {silent_s:.0f} s"
        else:
            return None
        return Step(Action.GIVE_UP, "lost", detail, (node.id,))

    def _with_room(self, mcpu: int) -> int:
        """Capacity for a demand at the target utilisation, with the warm spare beside it."""
        return math.ceil(mcpu / self._policy.target_utilisation) + round(self._policy.spare_nodes * self._node_mcpu)

    def _kept(self) -> int:
        """Capacity that must stay: for what is expected, and for the most that was there lately."""
        since = self._now - timedelta(seconds=self._policy.shrink_after_s)
        peak = max((each.demand_mcpu for each in self._state.past if each.at >= since), default=0)
        return self._with_room(max(self._forecast.mcpu, peak))

    def _wanted(self) -> int:
        """Nodes that should be there, were there no bounds; between growing and shrinking lies what stays as it is."""
        current = self._usable + len(self._pending)
        missing = self._needed - self._capacity - len(self._pending) * self._node_mcpu
        if missing > 0:
            return current + math.ceil(missing / self._node_mcpu)
        return min(current, math.ceil(self._kept() / self._node_mcpu))

    def _grow(self, desired: int) -> list[Step]:
        missing = desired - self._usable - len(self._pending)
        if missing <= 0:
            return []
        enough = self._needed <= self._capacity + len(self._pending) * self._node_mcpu
        reason = "min_nodes" if enough else self._forecast.cause.value
        detail = self._sentence(desired)
        steps: list[Step] = []
        kept = sorted(self._draining, key=lambda node: (-node.load_mcpu, node.id))[:missing]
        if kept:
            steps.append(Step(Action.UNDRAIN, reason, detail, tuple(node.id for node in kept)))
        room = self._policy.max_nodes - self._usable - len(self._pending) - len(self._draining)
        fresh = min(missing - len(kept), room)
        pause_s = self._policy.up_cooldown_s * 2 ** min(self._state.refused, MOST_DOUBLINGS)
        if fresh > 0 and self._is_over(self._state.asked_at, pause_s):
            steps.append(Step(Action.START, reason, detail, count=fresh))
        return steps

    def _shrink(self, desired: int) -> list[Step]:
        """Drain the emptiest of our nodes, a few at a time, where nobody waits and nothing is on its way."""
        cooldown_s = self._policy.down_cooldown_s
        rests = self._is_over(self._state.asked_at, cooldown_s) and self._is_over(self._state.drained_at, cooldown_s)
        if self._pending or self._state.queued or not rests:
            return []
        most = min(self._usable - desired, max(1, int(SHRINK_SHARE * self._usable)))
        left, kept = self._capacity, self._kept()
        chosen: list[str] = []
        leaving = [node for node in self._state.nodes if node.is_usable and node.id in self._ours]
        for node in sorted(leaving, key=lambda node: (node.load_mcpu, node.id)):
            if len(chosen) >= most:
                break
            carried = carried_mcpu(node, self._state.sums)
            if left - carried >= kept:
                left -= carried
                chosen.append(node.id)
        return [Step(Action.DRAIN, "surplus", self._sentence(desired), tuple(chosen))] if chosen else []

    def _is_over(self, since: datetime | None, cooldown_s: float) -> bool:
        return since is None or self._now >= since + timedelta(seconds=cooldown_s)

    def _sentence(self, desired: int) -> str:
        return (
            f"{self._state.present.demand_mcpu} milli-cores are wanted and {self._forecast.mcpu} expected "
            f"({self._forecast.cause}), which needs {self._needed}; {self._usable} nodes have {self._capacity}, "
            f"{len(self._pending)} are on their way, {desired} are desired"
        )
