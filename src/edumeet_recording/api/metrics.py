"""The fleet's numbers: now, in the past, and for Prometheus."""

from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime, timedelta
from typing import Annotated

from fastapi import APIRouter, Query
from prometheus_client import REGISTRY, CollectorRegistry, generate_latest
from prometheus_client.core import GaugeMetricFamily
from prometheus_client.exposition import CONTENT_TYPE_PLAIN_0_0_4
from starlette.responses import Response

from edumeet_recording.api.deps import Deps, MetricsReader
from edumeet_recording.domain.errors import InvalidRequest
from edumeet_recording.domain.scaling import Evaluation
from edumeet_recording.store import conduct, views
from edumeet_recording.store.db import db_now
from edumeet_recording.wire.http import MetricsQuery
from edumeet_recording.wire.views import Metrics, MetricsHistory

DEFAULT_SPAN = timedelta(hours=1)

_GAUGES = {
    "room_servers": ("total_room_servers", "Registered room servers."),
    "room_servers_healthy": ("healthy_room_servers", "Room servers that answer."),
    "ffmpeg_nodes": ("total_ffmpeg_nodes", "Registered FFmpeg nodes."),
    "ffmpeg_nodes_healthy": ("healthy_ffmpeg_nodes", "FFmpeg nodes with a fresh heartbeat."),
    "recordings_active": ("active_recordings", "Recordings between placement and the end of their capture."),
    "recordings_queued": ("queue_length", "Recordings that wait for a node."),
    "capacity_millicores": ("total_capacity", "Milli-cores of healthy nodes that recordings may be promised."),
    "load_millicores": ("current_load", "Milli-cores that are promised to recordings."),
    "demand_millicores": ("demand", "Milli-cores that recordings of the region take, or wait for."),
}
_SCALING_GAUGES = {
    "scaling_desired_nodes": ("desired_nodes", "FFmpeg nodes that there should be."),
    "scaling_requested_nodes": ("requested_nodes", "FFmpeg nodes that were asked for and have not come yet."),
    "scaling_observed_nodes": ("observed_nodes", "FFmpeg nodes that take recordings."),
    "scaling_needed_millicores": ("needed_mcpu", "Capacity for what is expected, at the target utilisation."),
    "scaling_at_max": ("is_at_max", "1 where more nodes are needed than the policy permits."),
}

router = APIRouter(tags=["metrics"])


@router.get("/api/metrics")
async def metrics_now(deps: Deps, caller: MetricsReader) -> Metrics:  # noqa: ARG001 - the scope is the check
    """The present numbers, in all and by region."""
    async with deps.reading() as conn:
        return await views.metrics_now(conn)


@router.get("/api/metrics/history")
async def metrics_history(
    query: Annotated[MetricsQuery, Query()],
    deps: Deps,
    caller: MetricsReader,  # noqa: ARG001 - the scope is the check
) -> MetricsHistory:
    """Past numbers, oldest first, as they were written or in steps."""
    async with deps.reading() as conn:
        until = query.until or await db_now(conn)
        since = query.since or until - DEFAULT_SPAN
        _check_span(query, since, until)
        if query.step is None:
            rows = await views.metrics_between(conn, since, until, most=query.limit)
        else:
            step = timedelta(seconds=query.step)
            rows = await views.metrics_in_steps(conn, since, until, step=step, aggregate=query.agg or "avg")
    return MetricsHistory(items=tuple(rows))


def _check_span(query: MetricsQuery, since: datetime, until: datetime) -> None:
    if since > until:
        raise InvalidRequest("is after to", code="validation_error", field="from")
    if query.step is None and query.agg is not None:
        raise InvalidRequest("needs step", code="validation_error", field="agg")
    if query.step is not None and (until - since).total_seconds() > query.step * query.limit:
        raise InvalidRequest(f"makes more than {query.limit} steps", code="validation_error", field="step")


@router.get("/metrics", response_class=Response, responses={200: {"content": {"text/plain": {}}}})
async def prometheus(deps: Deps, caller: MetricsReader) -> Response:  # noqa: ARG001 - the scope is the check
    """The present numbers by region and those of this process, in Prometheus' text format.

    `edumeet_recording_scaling_desired_nodes` is what an outside scaler should follow.
    """
    answers = await deps.autoscaler.evaluate()
    async with deps.reading() as conn:
        now = await views.metrics_now(conn)
        quarantined = await conduct.quarantined_by_region(conn, now.timestamp)
    fleet = CollectorRegistry()
    fleet.register(_Fleet(now, quarantined, answers))
    return Response(generate_latest(fleet) + generate_latest(REGISTRY), media_type=CONTENT_TYPE_PLAIN_0_0_4)


class _Fleet:
    """The numbers of one moment: made anew for each scrape, so that a region that is gone leaves no stale line."""

    def __init__(self, now: Metrics, quarantined: Mapping[str, int], answers: Sequence[Evaluation]) -> None:
        self._now, self._quarantined, self._answers = now, quarantined, answers

    def collect(self) -> Iterator[GaugeMetricFamily]:
        """One gauge a number, labelled by region."""
        for name, (field, explanation) in _GAUGES.items():
            gauge = GaugeMetricFamily(f"edumeet_recording_{name}", explanation, labels=["region"])
            for region, numbers in self._now.regional_metrics.items():
                gauge.add_metric([region], getattr(numbers, field))
            yield gauge
        aside = GaugeMetricFamily(
            "edumeet_recording_ffmpeg_nodes_quarantined", "FFmpeg nodes put aside: they fail.", labels=["region"]
        )
        for region in self._now.regional_metrics:
            aside.add_metric([region], self._quarantined.get(region, 0))
        yield aside
        for name, (field, explanation) in _SCALING_GAUGES.items():
            gauge = GaugeMetricFamily(f"edumeet_recording_{name}", explanation, labels=["region"])
            for answer in self._answers:
                gauge.add_metric([answer.region], float(getattr(answer, field)))
            yield gauge
