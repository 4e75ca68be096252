"""A job from start to its final state, as the database sees it."""

import pytest
from tests.integration.control.conftest import SETTINGS, Service
from tests.integration.control.test_finalizations import done, recorded

from edumeet_recording.control.deadlines import deadline_tick
from edumeet_recording.control.dispatch import dispatch_tick
from edumeet_recording.control.processing import assign_tick
from edumeet_recording.domain.capture import CaptureState
from edumeet_recording.domain.errors import Conflict, InvalidRequest, NoCapacity, NotFound
from edumeet_recording.domain.job import JobStatus, Reason
from edumeet_recording.wire.node_link import CaptureReport, Port


async def test_from_start_to_completed(service: Service) -> None:
    job_id = await recorded(service)
    await assign_tick(service.commands.db, SETTINGS)
    (task,) = (await service.desired()).finalize
    assert [chunk.seq for chunk in task.captures[0].chunks] == [0]
    await service.journal("node-1", done(job_id))
    job = await service.job(job_id)
    assert (job.status, job.file_key) == (JobStatus.COMPLETED, f"recordings/{job_id}/1/recording.mp4")
    assert await service.events(job_id) == [
        "pending",
        "initializing",
        "rtp_forwarding",
        "recording",
        "stopping",
        "processing",
        "completed",
    ]
    assert (await service.desired()).finalize == ()
    assert await service.pool.fetchval("SELECT load_mcpu FROM ffmpeg_nodes") == 0


async def test_every_message_may_come_twice(service: Service) -> None:
    job_id = await recorded(service)
    await assign_tick(service.commands.db, SETTINGS)
    before = await service.events(job_id)
    capture_id = await service.pool.fetchval("SELECT id FROM captures")
    await service.ship(capture_id)
    await service.drain(capture_id)
    await service.commands.stop(job_id, None)
    await service.journal("node-1", done(job_id))
    await service.journal("node-1", done(job_id))
    assert await service.events(job_id) == [*before, "completed"]


async def test_no_node_means_waiting_with_a_reason_that_names_it(service: Service) -> None:
    await service.room_server()
    job_id = await service.start()
    job = await service.job(job_id)
    assert (job.status, job.reason) == (JobStatus.PENDING, Reason.NO_CAPACITY)
    assert job.reason_detail == "no FFmpeg node is registered"
    await service.node()
    await dispatch_tick(service.commands.db, SETTINGS, service.fleet)
    assert (await service.job(job_id)).status is JobStatus.INITIALIZING


async def test_a_full_queue_refuses_and_keeps_nothing(service: Service) -> None:
    await service.room_server()
    for peer in ("a", "b"):
        await service.start(peer_id=peer)
    with pytest.raises(NoCapacity):
        await service.start(peer_id="c")
    assert await service.pool.fetchval("SELECT count(*) FROM recording_jobs") == 2


async def test_idempotency_key(service: Service) -> None:
    await service.room_server()
    first = await service.start(idempotency_key="k")
    assert await service.start(idempotency_key="k") == first
    with pytest.raises(Conflict) as refused:
        await service.start(idempotency_key="k", request_sha256=b"2")
    assert refused.value.code == "idempotency_key_reused"
    assert await service.start(idempotency_key="k", tenant_id="other", peer_id="p") != first


async def test_a_peer_is_recorded_once_unless_asked_otherwise(service: Service) -> None:
    await service.room_server()
    await service.start()
    with pytest.raises(Conflict) as refused:
        await service.start()
    assert refused.value.code == "already_recording"
    await service.start(allow_parallel=True)


async def test_unknown_room_server(service: Service) -> None:
    with pytest.raises(InvalidRequest) as refused:
        await service.start()
    assert (refused.value.code, refused.value.field) == ("unknown_room_server", "roomServerId")


async def test_stop_before_a_node_was_found_cancels(service: Service) -> None:
    await service.room_server()
    job_id = await service.start()
    await service.commands.stop(job_id, None)
    await service.commands.stop(job_id, None)
    job = await service.job(job_id)
    assert (job.status, job.reason) == (JobStatus.CANCELLED, Reason.STOPPED_BEFORE_START)


async def test_other_tenants_jobs_do_not_exist(service: Service) -> None:
    await service.room_server()
    job_id = await service.start(tenant_id="one")
    for command in (service.commands.stop, service.commands.cancel, service.commands.delete):
        with pytest.raises(NotFound):
            await command(job_id, "two")
    await service.commands.stop(job_id, "one")


async def test_stop_without_media_fails_with_no_media(service: Service) -> None:
    await service.room_server()
    await service.node()
    job_id = await service.start()
    capture_id = await service.prepare()
    await service.commands.stop(job_id, None)
    assert (await service.desired()).captures == ()
    await service.drain(capture_id)
    job = await service.job(job_id)
    assert (job.status, job.reason) == (JobStatus.FAILED, Reason.NO_MEDIA)


async def test_a_node_that_opens_no_ports_loses_the_job_to_another(service: Service) -> None:
    await service.room_server()
    await service.node("node-1")
    job_id = await service.start()
    await service.node("node-2")
    await service.pool.execute("UPDATE captures SET created_at = created_at - interval '1 minute'")
    await service.captures.late_tick()
    job = await service.job(job_id)
    assert (job.status, job.reason, job.attempts) == (JobStatus.PENDING, Reason.NODE_UNREACHABLE, 1)
    await service.pool.execute("UPDATE recording_jobs SET not_before = NULL")
    await dispatch_tick(service.commands.db, SETTINGS, service.fleet)
    assert [capture.epoch for capture in (await service.desired("node-2")).captures] == [2]


