"""A recording that is made twice at once loses nothing with one of its nodes, and gets another in its place."""

from dataclasses import replace

from tests.integration.control.conftest import NEW, SETTINGS, Service

from edumeet_recording.control.dispatch import dispatch_tick, drain_tick
from edumeet_recording.control.redundancy import standby_tick
from edumeet_recording.domain.job import JobStatus
from edumeet_recording.store import views
from edumeet_recording.wire.views import Recording

TWICE = replace(NEW.options, redundancy=2)


async def started_twice(service: Service) -> str:
    await service.room_server()
    await service.node("node-1", failure_domain="rack=a")
    await service.node("node-2", failure_domain="rack=b")
    return await service.start(options=TWICE)


async def roles(service: Service) -> dict[str, tuple[str, int]]:
    """By node, what is wanted of it."""
    rows = await service.pool.fetch(
        "SELECT node_id, role, epoch FROM captures WHERE wanted AND state NOT IN ('drained', 'lost')"
    )
    return {row["node_id"]: (row["role"], row["epoch"]) for row in rows}


async def load(service: Service) -> dict[str, int]:
    return {row["id"]: row["load_mcpu"] for row in await service.pool.fetch("SELECT id, load_mcpu FROM ffmpeg_nodes")}


async def seen(service: Service, job_id: str) -> Recording:
    async with service.pool.acquire() as conn:
        found = await views.recording(conn, job_id, None)
    assert found is not None
    return found


async def test_both_are_placed_apart_and_both_are_paid_for(service: Service) -> None:
    job_id = await started_twice(service)
    assert await roles(service) == {"node-1": ("primary", 1), "node-2": ("standby", 2)}
    cost = (await service.job(job_id)).cost_mcpu
    assert await load(service) == {"node-1": cost, "node-2": cost}
    assert await service.events(job_id) == ["pending", "initializing", "standby_placed"]
    assert (await seen(service, job_id)).warnings == ()


async def test_nodes_that_die_together_get_one_of_them_and_it_is_said(service: Service) -> None:
    await service.room_server()
    await service.node("node-1", failure_domain="rack=a,host=1")
    await service.node("node-2", failure_domain="rack=a,host=2")
    job_id = await service.start(options=TWICE)
    await standby_tick(service.commands.db, SETTINGS, service.fleet)
    assert await roles(service) == {"node-1": ("primary", 1)}
    assert (await service.events(job_id)).count("standby_missing") == 1
    (warning,) = (await seen(service, job_id)).warnings
    assert "twice" in warning
    await service.node("node-3", failure_domain="rack=b")
    await service.pool.execute("UPDATE recording_jobs SET standby_retry_at = NULL")
    await standby_tick(service.commands.db, SETTINGS, service.fleet)
    assert (await roles(service))["node-3"] == ("standby", 2)


async def test_either_makes_it_a_recording(service: Service) -> None:
    job_id = await started_twice(service)
    await service.receive("node-2")
    assert (await service.job(job_id)).status is JobStatus.RECORDING
    await service.receive("node-1")
    assert (await service.events(job_id)).count("recording") == 1
    both = {(each.role, each.node_id) for each in (await seen(service, job_id)).captures}
    assert both == {("primary", "node-1"), ("standby", "node-2")}


async def test_the_standby_is_promoted_and_followed_by_another(service: Service) -> None:
    job_id = await started_twice(service)
    await service.receive("node-1")
    await service.receive("node-2")
    await service.node("node-3", failure_domain="rack=c")
    await service.captures.node_lost("node-1", "dead")
    assert await roles(service) == {"node-2": ("primary", 2)}
    assert (await seen(service, job_id)).node_id == "node-2"
    await dispatch_tick(service.commands.db, SETTINGS, service.fleet)
    await standby_tick(service.commands.db, SETTINGS, service.fleet)
    assert await roles(service) == {"node-2": ("primary", 2), "node-3": ("standby", 3)}
    assert (await service.job(job_id)).status is JobStatus.RECORDING
    assert "interrupted" not in await service.events(job_id)


async def test_a_lost_standby_is_followed_by_another(service: Service) -> None:
    job_id = await started_twice(service)
    await service.receive("node-1")
    await service.receive("node-2")
    await service.pool.execute("UPDATE ffmpeg_nodes SET is_healthy = false WHERE id = 'node-2'")
    await service.captures.node_lost("node-2", "dead")
    await service.node("node-3", failure_domain="rack=c")
    await standby_tick(service.commands.db, SETTINGS, service.fleet)
    assert await roles(service) == {"node-1": ("primary", 1), "node-3": ("standby", 3)}
    assert (await service.job(job_id)).status is JobStatus.RECORDING


async def test_a_standby_that_fails_to_begin_is_tried_again_later_each_time(service: Service) -> None:
    await started_twice(service)
    for _ in range(3):
        await service.captures.node_lost("node-2", "refuses")
        await standby_tick(service.commands.db, SETTINGS, service.fleet)
    assert await roles(service) == {"node-1": ("primary", 1)}, "its back-off is not over"


async def test_where_only_one_receives_the_loss_of_it_interrupts(service: Service) -> None:
    job_id = await started_twice(service)
    await service.receive("node-1")
    await service.captures.node_lost("node-1", "dead")
    assert (await service.job(job_id)).status is JobStatus.INTERRUPTED
    await dispatch_tick(service.commands.db, SETTINGS, service.fleet)
    assert await roles(service) == {"node-2": ("primary", 2)}
    await service.receive("node-2")
    assert (await service.job(job_id)).status is JobStatus.RECORDING


async def test_both_lost_begin_anew_with_both(service: Service) -> None:
    job_id = await started_twice(service)
    await service.receive("node-1")
    await service.captures.node_lost("node-2", "dead")
    await service.captures.node_lost("node-1", "dead")
    assert (await service.job(job_id)).status is JobStatus.INTERRUPTED
    await dispatch_tick(service.commands.db, SETTINGS, service.fleet)
    await service.pool.execute("UPDATE recording_jobs SET standby_retry_at = NULL")
    await standby_tick(service.commands.db, SETTINGS, service.fleet)
    assert sorted(await roles(service)) == ["node-1", "node-2"]


async def test_a_drained_standby_moves_as_a_standby_and_stays_apart(service: Service) -> None:
    await started_twice(service)
    await service.receive("node-1")
    await service.receive("node-2")
    await service.node("node-3", failure_domain="rack=a")
    await service.commands.set_draining("node-2", True)
    await drain_tick(service.commands.db, SETTINGS, service.fleet)
    assert await roles(service) == {"node-1": ("primary", 1), "node-2": ("standby", 2)}, "node-3 dies with node-1"
    await service.node("node-4", failure_domain="rack=c")
    await drain_tick(service.commands.db, SETTINGS, service.fleet)
    await service.receive("node-4")
    assert await roles(service) == {"node-1": ("primary", 1), "node-4": ("standby", 3)}


async def test_stop_ends_both_and_waits_for_both_tapes(service: Service) -> None:
    job_id = await started_twice(service)
    one, other = await service.receive("node-1"), await service.receive("node-2")
    await service.ship(one, "node-1")
    await service.ship(other, "node-2")
    await service.commands.stop(job_id, None)
    assert await roles(service) == {}
    await service.drain(one, "node-1")
    assert (await service.job(job_id)).status is JobStatus.STOPPING
    await service.drain(other, "node-2")
    assert (await service.job(job_id)).status is JobStatus.PROCESSING
