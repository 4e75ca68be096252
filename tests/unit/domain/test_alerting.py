"""What operators are told of, and what not."""

from collections import Counter
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from edumeet_recording.domain.alerting import (
    Condition,
    MachineState,
    Missing,
    Rule,
    Severity,
    Situation,
    Waiting,
    conditions,
)
from edumeet_recording.domain.forecast import Cause
from edumeet_recording.domain.scaling import Evaluation

NOW = datetime(2026, 11, 23, 8, tzinfo=UTC)
WELL = MachineState("node-1", "eu", is_healthy=True, heard_at=NOW)
DEAD = MachineState(
    "node-2", "eu", is_healthy=False, heard_at=NOW - timedelta(minutes=1), health_reason="dead: no heartbeats"
)
ANSWER = Evaluation("eu", 3, 0, 3, 0, 0, 0, Cause.DEMAND, 9999, 3000, 0, is_at_max=True, steps=())


def of_nodes(*nodes: MachineState) -> Situation:
    return Situation(registered=Counter(node.region for node in nodes), nodes=nodes)


def told(situation: Situation) -> list[tuple[Rule, str]]:
    return [(each.rule, each.subject) for each in conditions(situation, NOW)]


def test_when_all_is_well_nobody_is_told() -> None:
    recent = [Waiting("eu", 3, NOW)]
    quiet = replace(of_nodes(WELL), waiting=recent, evaluations=[replace(ANSWER, is_at_max=False)])
    assert conditions(quiet, NOW) == []


def test_waiting_recordings_need_somebody_after_a_while() -> None:
    waiting = Waiting("eu", 3, NOW - timedelta(seconds=40))
    assert conditions(Situation(waiting=[waiting]), NOW) == [
        Condition(
            Rule.NO_CAPACITY,
            "eu",
            "eu",
            "3 recordings wait for a node in eu, the first for 40 s",
            Severity.CRITICAL,
        )
    ]


def test_a_lost_node_is_named_with_its_evidence() -> None:
    (found,) = conditions(of_nodes(WELL, DEAD), NOW)
    assert (found.rule, found.subject, found.severity) == (Rule.NODE_LOST, "node-2", Severity.WARNING)
    assert found.detail == "FFmpeg node node-2: dead: no heartbeats"


@pytest.mark.parametrize("heard_at", [None, NOW - timedelta(seconds=2)])
def test_one_that_never_came_or_is_only_suspect_is_not_lost(heard_at: datetime | None) -> None:
    assert told(of_nodes(WELL, replace(DEAD, heard_at=heard_at))) == []


def test_a_lost_region_is_one_alert_and_not_one_a_node() -> None:
    region = of_nodes(DEAD, replace(DEAD, id="node-3"), replace(WELL, region="us"))
    (found,) = conditions(region, NOW)
    assert (found.rule, found.subject) == (Rule.REGION_LOST, "eu")
    assert "none of the 2 FFmpeg nodes" in found.detail


def test_a_region_of_which_a_node_is_well_is_not_lost() -> None:
    """The one that is well need not be among those that are looked at."""
    assert told(Situation(registered={"eu": 2}, nodes=[DEAD])) == [(Rule.NODE_LOST, "node-2")]


def test_a_node_that_is_put_aside_or_full_is_told() -> None:
    aside = replace(WELL, quarantine="3 failures in 10 minutes")
    assert told(of_nodes(aside)) == [(Rule.NODE_QUARANTINED, "node-1")]
    filling, full = replace(WELL, disk_used_percent=83.0), replace(WELL, refusal="the spool's disk is 91 % full")
    (warned,) = conditions(of_nodes(filling), NOW)
    (critical,) = conditions(of_nodes(full), NOW)
    assert (warned.rule, warned.severity) == (Rule.DISK_FULL, Severity.WARNING)
    assert (critical.rule, critical.severity) == (Rule.DISK_FULL, Severity.CRITICAL)
    assert "83 %" in warned.detail


def test_a_silent_room_server_is_told() -> None:
    silent = replace(DEAD, id="room-1", health_reason=None)
    (found,) = conditions(Situation(room_servers=[silent, replace(WELL, id="room-2")]), NOW)
    assert (found.rule, found.detail) == (Rule.ROOM_SERVER_LOST, "room server room-1: silent")


def test_the_autoscaler_tells_where_it_cannot_do_more() -> None:
    situation = Situation(evaluations=[ANSWER], missing=[Missing("us", 2)], storage="no answer", provider="refused")
    assert told(situation) == [
        (Rule.SCALING_AT_MAX, "eu"),
        (Rule.NODE_NEVER_CAME, "us"),
        (Rule.STORAGE_UNREACHABLE, "storage"),
        (Rule.PROVIDER_UNREACHABLE, "provider"),
    ]