async def test_a_dead_node_interrupts_and_another_takes_over(service: Service) -> None:
    await service.room_server()
    await service.node("node-1")
    job_id = await service.start()
    old = await service.receive("node-1")
    await service.node("node-2")
    await service.pool.execute("UPDATE ffmpeg_nodes SET is_healthy = false WHERE id = 'node-1'")
    await service.captures.node_lost("node-1", "dead")
    assert (await service.job(job_id)).status is JobStatus.INTERRUPTED
    await dispatch_tick(service.commands.db, SETTINGS, service.fleet)
    new = await service.receive("node-2")
    job = await service.job(job_id)
    assert (job.status, job.epoch) == (JobStatus.RECORDING, 2)
    await service.ship(old, "node-1")
    await service.ship(new, "node-2")
    await service.commands.stop(job_id, None)
    await service.drain(new, "node-2")
    await assign_tick(service.commands.db, SETTINGS)
    (task,) = (await service.desired("node-2")).finalize
    assert {capture.epoch for capture in task.captures} == {1, 2}, "an old epoch's media still counts"


async def test_an_old_epoch_can_change_no_state(service: Service) -> None:
    await service.room_server()
    await service.node("node-1")
    job_id = await service.start()
    old = await service.prepare("node-1")
    await service.captures.node_lost("node-1", "dead")
    (capture,) = await service.pool.fetch("SELECT * FROM captures")
    before = await service.events(job_id)
    await service.drain(old)
    assert await service.events(job_id) == before
    assert capture["state"] == "lost"


async def test_deadlines_end_every_state(service: Service) -> None:
    await service.room_server()
    waiting = await service.start(peer_id="waiting")
    await service.node()
    silent = await service.start(peer_id="silent")
    await service.prepare()
    await service.pool.execute("UPDATE recording_jobs SET deadline = deadline - interval '1 day'")
    await deadline_tick(service.commands.db, SETTINGS)
    job = await service.job(waiting)
    assert (job.status, job.reason) == (JobStatus.FAILED, Reason.QUEUE_DEADLINE)
    job = await service.job(silent)
    assert (job.status, job.reason) == (JobStatus.STOPPING, Reason.NO_MEDIA)
    await service.pool.execute("UPDATE recording_jobs SET deadline = deadline - interval '1 day'")
    await deadline_tick(service.commands.db, SETTINGS)
    job = await service.job(silent)
    assert (job.status, job.reason) == (JobStatus.FAILED, Reason.NO_MEDIA)


async def test_max_duration(service: Service) -> None:
    await service.room_server()
    await service.node()
    job_id = await service.start()
    await service.receive()
    await service.pool.execute("UPDATE recording_jobs SET started_at = clock_timestamp() - interval '1 day'")
    await deadline_tick(service.commands.db, SETTINGS)
    job = await service.job(job_id)
    assert (job.status, job.reason) == (JobStatus.STOPPING, Reason.MAX_DURATION)


async def test_delete_only_what_has_ended(service: Service) -> None:
    await service.room_server()
    job_id = await service.start()
    with pytest.raises(Conflict):
        await service.commands.delete(job_id, None)
    await service.commands.stop(job_id, None)
    await service.commands.delete(job_id, None)
    with pytest.raises(NotFound):
        await service.commands.delete(job_id, None)


async def test_what_is_under_legal_hold_is_neither_cancelled_nor_deleted(service: Service) -> None:
    await service.room_server()
    job_id = await service.start()
    for _ in range(2):
        await service.commands.hold(job_id, None, held=True, by="the archive")
    with pytest.raises(Conflict) as refused:
        await service.commands.cancel(job_id, None)
    assert refused.value.code == "legal_hold"
    await service.commands.stop(job_id, None)
    with pytest.raises(Conflict) as refused:
        await service.commands.delete(job_id, None)
    assert refused.value.code == "legal_hold"
    await service.commands.hold(job_id, None, held=False, by="the archive")
    await service.commands.delete(job_id, None)
    with pytest.raises(NotFound):
        await service.commands.hold(job_id, None, held=True, by="the archive")
    assert (await service.events(job_id)).count("legal_hold") == 1


async def test_two_replicas_cannot_oversell_a_node(service: Service) -> None:
    await service.room_server()
    await service.node(cores=0.01)
    assert (await service.job(await service.start(peer_id="first"))).status is JobStatus.INITIALIZING
    second = await service.job(await service.start(peer_id="second"))
    assert second.status is JobStatus.PENDING
    assert "milli-cores free" in (second.reason_detail or "")


async def test_a_living_node_cannot_be_taken_over(service: Service) -> None:
    await service.node()
    with pytest.raises(Conflict) as refused:
        await service.node()
    assert refused.value.code == "node_alive"


async def test_what_a_node_says_of_a_cancelled_job_is_no_event(service: Service) -> None:
    await service.room_server()
    await service.node()
    job_id = await service.start()
    (capture,) = (await service.desired()).captures
    await service.commands.cancel(job_id, None)
    await service.captures.report(
        "node-1",
        CaptureReport(
            capture_id=capture.capture_id,
            epoch=capture.epoch,
            state=CaptureState.PREPARED,
            ip="127.0.0.1",
            ports=(Port(index=0, port=40000, rtcp_port=40001),),
        ),
    )
    assert (await service.events(job_id))[-1] == "cancelled"
