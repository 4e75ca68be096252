"""A node that keeps failing recordings gets no new ones for a while, unless nobody else is there."""

from datetime import timedelta

from tests.integration.control.conftest import Service

from edumeet_recording.control.heartbeats import store_beats
from edumeet_recording.domain.capture import CaptureState
from edumeet_recording.domain.job import Reason
from edumeet_recording.domain.quarantine import ONE_FAILURE_S
from edumeet_recording.store import conduct, views
from edumeet_recording.wire.node_link import CaptureReport, NodeLoad
from edumeet_recording.wire.views import FFmpegNodeView


async def refuse(service: Service, number: int) -> None:
    """Node-1 gets a recording and cannot open ports for it, a while after the last time."""
    await service.pool.execute(
        "UPDATE ffmpeg_nodes SET failures = ARRAY(SELECT at - $1::interval FROM unnest(failures) AS at)",
        timedelta(seconds=ONE_FAILURE_S + 1),
    )
    job_id = await service.start(peer_id=f"peer-{number}")
    for capture in (await service.desired()).captures:
        report = CaptureReport(capture_id=capture.capture_id, epoch=1, state=CaptureState.ASSIGNED, error="no port")
        await service.captures.report("node-1", report)
    assert (await service.job(job_id)).reason == Reason.NODE_REFUSED
    await service.commands.cancel(job_id, None)


async def seen(service: Service) -> FFmpegNodeView:
    async with service.pool.acquire() as conn:
        (node,) = await views.ffmpeg_nodes(conn, ["node-1"])
    assert isinstance(node, FFmpegNodeView)
    return node


async def failing_node(service: Service) -> None:
    await service.room_server()
    await service.node("node-1")
    for number in range(3):
        await refuse(service, number)


async def test_it_is_put_aside_with_its_evidence(service: Service) -> None:
    await failing_node(service)
    node = await seen(service)
    assert node.is_healthy
    assert node.quarantined_until is not None
    assert "keeps failing recordings, lastly no port" in (node.health_reason or "")
    await store_beats(service.commands.db, {"node-1": NodeLoad()}, [])
    assert (await seen(service)).health_reason == node.health_reason, "a heartbeat says nothing against it"
    async with service.pool.acquire() as conn:
        (event, *_) = await conduct.events_of(conn, "node-1", most=10)
    assert (event.type, event.data["detail"]) == ("quarantined", "no port")
    await service.node("node-2", cores=0.1)
    await service.start()
    assert (await service.desired("node-1")).captures == ()
    assert len((await service.desired("node-2")).captures) == 1


async def test_it_is_the_last_resort(service: Service) -> None:
    await failing_node(service)
    await service.start()
    assert len((await service.desired("node-1")).captures) == 1


async def test_undrain_forgives_it(service: Service) -> None:
    await failing_node(service)
    await service.commands.set_draining("node-1", False)
    node = await seen(service)
    assert (node.quarantined_until, node.health_reason) == (None, None)


async def test_a_node_that_dies_with_many_recordings_has_failed_once(service: Service) -> None:
    await service.room_server()
    await service.node("node-1")
    for number in range(3):
        await service.start(peer_id=f"peer-{number}")
    await service.captures.node_lost("node-1", "dead")
    assert (await seen(service)).quarantined_until is None


async def test_what_is_stopped_meanwhile_is_no_failure(service: Service) -> None:
    await service.room_server()
    await service.node("node-1")
    job_id = await service.start()
    capture_id = await service.receive()
    await service.commands.stop(job_id, None)
    await service.captures.lost(capture_id, Reason.NODE_LOST, "dead")
    assert await service.pool.fetchval("SELECT failures FROM ffmpeg_nodes") == []
