"""Files: who makes them, what becomes of them where that fails, and that late media makes them anew."""

from datetime import timedelta

import pytest
from tests.integration.control.conftest import SETTINGS, Service

from edumeet_recording.control.deadlines import deadline_tick
from edumeet_recording.control.node_links import apply_heartbeat
from edumeet_recording.control.processing import FINALIZERS_LOST_AT_MOST, assign_tick, late_media_tick
from edumeet_recording.domain.errors import Conflict
from edumeet_recording.domain.job import Job, JobStatus, Reason
from edumeet_recording.wire.node_link import FinalizeDone, FinalizeFailed, Heartbeat, NodeLoad


def done(job_id: str, attempt: int = 1) -> FinalizeDone:
    return FinalizeDone(
        job_id=job_id,
        attempt=attempt,
        file_key=f"recordings/{job_id}/{attempt}/recording.mp4",
        report_key=f"recordings/{job_id}/{attempt}/report.json",
        bytes=1000,
        sha256="ab",
        duration_s=12.5,
        started_at=1.0,
        ended_at=13.5,
        streams=(),
        warnings=("quiet",),
        report={"gaps": []},
    )


async def recorded(service: Service) -> str:
    """A job with a chunk on tape, stopped and drained."""
    await service.room_server()
    await service.node()
    job_id = await service.start()
    capture_id = await service.receive()
    await service.ship(capture_id)
    await service.commands.stop(job_id, None)
    await service.drain(capture_id)
    return job_id


async def test_many_files_are_given_to_nodes_at_once_one_for_each_slot(service: Service) -> None:
    await service.room_server()
    for number in range(2):
        await service.node(f"node-{number}", cores=1, slots=2)
    job_ids = [await service.start(peer_id=f"peer-{number}") for number in range(5)]
    for node_id in ("node-0", "node-1"):
        for capture in (await service.desired(node_id)).captures:
            await service.receive(node_id, capture.capture_id)
            await service.ship(capture.capture_id, node_id)
    for job_id in job_ids:
        await service.commands.stop(job_id, None)
    for row in await service.pool.fetch("SELECT id, node_id FROM captures"):
        await service.drain(row["id"], row["node_id"])
    await assign_tick(service.commands.db, SETTINGS)
    given = [task for number in range(2) for task in (await service.desired(f"node-{number}")).finalize]
    assert [len((await service.desired(f"node-{number}")).finalize) for number in range(2)] == [2, 2]
    assert all(len(task.captures) == 1 and task.attempt == 1 for task in given)
    rows = await service.pool.fetch("SELECT id FROM recording_jobs WHERE processing_node_id IS NULL")
    assert [row["id"] for row in rows] == [job_ids[-1]], "the first are served first"


async def test_the_finalizer_is_told_where_nobody_recorded_until_the_stop(service: Service) -> None:
    whole = await recorded(service)
    lost = await service.start(peer_id="unlucky")
    await service.ship(await service.receive())
    await service.captures.node_lost("node-1", "dead")
    await service.node("node-2")
    await service.commands.stop(lost, None)
    await assign_tick(service.commands.db, SETTINGS)
    tasks = [task for node_id in ("node-1", "node-2") for task in (await service.desired(node_id)).finalize]
    assert {task.job_id: task.cut_short for task in tasks} == {whole: False, lost: True}
    for task in tasks:
        stopped_at = (await service.job(task.job_id)).stopped_at
        assert stopped_at is not None
        assert task.stopped_at == stopped_at.timestamp()


async def test_failed_attempts_are_repeated_and_then_given_up(service: Service) -> None:
    job_id = await recorded(service)
    for attempt in range(1, SETTINGS.processing_attempts + 1):
        await assign_tick(service.commands.db, SETTINGS)
        assert (await service.desired()).finalize[0].attempt == attempt
        await service.journal("node-1", FinalizeFailed(job_id=job_id, attempt=attempt, error="boom"))
        await service.pool.execute("UPDATE recording_jobs SET not_before = NULL")
    job = await service.job(job_id)
    assert (job.status, job.reason, job.reason_detail) == (JobStatus.FAILED, Reason.FINALIZE_ERROR, "boom")


