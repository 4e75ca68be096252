"""Keeps each region's fleet as large as `domain/scaling.py` says: asks for nodes, drains them, gives them back.

What is wanted stands in `fleet_requests`; the provider is told until it is so. A leader that dies between a decision
and its effect is followed by one that finds the row and goes on.
"""

import asyncio
import re
import secrets
from collections.abc import AsyncGenerator, Awaitable, Callable, Collection, Mapping
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, replace
from datetime import datetime, timedelta

import structlog

from edumeet_recording.config import OrchestratorSettings
from edumeet_recording.domain.errors import NotFound
from edumeet_recording.domain.forecast import Sample, spans
from edumeet_recording.domain.scaling import (
    Action,
    Evaluation,
    FleetRequest,
    FleetSums,
    RegionPolicy,
    RegionState,
    RequestState,
    Step,
    evaluate,
    state_after,
)
from edumeet_recording.providers.base import InstanceState, Provider, ProviderRefused, ProviderUnreachable
from edumeet_recording.store import metrics, nodes, scaling
from edumeet_recording.store.scaling import RecentRequests
from edumeet_recording.store.transaction import Channel, Transactor, Tx

log = structlog.get_logger()

REMEMBERED = timedelta(hours=24)
"""Requests that ended longer ago bear on no cool-down."""
ADVISORY = "advisory"


class _Overtaken(Exception):
    """Somebody else changed what a step rests on; the next tick looks again."""


@dataclass(frozen=True, slots=True)
class _Plan:
    """A region as it was seen, and what follows."""

    state: RegionState
    answer: Evaluation


def policy_of(settings: OrchestratorSettings, region: str) -> RegionPolicy:
    """What the settings want of a region."""
    return RegionPolicy(**settings.scaling_of(region).model_dump())


