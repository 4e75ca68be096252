"""Every state of a job that can last too long ends, with a reason."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from edumeet_recording.domain.codecs import Container
from edumeet_recording.domain.deadlines import Heard, Limits, deadline_after, due, grace
from edumeet_recording.domain.job import FINAL, JobSignal, JobStatus, Reason, accepted, next_status
from edumeet_recording.domain.price import Price
from edumeet_recording.domain.request import JobOptions, NewJob

NOW = datetime(2026, 1, 1, tzinfo=UTC)
LIMITS = Limits(600, 60, 3600, 43200, 3600, 300, 120)
REQUEST = NewJob(
    tenant_id=None,
    room_server_id="r",
    room_id="room",
    peer_id="peer",
    peer_info={},
    rtp_streams=(),
    options=JobOptions(Container.MP4),
    requester_info={},
    requested_by=None,
    forwarding="room-server",
    priority=0,
    allow_parallel=False,
    allowed_regions=None,
    idempotency_key=None,
    request_sha256=b"",
)
JOB = accepted(REQUEST, job_id="j", region="eu", price=Price(8), allowed_regions=None, deadline=NOW, now=NOW)
SILENT = Heard()
LATER = timedelta(seconds=1)


@pytest.mark.parametrize(
    ("status", "reason"),
    [
        (JobStatus.PENDING, Reason.QUEUE_DEADLINE),
        (JobStatus.INITIALIZING, Reason.NO_MEDIA),
        (JobStatus.INTERRUPTED, Reason.NODE_LOST),
        (JobStatus.STOPPING, Reason.DRAIN_DEADLINE),
    ],
)
def test_a_state_ends_at_its_deadline_and_the_signal_is_taken(status: JobStatus, reason: Reason) -> None:
    job = replace(JOB, status=status)
    assert due(job, SILENT, NOW - LATER, LIMITS) is None
    verdict = due(job, SILENT, NOW, LIMITS)
    assert verdict is not None
    assert verdict.reason is reason
    assert next_status(status, verdict.signal) is not None


@pytest.mark.parametrize("status", JobStatus)
def test_which_states_have_a_deadline(status: JobStatus) -> None:
    unlimited = {*FINAL, JobStatus.RECORDING}
    assert (deadline_after(status, NOW, LIMITS) is None) == (status in unlimited)


@pytest.mark.parametrize("status", sorted({*FINAL, JobStatus.PROCESSING}))
def test_nothing_is_due_where_there_is_no_deadline(status: JobStatus) -> None:
    assert due(replace(JOB, status=status), SILENT, NOW + LATER, LIMITS) is None
    assert due(replace(JOB, status=JobStatus.PENDING, deadline=None), SILENT, NOW, LIMITS) is None


def test_the_reason_of_a_wait_is_kept_at_its_end() -> None:
    verdict = due(replace(JOB, reason_detail="node a: draining"), SILENT, NOW, LIMITS)
    assert verdict is not None
    assert verdict.detail.endswith("node a: draining")


def test_a_room_server_that_could_not_be_told_is_the_reason() -> None:
    job = replace(JOB, status=JobStatus.INITIALIZING, reason="room_server_refused", reason_detail="no such peer")
    verdict = due(job, SILENT, NOW, LIMITS)
    assert verdict is not None
    assert (verdict.reason, verdict.detail) == (Reason.ROOM_SERVER_REFUSED, "no such peer")


def test_recording_ends_at_the_shorter_of_both_limits() -> None:
    job = replace(JOB, status=JobStatus.RECORDING, started_at=NOW, options=JobOptions(Container.MP4, max_duration_s=10))
    assert due(job, Heard(NOW), NOW + timedelta(seconds=9), LIMITS) is None
    verdict = due(job, Heard(NOW), NOW + timedelta(seconds=10), LIMITS)
    assert verdict is not None
    assert (verdict.signal, verdict.reason) == (JobSignal.STOP, Reason.MAX_DURATION)
    greedy = replace(job, options=JobOptions(Container.MP4, max_duration_s=1e9))
    assert due(greedy, Heard(NOW + timedelta(seconds=43200)), NOW + timedelta(seconds=43200), LIMITS) is not None


def test_recording_ends_when_media_has() -> None:
    job = replace(JOB, status=JobStatus.RECORDING, started_at=NOW)
    assert due(job, SILENT, NOW + timedelta(seconds=3600), LIMITS) is None
    verdict = due(job, Heard(NOW), NOW + timedelta(seconds=3600), LIMITS)
    assert verdict is not None
    assert (verdict.signal, verdict.reason) == (JobSignal.STOP, Reason.MEDIA_ENDED)


def test_a_recording_whose_room_server_is_lost_waits_for_it_and_ends() -> None:
    job = replace(JOB, status=JobStatus.RECORDING, started_at=NOW, reason=Reason.ROOM_SERVER_LOST, reason_detail="dead")
    grace = timedelta(seconds=LIMITS.room_server_grace_s)
    heard = Heard(last_packet_at=NOW - LATER, room_lost_at=NOW)
    assert due(job, heard, NOW + grace - LATER, LIMITS) is None
    verdict = due(job, heard, NOW + grace, LIMITS)
    assert verdict is not None
    assert (verdict.signal, verdict.reason) == (JobSignal.STOP, Reason.ROOM_SERVER_LOST)
    assert verdict.detail.endswith("dead")


def test_who_still_sends_is_not_lost() -> None:
    job = replace(JOB, status=JobStatus.RECORDING, started_at=NOW, reason=Reason.ROOM_SERVER_LOST)
    grace = timedelta(seconds=LIMITS.room_server_grace_s)
    assert due(job, Heard(last_packet_at=NOW + LATER, room_lost_at=NOW), NOW + grace, LIMITS) is None
    assert due(job, Heard(room_lost_at=None), NOW + grace, LIMITS) is None
    assert due(replace(job, reason=None), Heard(room_lost_at=NOW), NOW + grace, LIMITS) is None


def test_after_an_absence_nothing_is_due_for_half_a_minute_or_the_shortest_limit() -> None:
    assert grace(replace(LIMITS, queue_deadline_s=7)) == timedelta(seconds=7)
    assert grace(Limits(600, 600, 600, 600, 600, 600, 600)) == timedelta(seconds=30)