async def test_a_storage_that_is_away_costs_no_attempt_until_the_deadline(service: Service) -> None:
    job_id = await recorded(service)

    async def fail(attempt: int) -> Job:
        await assign_tick(service.commands.db, SETTINGS)
        failed = FinalizeFailed(job_id=job_id, attempt=attempt, error="the storage is away", unavailable=True)
        await service.journal("node-1", failed)
        await service.pool.execute("UPDATE recording_jobs SET not_before = NULL")
        return await service.job(job_id)

    for_free, counted = 5, SETTINGS.processing_attempts
    for attempt in range(for_free):
        assert (await fail(1 + attempt)).status is JobStatus.PROCESSING
    await service.pool.execute("UPDATE recording_jobs SET deadline = clock_timestamp() - interval '1 s'")
    for attempt in range(counted - 1):
        assert (await fail(for_free + 1 + attempt)).status is JobStatus.PROCESSING
    job = await fail(for_free + counted)
    assert (job.status, job.reason_detail) == (JobStatus.FAILED, "the storage is away")


async def test_a_finalizer_that_dies_is_replaced_and_its_late_result_ignored(service: Service) -> None:
    job_id = await recorded(service)
    await service.node("node-2")
    await assign_tick(service.commands.db, SETTINGS)
    await service.pool.execute("UPDATE ffmpeg_nodes SET is_healthy = false WHERE id = 'node-1'")
    await service.pool.execute(
        "UPDATE recording_jobs SET processing_lease_until = processing_lease_until - $1::interval", timedelta(hours=1)
    )
    await assign_tick(service.commands.db, SETTINGS)
    assert (await service.desired("node-1")).finalize == ()
    assert (await service.desired("node-2")).finalize[0].attempt == 2
    await service.journal("node-1", done(job_id, 1))
    assert (await service.job(job_id)).status is JobStatus.PROCESSING
    await service.journal("node-2", done(job_id, 2))
    assert (await service.job(job_id)).file_key == f"recordings/{job_id}/2/recording.mp4"


async def test_media_that_nobody_had_heard_of_wakes_a_job_that_was_stopped_while_it_waited(service: Service) -> None:
    """Its node got the first packet, and was lost before it could say so."""
    await service.room_server()
    await service.node()
    job_id = await service.start()
    capture_id = await service.prepare()
    await service.captures.lost(capture_id, Reason.NODE_LOST, "it is dead")
    assert (await service.job(job_id)).status is JobStatus.PENDING
    await service.commands.stop(job_id, None)
    job = await service.job(job_id)
    assert (job.status, job.reason) == (JobStatus.FAILED, Reason.NO_MEDIA)
    await service.ship(capture_id)
    await calm_down(service)
    assert (await service.job(job_id)).status is JobStatus.PROCESSING


async def test_media_that_came_while_a_job_waited_is_not_forgotten_when_it_ends(service: Service) -> None:
    await service.room_server()
    await service.node()
    job_id = await service.start()
    capture_id = await service.prepare()
    await service.captures.lost(capture_id, Reason.NODE_LOST, "it is dead")
    await service.ship(capture_id)
    await service.pool.execute("UPDATE recording_jobs SET deadline = clock_timestamp() - interval '1 s'")
    await deadline_tick(service.commands.db, SETTINGS)
    assert (await service.job(job_id)).reason == Reason.QUEUE_DEADLINE
    await calm_down(service)
    assert (await service.job(job_id)).status is JobStatus.PROCESSING


async def lease_runs_out(service: Service) -> None:
    await service.pool.execute("UPDATE recording_jobs SET processing_lease_until = clock_timestamp() - interval '1 s'")


async def beat(service: Service, node_id: str = "node-1") -> None:
    await apply_heartbeat(service.captures, node_id, Heartbeat(load=NodeLoad()))


async def test_lost_finalizers_cost_no_attempt_but_not_without_end(service: Service) -> None:
    """A node may end by any cause, also by the job itself, as where its memory does not suffice."""
    job_id = await recorded(service)
    for lost in range(FINALIZERS_LOST_AT_MOST):
        await assign_tick(service.commands.db, SETTINGS)
        assert (await service.desired()).finalize[0].attempt == lost + 1
        job = await service.job(job_id)
        assert (job.attempts, job.finalizers_lost) == (1, lost)
        await lease_runs_out(service)
        await beat(service)
    await assign_tick(service.commands.db, SETTINGS)
    job = await service.job(job_id)
    assert (job.status, job.reason) == (JobStatus.FAILED, Reason.FINALIZE_ERROR)
    assert job.reason_detail is not None
    assert "gave no sign of life" in job.reason_detail
    assert (await service.events(job_id)).count("finalize_retry") == FINALIZERS_LOST_AT_MOST - 1
    assert (await service.desired()).finalize == ()


