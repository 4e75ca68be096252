"""Capacity, recommendations, decisions and alerts as tables for people."""

from collections.abc import Iterable

from rich.table import Table
from rich.text import Text

from edumeet_recording.cli.tables import table, time_of
from edumeet_recording.domain.alerting import Severity
from edumeet_recording.wire.scaling import AlertView, Recommendation, RegionCapacity
from edumeet_recording.wire.views import ScalingEvent


def capacity_table(regions: Iterable[RegionCapacity]) -> Table:
    """A row for each region."""
    shown = table("region", "nodes", "on their way", "leaving", "bounds", "demand", "capacity", "utilisation", "queue")
    for each in regions:
        shown.add_row(
            each.region,
            str(each.observed_nodes),
            str(each.requested_nodes),
            str(each.draining_nodes),
            f"{each.min_nodes}-{each.max_nodes}",
            f"{each.demand_mcpu} mCPU",
            f"{each.capacity_mcpu} mCPU",
            "" if each.utilisation is None else f"{each.utilisation:.0%}",
            str(each.queue_length),
        )
    return shown


def recommendations_table(regions: Iterable[Recommendation]) -> Table:
    """A row for each region; its steps in the last column."""
    shown = table("region", "nodes", "desired", "demand", "expected", "because of", "next")
    for each in regions:
        steps = "; ".join(f"{step.action} {', '.join(step.node_ids) or step.count}" for step in each.steps)
        shown.add_row(
            each.region,
            str(each.observed_nodes),
            Text(str(each.desired_nodes), style="yellow" if each.is_at_max else ""),
            f"{each.demand_mcpu} mCPU",
            f"{each.expected_mcpu} mCPU",
            each.cause.value,
            steps,
        )
    return shown


def decisions_table(events: Iterable[ScalingEvent]) -> Table:
    """A row for each decision or alert."""
    shown = table("at", "region", "action", "reason", "")
    for each in events:
        shown.add_row(time_of(each.at), each.region, each.action, each.reason, Text(_told(each)))
    return shown


def _told(event: ScalingEvent) -> str:
    """A step has a sentence; a recommendation, which takes none, its numbers."""
    numbers = event.data
    if "detail" in numbers or "desired" not in numbers:
        return str(numbers.get("detail", ""))
    return f"nodes desired: {numbers['desired']}, there: {numbers['observed']}"


def alerts_table(alerts: Iterable[AlertView]) -> Table:
    """A row for each alert."""
    shown = table("since", "over", "region", "rule", "")
    for each in alerts:
        lasting = "red" if each.severity is Severity.CRITICAL else "yellow"
        shown.add_row(
            time_of(each.opened_at),
            time_of(each.recovered_at),
            each.region,
            Text(each.rule.value, style="" if each.recovered_at else lasting),
            Text(each.detail),
        )
    return shown
