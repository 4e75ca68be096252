"""Whose turn it is, how long it takes, and who may not even wait."""

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edumeet_recording.domain.queueing import (
    AGING_S,
    LONGEST_RETRY_S,
    UNKNOWN_RETRY_S,
    Quota,
    Use,
    Waiting,
    estimate_s,
    order,
    retry_after_s,
)

NOW = datetime(2026, 11, 22, 12, tzinfo=UTC)


def job(
    name: str, *, tenant: str = "", priority: int = 0, waited_s: float = 0, cost: int = 8, interrupted: bool = False
) -> Waiting:
    return Waiting(name, tenant, priority, NOW - timedelta(seconds=waited_s), cost, interrupted)


def names(*jobs: Waiting, use: dict[str, Use] | None = None) -> str:
    return "".join(each.job_id for each in order(jobs, use or {}, NOW))


def test_interrupted_then_priority_then_age() -> None:
    assert names(job("d"), job("c", waited_s=1), job("b", priority=9), job("a", interrupted=True)) == "abcd"


def test_waiting_counts_as_priority_so_that_nobody_waits_for_ever() -> None:
    assert names(job("b", priority=3, waited_s=1), job("a", waited_s=4 * AGING_S)) == "ab"
    assert names(job("b", priority=9), job("a", waited_s=100 * AGING_S)) == "ab", "the oldest, for no rank is higher"


def test_tenants_take_turns() -> None:
    jobs = [job(f"{n}", tenant="many", waited_s=100 - n) for n in range(3)]
    assert names(*jobs, job("x", tenant="few", waited_s=1), job("y", tenant="few")) == "0x1y2"


def test_who_has_less_of_the_fleet_for_their_share_is_first() -> None:
    jobs = [job("a", tenant="a", waited_s=10), job("b", tenant="b")]
    assert names(*jobs, use={"a": Use(mcpu=80), "b": Use(mcpu=40)}) == "ba"
    assert names(*jobs, use={"a": Use(mcpu=80, share=4), "b": Use(mcpu=40)}) == "ab"


def test_turns_go_on_in_the_next_rank() -> None:
    first, second = job("a", tenant="one", priority=1), job("c", tenant="one", waited_s=9)
    assert names(first, second, job("b", tenant="other")) == "abc", "one has had a turn above"


JOBS = st.lists(
    st.builds(
        job,
        st.uuids().map(str),
        tenant=st.sampled_from(["", "a", "b"]),
        priority=st.integers(0, 9),
        waited_s=st.floats(-10, 10_000),
        cost=st.integers(1, 50),
        interrupted=st.booleans(),
    ),
    max_size=30,
)


@given(JOBS)
def test_everybody_is_in_it_once_and_a_tenants_equals_keep_their_order(jobs: list[Waiting]) -> None:
    ordered = order(jobs, {}, NOW)
    assert sorted(ordered, key=lambda each: each.job_id) == sorted(jobs, key=lambda each: each.job_id)
    interrupted = [each.interrupted for each in ordered]
    assert interrupted == sorted(interrupted, reverse=True)
    for tenant in {each.tenant_id for each in jobs}:
        same = [each.created_at for each in ordered if each.tenant_id == tenant and each.priority == 9]
        fresh = [at for at in same if not any(each.interrupted for each in ordered if each.created_at == at)]
        assert fresh == sorted(fresh)


def test_the_queue_moves_as_fast_as_it_did() -> None:
    assert estimate_s(3, ended=60, over_s=600) == 30
    assert estimate_s(3, ended=0, over_s=600) is None


@pytest.mark.parametrize(("estimate", "seconds"), [(None, UNKNOWN_RETRY_S), (0.0, 1), (2.1, 3), (1e6, LONGEST_RETRY_S)])
def test_when_to_ask_again_is_bounded(estimate: float | None, seconds: int) -> None:
    assert retry_after_s(estimate) == seconds


def test_a_quota_counts_what_waits() -> None:
    quota = Quota(max_active=2, max_queued=1)
    assert quota.exceeded_by(active=1, queued=0) is None
    assert quota.exceeded_by(active=1, queued=1) == "the tenant has 2 recordings and may have 2"
    assert quota.queue_exceeded_by(1) is None
    assert quota.queue_exceeded_by(2) == "no node is free, and the tenant may have 1 recordings wait"
    assert Quota().exceeded_by(10**6, 10**6) is None
    assert Quota().queue_exceeded_by(10**6) is None
