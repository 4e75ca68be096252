"""What the fleet's figures are held to."""

from edumeet_recording.bench.fleet import AT_LEAST, AT_MOST, shortfalls


def test_figures_at_their_goals_are_good_enough() -> None:
    assert shortfalls(AT_LEAST | AT_MOST) == []


def test_a_goal_is_missed_by_being_worse_or_not_measured() -> None:
    worse = AT_LEAST | AT_MOST | {"starts_per_s": 399.0, "start_p99_ms": float("nan")}
    del worse["watchers_cpu"]
    assert [each.split()[0] for each in shortfalls(worse)] == ["starts_per_s", "start_p99_ms", "watchers_cpu"]
