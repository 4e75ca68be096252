"""Who fails often is put aside, longer each time; who does well begins anew."""

from datetime import UTC, datetime, timedelta

from edumeet_recording.domain.quarantine import Conduct, QuarantineLimits, after_failure

LIMITS = QuarantineLimits(failures=3, window_s=600, back_off_s=60)
START = datetime(2026, 11, 22, tzinfo=UTC)


def at(seconds: float) -> datetime:
    return START + timedelta(seconds=seconds)


def failing(*seconds: float, conduct: Conduct = Conduct()) -> Conduct:  # noqa: B008 - a frozen value
    for each in seconds:
        conduct = after_failure(conduct, at(each), LIMITS)
    return conduct


def test_a_few_failures_are_forgiven() -> None:
    assert failing(0, 100).quarantined_until is None
    assert failing(0, 100, 701, 1400).quarantined_until is None


def test_too_many_in_a_window_put_it_aside() -> None:
    assert failing(0, 100, 200).quarantined_until == at(260)


def test_what_fails_at_once_is_one_failure() -> None:
    assert len(failing(0, 1, 2, 3, 4).failures) == 1


def test_the_next_failure_puts_it_aside_for_twice_as_long() -> None:
    aside = failing(0, 100, 200)
    again = after_failure(aside, at(300), LIMITS)
    assert again.quarantined_until == at(300 + 120)
    third = after_failure(again, at(1000), LIMITS)
    assert third.quarantined_until == at(1000 + 240)


def test_a_failure_as_the_last_resort_never_shortens_it() -> None:
    conduct = failing(0, 100, 200, 206, 212, 218, 224)
    assert conduct.quarantined_until == at(224 + 60 * 2**4)


def test_it_never_doubles_beyond_an_hour_and_a_bit() -> None:
    conduct = failing(*(each * 10 for each in range(100)))
    assert conduct.quarantined_until == at(990 + 60 * 2**6)


def test_who_did_well_for_a_window_begins_anew() -> None:
    conduct = after_failure(failing(0, 100, 200), at(260 + 601), LIMITS)
    assert (conduct.quarantines, conduct.quarantined_until) == (0, None)
