from edumeet_recording.node.key_frames import ASKS_A_MINUTE, KeyFrameAsks

S = 1_000_000_000
STEP = S // 20


def asked(asks: KeyFrameAsks, begin: float, end: float, key_frames: int) -> list[float]:
    """When it was asked, in seconds."""
    steps = range(round(begin * 20), round(end * 20))
    return [step / 20 for step in steps if asks.due(step * STEP, key_frames)]


def test_the_first_is_asked_for_with_back_off() -> None:
    assert asked(KeyFrameAsks(), 0, 120, 0) == [0.3, 0.9, 2.1, 4.5, 9.3, 18.9, 38.1, 68.1, 98.1]


def test_with_a_key_frame_nothing_is_asked_by_a_timer() -> None:
    asks = KeyFrameAsks()
    assert asked(asks, 0, 1, 0) == [0.3, 0.9]
    assert asked(asks, 1, 600, 1) == []


def test_a_broken_picture_is_asked_for_until_one_comes_within_the_budget() -> None:
    asks = KeyFrameAsks()
    asks.need(1)
    assert asked(asks, 0, 125, 1) == [0, 2, 4, 6, 8, 10, 60, 62, 64, 66, 68, 70, 120, 122, 124]
    assert asked(asks, 125, 300, 2) == []


def test_many_losses_cost_no_more_than_the_budget() -> None:
    asks = KeyFrameAsks()
    count = 0
    for second in range(600):
        asks.need(second + 1)
        count += len(asked(asks, second, second + 1, second + 1))
    assert count == 10 * ASKS_A_MINUTE


def test_one_that_somebody_wants_counts() -> None:
    asks = KeyFrameAsks()
    asks.spend(0)
    asks.need(1)
    assert asked(asks, 0.1, 3, 1) == [2.0]


def test_one_that_was_asked_for_in_vain_is_overdue_until_it_comes() -> None:
    asks = KeyFrameAsks()
    assert not asks.overdue(0, 0)
    asked(asks, 0, 5, 0)
    assert [asks.overdue(step * S, 0) for step in (4, 5)] == [False, True]
    assert not asks.overdue(5 * S, 1)
    asks.need(1)
    asked(asks, 10, 15, 1)
    assert [asks.overdue(step * S, 1) for step in (13, 14)] == [False, True]
    asked(asks, 15, 16, 2)
    assert not asks.overdue(100 * S, 2)
