"""What people read of the fleet: numbers with their units, steps in words, alerts with their state."""

from datetime import UTC, datetime

from rich.console import Console
from rich.table import Table

from edumeet_recording.cli.scaling_tables import alerts_table, capacity_table, decisions_table, recommendations_table
from edumeet_recording.domain.alerting import Rule, Severity
from edumeet_recording.domain.forecast import Cause
from edumeet_recording.domain.scaling import Action
from edumeet_recording.wire.scaling import AlertView, Recommendation, RegionCapacity, ScalingStep
from edumeet_recording.wire.views import ScalingEvent

NOON = datetime(2026, 11, 22, 12, tzinfo=UTC)


def text(table: Table) -> str:
    console = Console(width=200)
    with console.capture() as shown:
        console.print(table)
    return shown.get()


def test_capacity() -> None:
    region = RegionCapacity(
        region="eu",
        capacity_mcpu=3200,
        load_mcpu=800,
        demand_mcpu=800,
        utilisation=0.25,
        queue_length=3,
        registered_nodes=2,
        observed_nodes=1,
        requested_nodes=4,
        draining_nodes=0,
        min_nodes=1,
        max_nodes=10,
    )
    empty = region.model_copy(update={"region": "us", "utilisation": None})
    shown = text(capacity_table([region, empty]))
    assert "25%" in shown
    assert "800 mCPU" in shown
    assert "1-10" in shown


def test_recommendations_say_what_is_next() -> None:
    steps = (
        ScalingStep(action=Action.UNDRAIN, reason="trend", detail="", node_ids=("node-1", "node-2")),
        ScalingStep(action=Action.START, reason="trend", detail="", count=3),
    )
    region = Recommendation(
        region="eu",
        desired_nodes=7,
        requested_nodes=0,
        observed_nodes=2,
        draining_nodes=2,
        demand_mcpu=800,
        expected_mcpu=900,
        cause=Cause.TREND,
        needed_mcpu=1000,
        capacity_mcpu=3200,
        queued=0,
        is_at_max=True,
        steps=steps,
    )
    assert "undrain node-1, node-2; start 3" in text(recommendations_table([region]))


def test_decisions_and_alerts() -> None:
    decision = ScalingEvent(id=1, at=NOON, region="eu", action="start", reason="trend", data={"detail": "rising [b]"})
    assert "rising [b]" in text(decisions_table([decision]))
    numbers: dict[str, object] = {"desired": 3, "observed": 1}
    recommended = ScalingEvent(id=2, at=NOON, region="eu", action="recommend", reason="trend", data=numbers)
    assert "nodes desired: 3, there: 1" in text(decisions_table([recommended]))
    alert = AlertView(
        id=1,
        rule=Rule.NO_CAPACITY,
        subject="eu",
        region="eu",
        severity=Severity.CRITICAL,
        detail="3 wait",
        opened_at=NOON,
        seen_at=NOON,
    )
    over = alert.model_copy(update={"recovered_at": NOON, "detail": "4 wait", "severity": Severity.WARNING})
    shown = text(alerts_table([alert, over]))
    assert "no_capacity" in shown
    assert "4 wait" in shown
