"""Links are let go where somebody else has room for them, and not for a few."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edumeet_recording.domain.spreading import excess, share_of


@pytest.mark.parametrize(
    ("mine", "total", "replicas", "let_go"),
    [(0, 0, 1, 0), (5, 5, 1, 0), (2, 2, 2, 1), (4, 4, 2, 2), (3, 5, 2, 0), (105, 200, 2, 0), (120, 200, 2, 20)],
)
def test_shares(mine: int, total: int, replicas: int, let_go: int) -> None:
    assert excess(mine, total, replicas) == let_go


@given(st.lists(st.integers(0, 1000), min_size=1, max_size=9))
def test_nobody_is_left_with_less_than_a_share(links: list[int]) -> None:
    for mine in links:
        let_go = excess(mine, sum(links), len(links))
        assert let_go == 0 or mine - let_go >= sum(links) // len(links)


@given(st.lists(st.integers(0, 1000), min_size=1, max_size=9), st.integers(1, 3))
def test_who_joins_gets_no_more_than_a_share(watchers: list[int], joined: int) -> None:
    replicas = len(watchers) + joined
    let_go = [share_of(joined, mine, replicas) for mine in watchers]
    assert sum(let_go) <= sum(watchers) * joined / replicas
    assert sum(let_go) > sum(watchers) * joined / replicas - len(watchers)
