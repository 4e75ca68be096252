from edumeet_recording.bench.failover import Row


def row(**changes: object) -> Row:
    known: dict[str, object] = {"gap_p95_s": 2.0, "most_gap_s": 3.0, "recovered_in_s": 4.0, "most_recovery_s": None}
    return Row(name="fault", recordings=20, lost=0, failures=(), **(known | changes))


def test_what_must_hold_is_said_where_it_does_not() -> None:
    assert row().shortfalls == []
    assert row(gap_p95_s=3.1).shortfalls == ["fault: media is missing for 3.1 s, and 3 s is the most"]
    assert row(most_recovery_s=1.0).shortfalls == ["fault: it took 4.0 s, and 1 s is the most"]
    assert row(gap_p95_s=None).shortfalls == []
