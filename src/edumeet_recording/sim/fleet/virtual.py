"""A day on a virtual clock: the real policy and placement, and nodes that boot as slowly as real ones; pure.

Nothing here takes time of its own, so what is measured is the policy's, in seconds of the day. It has seen no day
before. One region is lived after the other, each by its local clock: what is recorded in one goes to no other.
"""

from bisect import bisect_left
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from itertools import count

from edumeet_recording.domain import forecast
from edumeet_recording.domain.fleet import Fleet, NodeSnapshot
from edumeet_recording.domain.placement import PlacementRequest, place
from edumeet_recording.domain.price import Price
from edumeet_recording.domain.scaling import (
    OPEN,
    Action,
    FleetNode,
    FleetRequest,
    RegionPolicy,
    RegionState,
    RequestState,
    Step,
    evaluate,
    state_after,
    summed,
)
from edumeet_recording.sim.fleet.day import DAY_S, Crowd, Region, Session
from edumeet_recording.sim.fleet.measure import Sample
from edumeet_recording.sim.fleet.scenario import BOOT_S, SESSION_MCPU, Scenario

MIDNIGHT = datetime(2026, 11, 23, tzinfo=UTC)
TICK_S = 10
"""The real autoscaler looks more often, which makes nothing worse."""
HISTORY_S = 15
"""As `system_metrics` grows."""
EMPTIED_S = 10
"""From draining a node until its recordings have moved and its tape is shipped."""
WORKING_H = (7, 20)
"""Machines are lost between these hours, when something is on them."""
_PEER = Price(SESSION_MCPU)


@dataclass(slots=True)
class VirtualDay:
    """Of all regions. `waits_s`: of each recording, for capacity, also after its node was lost. `node_s`: paid for.

    `returned_early`: nodes that were given back within the cool-down since they were asked for.
    """

    waits_s: list[float] = field(default_factory=list[float])
    node_s: dict[str, float] = field(default_factory=dict[str, float])
    returned_early: int = 0
    samples: list[Sample] = field(default_factory=list[Sample])


def live_virtually(scenario: Scenario, planned: Sequence[Session], sessions_a_node: int) -> VirtualDay:
    """The day that `scenario` plans."""
    day, policy = VirtualDay(), scenario.policy(sessions_a_node)
    begin_h, end_h = WORKING_H
    for number, region in enumerate(scenario.places):
        losses = range(number, scenario.failures, scenario.regions)
        lost_s = [(begin_h + (end_h - begin_h) * (each + 0.5) / scenario.failures) * 3600 for each in losses]
        ours = [_local(each, region) for each in planned if each.region == region.name]
        VirtualRegion(region, policy, ours, lost_s, day).live()
    return day


def _local(session: Session, region: Region) -> Session:
    """The same by its region's clock."""
    shift_s = (session.begins_s + region.offset_h * 3600) % DAY_S - session.begins_s
    return replace(
        session,
        joins_s=session.joins_s + shift_s,
        begins_s=session.begins_s + shift_s,
        ends_s=min(session.ends_s + shift_s, DAY_S),
    )


@dataclass(slots=True)
class _Node:
    """One that was asked for. `sessions`: the numbers of those it records."""

    id: str
    asked_s: float
    ready_s: float
    state: RequestState = RequestState.ASKED
    drained_s: float = 0.0
    is_lost: bool = False
    sessions: set[int] = field(default_factory=set[int])

    @property
    def is_usable(self) -> bool:
        """Takes captures, once it is there."""
        return not self.is_lost and self.state is not RequestState.DRAINING


