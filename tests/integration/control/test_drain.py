"""Drain moves captures to other nodes: the old goes on until the new receives."""

from tests.integration.control.conftest import SETTINGS, Service

from edumeet_recording.control.dispatch import dispatch_tick, drain_tick
from edumeet_recording.control.node_links import apply_heartbeat
from edumeet_recording.domain.job import JobStatus
from edumeet_recording.wire.node_link import Heartbeat, NodeLoad


async def recording_on_a_draining_node(service: Service) -> tuple[str, str]:
    await service.room_server()
    await service.node("node-1")
    job_id = await service.start()
    old = await service.receive("node-1")
    await service.node("node-2")
    await service.commands.set_draining("node-1", True)
    await drain_tick(service.commands.db, SETTINGS, service.fleet)
    return job_id, old


async def wanted(service: Service, node_id: str) -> list[int]:
    return [capture.epoch for capture in (await service.desired(node_id)).captures]


async def test_the_old_goes_on_until_the_new_receives(service: Service) -> None:
    job_id, old = await recording_on_a_draining_node(service)
    assert (await wanted(service, "node-1"), await wanted(service, "node-2")) == ([1], [2])
    await drain_tick(service.commands.db, SETTINGS, service.fleet)
    assert await wanted(service, "node-2") == [2], "it is moved once"
    await service.receive("node-2")
    assert (await wanted(service, "node-1"), await wanted(service, "node-2")) == ([], [2])
    await service.ship(old, "node-1")
    await service.drain(old, "node-1")
    job = await service.job(job_id)
    assert (job.status, job.epoch) == (JobStatus.RECORDING, 2)
    assert "interrupted" not in await service.events(job_id)
    assert await service.pool.fetchval("SELECT load_mcpu FROM ffmpeg_nodes WHERE id = 'node-1'") == 0


async def test_what_a_node_that_leaves_has_is_moved_as_well(service: Service) -> None:
    await service.room_server()
    await service.node("node-1")
    await service.start()
    await service.receive("node-1")
    await service.node("node-2")
    leaving = NodeLoad(accepts_captures=False, refusal="the node is leaving", leaving=True)
    await apply_heartbeat(service.captures, "node-1", Heartbeat(load=leaving))
    await drain_tick(service.commands.db, SETTINGS, service.fleet)
    assert (await wanted(service, "node-1"), await wanted(service, "node-2")) == ([1], [2])
    await apply_heartbeat(service.captures, "node-1", Heartbeat(load=NodeLoad()))
    await service.receive("node-2")
    await drain_tick(service.commands.db, SETTINGS, service.fleet)
    assert await wanted(service, "node-2") == [2], "started again, it is like any other"


async def test_where_the_new_is_lost_the_old_stays_and_is_moved_again(service: Service) -> None:
    job_id, _ = await recording_on_a_draining_node(service)
    await service.captures.node_lost("node-2", "dead")
    assert await wanted(service, "node-1") == [1]
    assert (await service.job(job_id)).status is JobStatus.RECORDING
    await drain_tick(service.commands.db, SETTINGS, service.fleet)
    assert await wanted(service, "node-2") == [3]


async def test_where_the_old_is_lost_first_the_new_takes_over(service: Service) -> None:
    job_id, _ = await recording_on_a_draining_node(service)
    await service.captures.node_lost("node-1", "dead")
    assert (await service.job(job_id)).status is JobStatus.INTERRUPTED
    await dispatch_tick(service.commands.db, SETTINGS, service.fleet)
    assert await wanted(service, "node-2") == [2], "nobody else is asked"
    await service.receive("node-2")
    assert (await service.job(job_id)).status is JobStatus.RECORDING


async def test_without_another_node_it_stays(service: Service) -> None:
    await service.room_server()
    await service.node("node-1")
    await service.start()
    await service.receive("node-1")
    await service.commands.set_draining("node-1", True)
    await drain_tick(service.commands.db, SETTINGS, service.fleet)
    assert await wanted(service, "node-1") == [1]


async def test_stop_ends_both(service: Service) -> None:
    job_id, _ = await recording_on_a_draining_node(service)
    await service.commands.stop(job_id, None)
    assert (await wanted(service, "node-1"), await wanted(service, "node-2")) == ([], [])
