"""The table of transitions: every state is reachable, none is a trap, a refusal changes nothing."""

from edumeet_recording.domain.job import CAPTURING, FINAL, TRANSITIONS, JobSignal, JobStatus, next_status


def reachable(start: JobStatus) -> set[JobStatus]:
    found = {start}
    while True:
        more = {to for (status, _), to in TRANSITIONS.items() if status in found} - found
        if not more:
            return found
        found |= more


def test_every_state_is_reachable_from_pending() -> None:
    assert reachable(JobStatus.PENDING) == set(JobStatus)


def test_every_state_that_is_not_final_leads_to_every_kind_of_end_it_must() -> None:
    for status in set(JobStatus) - FINAL:
        assert FINAL & reachable(status), f"{status} is a trap"


def test_only_late_media_and_a_retry_wake_a_job_that_rests() -> None:
    for status in FINAL:
        waking = {sent for sent in JobSignal if next_status(status, sent) is not None}
        assert waking <= {JobSignal.LATE_MEDIA, JobSignal.RETRY}
    assert all(next_status(JobStatus.CANCELLED, sent) is None for sent in JobSignal)
    assert next_status(JobStatus.COMPLETED, JobSignal.RETRY) is None


def test_every_signal_is_used() -> None:
    assert {sent for _, sent in TRANSITIONS} == set(JobSignal)


def test_stop_is_taken_in_every_state_that_captures() -> None:
    assert all(next_status(status, JobSignal.STOP) is JobStatus.STOPPING for status in CAPTURING)


def test_cancel_is_taken_until_the_end() -> None:
    for status in set(JobStatus) - FINAL:
        assert next_status(status, JobSignal.CANCEL) is JobStatus.CANCELLED


def test_recorded_media_is_never_thrown_away_for_want_of_a_node() -> None:
    assert next_status(JobStatus.RECORDING, JobSignal.CAPTURE_LOST) is JobStatus.INTERRUPTED
    assert next_status(JobStatus.INTERRUPTED, JobSignal.EXPIRED) is JobStatus.STOPPING
