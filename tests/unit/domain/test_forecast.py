"""What is expected, and why: each cause alone, and which of them counts."""

from datetime import UTC, datetime, timedelta

from hypothesis import given
from hypothesis import strategies as st

from edumeet_recording.domain.forecast import DAY, HOUR, WEEK, Cause, Forecast, Sample, forecast, spans

NOW = datetime(2026, 11, 23, 7, 59, tzinfo=UTC)
HORIZON = timedelta(minutes=2)


def at(seconds: float, demand: int, peers: int = 0) -> Sample:
    """A sample `seconds` before now."""
    return Sample(NOW - timedelta(seconds=seconds), demand, peers)


def test_without_a_past_nothing_more_is_expected() -> None:
    assert forecast(at(0, 100), [], HORIZON) == Forecast(100, Cause.DEMAND)


def test_a_rising_line_goes_on() -> None:
    past = [at(60 * minutes, 1000 - 100 * minutes) for minutes in (4, 3, 2, 1)]
    assert forecast(at(0, 1000), past, HORIZON) == Forecast(1200, Cause.TREND)


def test_a_trend_expects_no_more_than_was_seen_to_come() -> None:
    past = [at(seconds, 0) for seconds in (45, 30, 15)]
    assert forecast(at(0, 500), past, timedelta(hours=1)).mcpu == 1000


def test_what_only_rises_has_the_trend_of_its_last_moments() -> None:
    """A lecture begins: minutes were quiet, and since then 100 come in 15 s."""
    quiet = [at(seconds, 100) for seconds in range(285, 90, -15)]
    begun = [at(15 * number, 700 - 100 * number) for number in (6, 5, 4, 3, 2, 1)]
    assert forecast(at(0, 700), [*quiet, *begun], timedelta(seconds=30)) == Forecast(900, Cause.TREND)
    begun[3] = at(45, 300)
    assert forecast(at(0, 700), [*quiet, *begun], timedelta(seconds=30)).mcpu < 800, "it stood still"


def test_a_falling_line_is_not_followed_down() -> None:
    past = [at(60 * minutes, 1000 + 100 * minutes) for minutes in (4, 3, 2, 1)]
    assert forecast(at(0, 1000), past, HORIZON) == Forecast(1000, Cause.DEMAND)


def test_peers_who_come_are_worth_what_peers_were() -> None:
    past = [at(600, 100, peers=50), at(60, 100, peers=50)]
    assert forecast(at(0, 100, peers=200), past, HORIZON) == Forecast(400, Cause.PEERS)
    assert forecast(at(0, 250, peers=200), past, HORIZON) == Forecast(400, Cause.PEERS), "half of them are recorded"


def test_peers_who_came_and_whose_recordings_are_over_are_worth_nothing_more() -> None:
    past = [at(200, 0, peers=0), at(100, 800, peers=80), at(50, 800, peers=80)]
    assert forecast(at(0, 400, peers=80), past, HORIZON).cause is not Cause.PEERS


def test_peers_who_are_told_later_than_their_recordings_are_worth_nothing_more() -> None:
    past = [*(at(seconds, 12) for seconds in (50, 40, 30)), at(20, 12, peers=4), at(10, 16, peers=4)]
    for earlier in ([], [at(60, 0)]):
        assert forecast(at(0, 8, peers=4), [*earlier, *past], HORIZON).cause is not Cause.PEERS


def test_peers_who_came_long_before_their_lecture_are_still_expected() -> None:
    past = [at(2400, 100, peers=50), at(1500, 100, peers=50), at(1200, 100, peers=200), at(60, 100, peers=200)]
    assert forecast(at(0, 100, peers=200), past, HORIZON) == Forecast(400, Cause.PEERS)


def test_who_left_meanwhile_takes_nothing_from_those_who_came() -> None:
    past = [at(2400, 400, peers=200), at(900, 400, peers=200), at(700, 200, peers=100), at(60, 200, peers=200)]
    assert forecast(at(0, 200, peers=200), past, HORIZON) == Forecast(400, Cause.PEERS)


def test_the_share_of_peers_is_that_of_lectures_under_way() -> None:
    """Most of the hour's last samples are of people who wait for the next one to begin."""
    under_way = [at(3500 - 15 * number, 300, peers=100) for number in range(100)]
    gathering = [at(900 - 15 * number, 0, peers=4 * number) for number in range(1, 60)]
    assert forecast(at(0, 0, peers=240), [*under_way, *gathering], HORIZON) == Forecast(720 - 12, Cause.PEERS)


def test_a_moment_in_which_peers_were_not_told_says_nothing_of_their_share() -> None:
    told = [at(3500 - 15 * number, 200, peers=100) for number in range(200)]
    untold = [at(3500 - 15 * number, 200, peers=1) for number in range(200, 215)]
    assert forecast(at(0, 200, peers=100), [*told, *untold], HORIZON) == Forecast(200, Cause.DEMAND)


def test_peers_who_stay_and_are_not_recorded_are_worth_nothing() -> None:
    past = [at(600, 100, peers=50), at(60, 100, peers=50)]
    assert forecast(at(0, 20, peers=50), past, HORIZON) == Forecast(20, Cause.DEMAND)


def test_the_rise_after_the_last_full_hour_comes_again() -> None:
    past = [at(3600 + 15, 100), at(3600 - 30, 100), at(3600 - 90, 700), at(3600 - 300, 5000), at(600, 200)]
    assert forecast(at(0, 200), past, HORIZON) == Forecast(800, Cause.SCHEDULE)


def test_a_week_ago_says_more_than_yesterday() -> None:
    def rise(ago: timedelta, by: int) -> list[Sample]:
        return [Sample(NOW - ago - HORIZON, 0), Sample(NOW - ago + HORIZON / 2, by)]

    sunday, monday = rise(DAY, 50), rise(WEEK, 900)
    assert forecast(at(0, 10), sunday, HORIZON) == Forecast(60, Cause.SCHEDULE)
    assert forecast(at(0, 10), monday + sunday, HORIZON) == Forecast(910, Cause.SCHEDULE)


def test_thinned_history_tells_its_share_of_the_rise() -> None:
    """A row in five minutes is kept of a week ago, and one looks a minute ahead."""
    past = [at(WEEK.total_seconds() + 200, 0), at(WEEK.total_seconds() - 100, 1500)]
    assert forecast(at(0, 10), past, timedelta(minutes=1)) == Forecast(310, Cause.SCHEDULE)


def test_a_gap_in_the_history_says_nothing() -> None:
    only_after = [Sample(NOW - HOUR + HORIZON / 2, 900)]
    assert forecast(at(0, 10), only_after, HORIZON).mcpu == 10


def test_the_spans_hold_all_that_is_looked_at() -> None:
    looked_at = [NOW - HOUR, NOW - DAY, NOW - DAY + HORIZON, NOW - WEEK, NOW - WEEK + HORIZON, NOW - timedelta(hours=3)]
    pieces = spans(NOW, HORIZON, timedelta(hours=3))
    assert all(any(since <= moment <= until for since, until in pieces) for moment in looked_at)


@given(st.lists(st.tuples(st.integers(1, 700_000), st.integers(0, 10**6), st.integers(0, 10**4)), max_size=30))
def test_never_less_than_what_is_there(rows: list[tuple[int, int, int]]) -> None:
    past = sorted((at(ago, demand, peers) for ago, demand, peers in rows), key=lambda each: each.at)
    assert forecast(at(0, 1234, 5), past, HORIZON).mcpu >= 1234