async def test_a_node_that_ended_in_the_midst_of_it_is_replaced_by_another(service: Service) -> None:
    job_id = await recorded(service)
    await assign_tick(service.commands.db, SETTINGS)
    await service.node("node-2")
    failed = FinalizeFailed(job_id=job_id, attempt=1, error="it ended", finalizer_lost=True)
    await service.journal("node-1", failed)
    await service.journal("node-1", failed)
    await service.pool.execute("UPDATE recording_jobs SET not_before = NULL")
    await assign_tick(service.commands.db, SETTINGS)
    assert (await service.desired("node-2")).finalize[0].attempt == 2
    job = await service.job(job_id)
    assert (job.attempts, job.finalizers_lost, job.finalizers_tried) == (1, 1, ("node-1",))


async def test_a_lease_that_nobody_could_renew_is_not_taken_for_a_finalizers_end(service: Service) -> None:
    """After an outage the leader may look before any node was heard."""
    await recorded(service)
    await assign_tick(service.commands.db, SETTINGS)
    await service.pool.execute("UPDATE ffmpeg_nodes SET last_heartbeat = last_heartbeat - interval '1 min'")
    await lease_runs_out(service)
    await assign_tick(service.commands.db, SETTINGS)
    assert (await service.desired()).finalize[0].attempt == 1
    await beat(service)
    await assign_tick(service.commands.db, SETTINGS)
    assert (await service.desired()).finalize[0].attempt == 2


async def completed(service: Service) -> str:
    job_id = await recorded(service)
    await assign_tick(service.commands.db, SETTINGS)
    await service.journal("node-1", done(job_id))
    return job_id


async def calm_down(service: Service) -> None:
    await service.pool.execute("UPDATE recording_jobs SET late_media_at = late_media_at - interval '1 hour'")
    await late_media_tick(service.commands.db, SETTINGS)


async def test_media_that_comes_after_the_file_makes_it_anew(service: Service) -> None:
    job_id = await completed(service)
    capture_id = await service.pool.fetchval("SELECT id FROM captures")
    await calm_down(service)
    assert (await service.job(job_id)).status is JobStatus.COMPLETED
    await service.ship(capture_id, seq=1)
    await calm_down(service)
    assert (await service.job(job_id)).status is JobStatus.PROCESSING
    await assign_tick(service.commands.db, SETTINGS)
    (task,) = (await service.desired()).finalize
    assert (task.attempt, [chunk.seq for chunk in task.captures[0].chunks]) == (2, [0, 1])
    await service.journal("node-1", done(job_id, 2))
    job = await service.job(job_id)
    assert (job.status, job.file_key) == (JobStatus.COMPLETED, f"recordings/{job_id}/2/recording.mp4")
    assert await service.pool.fetchval("SELECT file_version FROM recording_jobs") == 2
    await calm_down(service)
    assert (await service.job(job_id)).status is JobStatus.COMPLETED


async def test_a_file_stands_where_it_cannot_be_made_anew(service: Service) -> None:
    job_id = await completed(service)
    await service.ship(await service.pool.fetchval("SELECT id FROM captures"), seq=1)
    await calm_down(service)
    await assign_tick(service.commands.db, SETTINGS)
    await service.journal("node-1", FinalizeFailed(job_id=job_id, attempt=2, error="boom", retryable=False))
    job = await service.job(job_id)
    assert (job.status, job.file_key) == (JobStatus.COMPLETED, f"recordings/{job_id}/1/recording.mp4")


async def test_media_that_comes_after_no_media_makes_a_file(service: Service) -> None:
    await service.room_server()
    await service.node()
    job_id = await service.start()
    capture_id = await service.prepare()
    await service.captures.node_lost("node-1", "cut off")
    await service.pool.execute("UPDATE recording_jobs SET status = 'failed', ended_at = updated_at")
    await service.ship(capture_id)
    await calm_down(service)
    assert (await service.job(job_id)).status is JobStatus.PROCESSING


async def test_a_failed_job_is_retried_from_its_tape(service: Service) -> None:
    job_id = await recorded(service)
    with pytest.raises(Conflict) as refused:
        await service.commands.retry(job_id, None)
    assert refused.value.code == "not_failed"
    await assign_tick(service.commands.db, SETTINGS)
    await service.journal("node-1", FinalizeFailed(job_id=job_id, attempt=1, error="boom", retryable=False))
    await service.commands.retry(job_id, None)
    await assign_tick(service.commands.db, SETTINGS)
    assert (await service.desired()).finalize[0].attempt == 2
    await service.journal("node-1", FinalizeFailed(job_id=job_id, attempt=2, error="boom", retryable=False))
    await service.pool.execute("UPDATE recording_jobs SET tape_deleted_at = updated_at")
    with pytest.raises(Conflict) as refused:
        await service.commands.retry(job_id, None)
    assert refused.value.code == "no_tape"