class VirtualRegion:
    """One region's day; what comes of it goes into `day`."""

    def __init__(
        self,
        region: Region,
        policy: RegionPolicy,
        planned: Sequence[Session],
        lost_s: Sequence[float],
        day: VirtualDay,
    ) -> None:
        self._region, self._policy, self._planned, self._lost_s, self._day = region, policy, planned, lost_s, day
        self._request = PlacementRequest(_PEER, ((region.name, 0.0),))
        self._there = Crowd((each.joins_s, each.ends_s) for each in planned)
        self._recorded = Crowd((each.begins_s, each.ends_s) for each in planned)
        self._fleet = Fleet()
        self._nodes: dict[str, _Node] = {}
        self._node_of: dict[int, _Node] = {}
        self._waiting: dict[int, float] = {}
        self._waited_s = dict.fromkeys((each.number for each in planned), 0.0)
        self._history: list[forecast.Sample] = []
        self._asked_at: datetime | None = None
        self._drained_at: datetime | None = None
        self._numbers = count()
        day.node_s[region.name] = 0.0

    def live(self) -> None:
        """From midnight to midnight."""
        begins = [(each.begins_s, True, each.number) for each in self._planned]
        ends = [(each.ends_s, False, each.number) for each in self._planned]
        events = sorted([*begins, *ends], reverse=True)
        losses = sorted(self._lost_s, reverse=True)
        for tick_s in range(0, DAY_S, TICK_S):
            while events and events[-1][0] <= tick_s:
                at_s, is_begun, number = events.pop()
                if is_begun:
                    self._waiting[number] = at_s
                else:
                    self._end(number, at_s)
                self._dispatch(at_s)
            while losses and losses[-1] <= tick_s:
                self._lose(losses.pop())
            self._tick(tick_s)
        for number in list(self._waiting):
            self._end(number, DAY_S)
        for node in self._nodes.values():
            self._pay(node, DAY_S)
        self._day.waits_s.extend(self._waited_s.values())

    def _end(self, number: int, at_s: float) -> None:
        if number in self._waiting:
            self._waited_s[number] += at_s - self._waiting.pop(number)
        elif (node := self._node_of.pop(number, None)) is not None:
            node.sessions.discard(number)
            self._show(node)

    def _dispatch(self, at_s: float) -> None:
        """Place who waits, the first first."""
        while self._waiting and (candidates := place(self._request, self._fleet).candidates):
            number = next(iter(self._waiting))
            self._waited_s[number] += at_s - self._waiting.pop(number)
            self._put(number, self._nodes[candidates[0].node_id])

    def _put(self, number: int, node: _Node) -> None:
        self._node_of[number] = node
        node.sessions.add(number)
        self._show(node)

    def _show(self, node: _Node) -> None:
        """Have placement see it as it is."""
        load = len(node.sessions) * SESSION_MCPU
        leaves = node.state is RequestState.DRAINING
        capacity = self._policy.node_mcpu
        self._fleet.put(
            NodeSnapshot(node.id, self._region.name, not node.is_lost, None, leaves, node.is_usable, capacity, load)
        )

    def _lose(self, at_s: float) -> None:
        """The machine that records most is gone: what it recorded waits again."""
        node = max(self._nodes.values(), key=lambda each: len(each.sessions))
        node.is_lost = True
        self._pay(node, at_s)
        for number in sorted(node.sessions):
            del self._node_of[number]
            self._waiting[number] = at_s
        node.sessions.clear()
        self._show(node)
        self._dispatch(at_s)

    def _tick(self, now_s: float) -> None:
        now = MIDNIGHT + timedelta(seconds=now_s)
        for node in self._nodes.values():
            if node.ready_s <= now_s and node.id not in self._fleet.nodes:
                self._show(node)
            if node.state is RequestState.DRAINING:
                self._move_away(node)
        self._dispatch(now_s)
        present = forecast.Sample(now, self._recorded.at(now_s) * SESSION_MCPU, self._there.at(now_s))
        for step in evaluate(self._policy, self._seen(present, now_s), now).steps:
            self._take(step, now, now_s)
        if not self._history or now >= self._history[-1].at + timedelta(seconds=HISTORY_S):
            self._history.append(present)
            self._sample(now_s)

    def _seen(self, present: forecast.Sample, now_s: float) -> RegionState:
        policy, nodes = self._policy, self._nodes.values()
        (since, _), *_ = forecast.spans(
            present.at, timedelta(seconds=policy.lead_time_s), timedelta(seconds=policy.shrink_after_s)
        )
        there = [
            FleetNode(
                each.id,
                policy.node_mcpu,
                len(each.sessions) * SESSION_MCPU,
                is_usable=each.is_usable,
                is_empty=not each.sessions and now_s >= each.drained_s + EMPTIED_S,
                is_healthy=not each.is_lost,
                heard_at=present.at,
            )
            for each in nodes
            if each.ready_s <= now_s
        ]
        return RegionState(
            self._region.name,
            present,
            queued=len(self._waiting),
            past=self._history[bisect_left(self._history, since, key=lambda each: each.at) :],
            sums=summed(there),
            nodes=there,
            requests=[
                FleetRequest(each.id, each.state, MIDNIGHT + timedelta(seconds=each.asked_s), each.is_lost)
                for each in nodes
            ],
            asked_at=self._asked_at,
            drained_at=self._drained_at,
        )

    def _take(self, step: Step, now: datetime, now_s: float) -> None:
        if step.action is Action.START:
            self._asked_at = now
            for number in (next(self._numbers) for _ in range(step.count)):
                self._nodes[f"n{number}"] = _Node(f"n{number}", now_s, now_s + BOOT_S)
        if step.action is Action.DRAIN:
            self._drained_at = now
        for node in (self._nodes[node_id] for node_id in step.node_ids):
            node.state = state_after(step.action, node.state)
            if node.state not in OPEN:
                self._close(node, now_s)
                continue
            self._show(node)
            if step.action is Action.DRAIN:
                node.drained_s = now_s

    def _close(self, node: _Node, now_s: float) -> None:
        del self._nodes[node.id]
        self._fleet.remove(node.id)
        if not node.is_lost:
            self._pay(node, now_s)
            self._day.returned_early += now_s < node.asked_s + self._policy.down_cooldown_s

    def _move_away(self, node: _Node) -> None:
        """Make before break: what has no other place stays where it is."""
        for number in sorted(node.sessions):
            candidates = place(self._request, self._fleet).candidates
            if not candidates:
                return
            node.sessions.discard(number)
            self._put(number, self._nodes[candidates[0].node_id])
        self._show(node)

    def _pay(self, node: _Node, until_s: float) -> None:
        self._day.node_s[self._region.name] += until_s - node.asked_s

    def _sample(self, now_s: float) -> None:
        nodes = [each for each in self._nodes.values() if not each.is_lost]
        self._day.samples.append(
            Sample(
                at_s=(now_s - self._region.offset_h * 3600) % DAY_S,
                region=self._region.name,
                sessions=self._recorded.at(now_s),
                waiting=len(self._waiting),
                nodes_paid=len(nodes),
                nodes_running=sum(each.ready_s <= now_s for each in nodes),
            )
        )
