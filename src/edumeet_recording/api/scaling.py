"""Autoscaling and alerts: what there is, what should be, what was decided, what is wrong."""

from dataclasses import asdict
from typing import Annotated

from fastapi import APIRouter, Query

from edumeet_recording.api.auth import Scope
from edumeet_recording.api.deps import ApiDeps, Deps, MetricsReader
from edumeet_recording.domain.scaling import Evaluation
from edumeet_recording.store import alerts, scaling, views
from edumeet_recording.store.db import db_now
from edumeet_recording.wire.scaling import (
    AlertPage,
    AlertsQuery,
    Capacity,
    EvaluateScaling,
    Recommendation,
    Recommendations,
    RegionCapacity,
    ScalingHistory,
    ScalingHistoryQuery,
)
from edumeet_recording.wire.views import Metrics

router = APIRouter(prefix="/api/scaling", tags=["scaling"])


@router.get("/capacity")
async def capacity(deps: Deps, caller: MetricsReader) -> Capacity:  # noqa: ARG001 - the scope is the check
    """What each region has, and what is asked of it."""
    answers = await deps.autoscaler.evaluate()
    async with deps.reading() as conn:
        now = await views.metrics_now(conn)
    regions = tuple(_capacity_of(deps, answer, now) for answer in answers)
    return Capacity(timestamp=now.timestamp, provider=deps.settings.autoscale_provider, regions=regions)


@router.get("/recommendations")
async def recommendations(deps: Deps, caller: MetricsReader) -> Recommendations:  # noqa: ARG001 - the scope is the check
    """How many nodes each region should have, and the steps towards that."""
    return await _recommendations(deps, dry_run=True)


@router.post("/evaluate")
async def evaluate(deps: Deps, caller: MetricsReader, body: EvaluateScaling | None = None) -> Recommendations:
    """Decide now; with `dryRun` false the leader also does it, which needs the scope `nodes:admin`."""
    dry_run = body is None or body.dry_run
    if not dry_run:
        caller.require(Scope.NODES_ADMIN)
        await deps.autoscaler.soon()
    return await _recommendations(deps, dry_run=dry_run)


@router.get("/history")
async def history(
    query: Annotated[ScalingHistoryQuery, Query()],
    deps: Deps,
    caller: MetricsReader,  # noqa: ARG001 - the scope is the check
) -> ScalingHistory:
    """Past decisions and alerts, newest first, each with its reason and numbers."""
    async with deps.reading() as conn:
        items = await scaling.page_of_events(
            conn,
            region=query.region,
            since=query.since,
            until=query.until,
            before=query.before,
            most=query.limit + 1,
        )
    page = items[: query.limit]
    return ScalingHistory(items=tuple(page), next_before=page[-1].id if len(items) > query.limit else None)


@router.get("/alerts")
async def list_alerts(
    query: Annotated[AlertsQuery, Query()],
    deps: Deps,
    caller: MetricsReader,  # noqa: ARG001 - the scope is the check
) -> AlertPage:
    """What needs somebody now, or did."""
    is_open = None if query.state == "all" else query.state == "open"
    async with deps.reading() as conn:
        items = await alerts.page(conn, is_open=is_open, before=query.before, most=query.limit + 1)
    page = items[: query.limit]
    return AlertPage(items=tuple(page), next_before=page[-1].id if len(items) > query.limit else None)


async def _recommendations(deps: ApiDeps, *, dry_run: bool) -> Recommendations:
    answers = await deps.autoscaler.evaluate()
    async with deps.reading() as conn:
        timestamp = await db_now(conn)
    return Recommendations(
        timestamp=timestamp,
        provider=deps.settings.autoscale_provider,
        dry_run=dry_run,
        regions=tuple(Recommendation.model_validate(asdict(answer)) for answer in answers),
    )


def _capacity_of(deps: ApiDeps, answer: Evaluation, now: Metrics) -> RegionCapacity:
    numbers, bounds = now.regional_metrics.get(answer.region), deps.settings.scaling_of(answer.region)
    return RegionCapacity(
        region=answer.region,
        capacity_mcpu=answer.capacity_mcpu,
        load_mcpu=numbers.current_load if numbers else 0,
        demand_mcpu=answer.demand_mcpu,
        utilisation=round(answer.demand_mcpu / answer.capacity_mcpu, 4) if answer.capacity_mcpu else None,
        queue_length=answer.queued,
        registered_nodes=numbers.total_ffmpeg_nodes if numbers else 0,
        observed_nodes=answer.observed_nodes,
        requested_nodes=answer.requested_nodes,
        draining_nodes=answer.draining_nodes,
        min_nodes=bounds.min_nodes,
        max_nodes=bounds.max_nodes,
    )