class Autoscaler:
    """`tick` runs on the leader, `evaluate` anywhere. `deregister` takes a node that is gone out of use."""

    def __init__(
        self,
        db: Transactor,
        settings: OrchestratorSettings,
        provider: Provider,
        deregister: Callable[[str], Awaitable[None]],
    ) -> None:
        self._db, self._settings, self._provider, self._deregister = db, settings, provider, deregister
        self.trouble = ""
        """Why the provider could not be reached at the last tick; empty where it could."""
        self._unreachable = ""

    async def evaluate(self) -> list[Evaluation]:
        """What should be done now in each region; does nothing."""
        return [plan.answer for plan in await self._plans(None)]

    async def soon(self) -> None:
        """Have the leader decide now, whoever that is."""
        self._db.notifier.hint(Channel.SCALING, "")

    async def tick(self) -> None:
        """Decide for each region, keep it, and have the provider do it."""
        self._unreachable = ""
        there = await self._instances()
        for plan in await self._plans(there):
            await self._carry_out(plan)
        if there is not None:
            await self._converge(there)
        # only now: while a provider takes its time to answer, nobody knows better
        self.trouble = self._unreachable

    async def _instances(self) -> dict[str, InstanceState] | None:
        """What the provider has; None where it does not say."""
        async with self._reaching():
            return {each.node_id: each.state for each in await self._provider.instances()}

    @asynccontextmanager
    async def _reaching(self) -> AsyncGenerator[None]:
        """What the provider cannot do now is tried again at the next tick."""
        try:
            yield
        except ProviderUnreachable as error:
            self._unreachable = error.message
            log.warning("provider_unreachable", provider=self._provider.name, reason=error.message)

    async def _plans(self, there: Collection[str] | None) -> list[_Plan]:
        async def read(tx: Tx) -> list[_Plan]:
            plans: list[_Plan] = []
            for each in await self._regions(tx, there):
                plans.append(_Plan(each, evaluate(policy_of(self._settings, each.region), each, tx.now)))
                await asyncio.sleep(0)  # each takes milliseconds, and others want their turn
            return plans

        return await self._db.read(read)

    async def _regions(self, tx: Tx, there: Collection[str] | None) -> list[RegionState]:
        """Every region that has anything, or that the policy names."""
        name = self._provider.name
        numbers = await metrics.regional_numbers(tx.conn)
        sums = await scaling.fleet_sums(tx.conn, tx.now)
        noted = await scaling.requests_of_note(tx.conn, name, tx.now)
        recent = await scaling.recent_requests(tx.conn, name, tx.now - REMEMBERED)
        regions = sorted(numbers.keys() | noted.keys() | self._settings.scaled_regions)
        past = await scaling.samples(tx.conn, self._spans(regions, tx.now))
        states: list[RegionState] = []
        for region in regions:
            known, asked = numbers.get(region, {}), recent.get(region, RecentRequests())
            state = RegionState(
                region=region,
                present=Sample(tx.now, known.get("demand", 0), known.get("peers", 0)),
                queued=known.get("queue_length", 0),
                finalizing=known.get("finalizing", 0),
                past=past.get(region, ()),
                sums=sums.get(region, FleetSums()),
                nodes=noted[region].nodes,
                requests=[_as_provided(each, there) for each in noted[region].requests],
                asked_at=asked.asked_at,
                drained_at=asked.drained_at,
                refused=asked.refused,
            )
            states.append(state)
        return states

    def _spans(self, regions: Collection[str], now: datetime) -> tuple[tuple[datetime, datetime], ...]:
        policies = [policy_of(self._settings, region) for region in regions]
        lead_s = max((each.lead_time_s for each in policies), default=0)
        kept_s = max((each.shrink_after_s for each in policies), default=0)
        return spans(now, timedelta(seconds=lead_s), timedelta(seconds=kept_s))

    async def _carry_out(self, plan: _Plan) -> None:
        if self._provider.name == ADVISORY:
            await self._db.run(lambda tx: self._recommend(tx, plan.answer))
            return
        for step in plan.answer.steps:

            async def work(tx: Tx, step: Step = step) -> None:
                await self._take(tx, plan, step)

            try:
                await self._db.run(work)
            except _Overtaken:
                continue
            log.info("scaled", region=plan.state.region, action=step.action, reason=step.reason, detail=step.detail)

    async def _recommend(self, tx: Tx, answer: Evaluation) -> None:
        """Note what is desired where that has changed: somebody else acts."""
        before = await scaling.last_recommended(tx.conn, answer.region)
        if before == answer.desired_nodes or (before is None and answer.desired_nodes == answer.observed_nodes):
            return
        await scaling.note(
            tx.conn,
            region=answer.region,
            action="recommend",
            reason=answer.cause,
            data=numbers_of(answer),
            now=tx.now,
        )

    async def _take(self, tx: Tx, plan: _Plan, step: Step) -> None:
        """One step, whole or not at all. Raises `_Overtaken` where things have changed since they were looked at."""
        region, node_ids = plan.state.region, step.node_ids
        if step.action is Action.START:
            node_ids = tuple(new_node_id(region) for _ in range(step.count))
            await self._ask(tx, plan.state, node_ids, step.reason)
        before = {each.node_id: each.state for each in plan.state.requests}
        for node_id in step.node_ids:
            after = state_after(step.action, before[node_id])
            if not await scaling.advance(tx.conn, node_id, before[node_id], after, tx.now):
                raise _Overtaken
            if step.action in {Action.DRAIN, Action.UNDRAIN}:
                await nodes.set_draining(tx.conn, node_id, step.action is Action.DRAIN)
                tx.hint(Channel.NODE, node_id)
                tx.hint(Channel.DISPATCH)
        data = {**numbers_of(plan.answer), "nodeIds": node_ids, "detail": step.detail}
        await scaling.note(tx.conn, region=region, action=step.action, reason=step.reason, data=data, now=tx.now)

    async def _ask(self, tx: Tx, state: RegionState, node_ids: tuple[str, ...], reason: str) -> None:
        asked = await scaling.ask(
            tx.conn,
            node_ids,
            region=state.region,
            provider=self._provider.name,
            reason=reason,
            last_asked_at=state.asked_at,
            now=tx.now,
        )
        if not asked:
            raise _Overtaken

    async def _converge(self, there: Mapping[str, InstanceState]) -> None:
        """Have the provider run what is wanted, and nothing that is closed; what it runs for others is not touched."""
        name = self._provider.name

        async def read(tx: Tx) -> tuple[list[tuple[str, str]], list[str], list[str]]:
            return (
                await scaling.asked(tx.conn, name),
                await scaling.closed(tx.conn, there),
                await scaling.to_deregister(tx.conn, name),
            )

        wanted, unwanted, gone = await self._db.read(read)
        async with asyncio.TaskGroup() as tasks:
            for region, node_id in wanted:
                if node_id not in there:
                    tasks.create_task(self._start(region, node_id))
            for node_id in unwanted:
                if there[node_id] is not InstanceState.STOPPING:
                    tasks.create_task(self._stop(node_id))
        for node_id in gone:
            with suppress(NotFound):
                await self._deregister(node_id)

    async def _start(self, region: str, node_id: str) -> None:
        async with self._reaching():
            try:
                await self._provider.start(region, node_id, {"region": region})
            except ProviderRefused as error:
                detail = error.message
                log.warning("provider_refused", node_id=node_id, region=region, reason=detail)
                await self._db.run(lambda tx: self._refused(tx, region, node_id, detail))

    async def _refused(self, tx: Tx, region: str, node_id: str, detail: str) -> None:
        if await scaling.advance(tx.conn, node_id, RequestState.ASKED, RequestState.FAILED, tx.now):
            data = {"nodeIds": [node_id], "detail": detail}
            await scaling.note(tx.conn, region=region, action=Action.GIVE_UP, reason="refused", data=data, now=tx.now)

    async def _stop(self, node_id: str) -> None:
        async with self._reaching():
            try:
                await self._provider.stop(node_id)
            except ProviderRefused as error:
                log.warning("provider_refused", node_id=node_id, reason=error.message)


def _as_provided(request: FleetRequest, there: Collection[str] | None) -> FleetRequest:
    return replace(request, is_gone=there is not None and request.node_id not in there)


def new_node_id(region: str) -> str:
    """An id nobody has, which is a DNS label (RFC 1123 §2.1), as providers need it."""
    slug = re.sub(r"[^a-z0-9]+", "-", region.lower()).strip("-")[:40].strip("-")
    return "-".join(filter(None, ("ffmpeg", slug, secrets.token_hex(4))))


def numbers_of(answer: Evaluation) -> dict[str, object]:
    """What an evaluation rests on, as it is kept with a decision."""
    return {
        "desired": answer.desired_nodes,
        "requested": answer.requested_nodes,
        "observed": answer.observed_nodes,
        "draining": answer.draining_nodes,
        "demandMcpu": answer.demand_mcpu,
        "expectedMcpu": answer.expected_mcpu,
        "cause": answer.cause,
        "neededMcpu": answer.needed_mcpu,
        "capacityMcpu": answer.capacity_mcpu,
        "queued": answer.queued,
        "isAtMax": answer.is_at_max,
    }
