"""What a dead node recorded is taken over by others together, and nobody waits for a node that is locked."""

from tests.integration.control.conftest import SETTINGS, Service

from edumeet_recording.control.takeover import take_over, takeover_tick
from edumeet_recording.domain.job import JobStatus

RECORDINGS = 5


async def interrupted(service: Service) -> list[str]:
    """Recordings whose node is dead, with two others there."""
    await service.room_server()
    await service.node("node-1")
    started = [await service.start(peer_id=f"peer-{number}", room_id=f"room-{number}") for number in range(RECORDINGS)]
    for capture in (await service.desired("node-1")).captures:
        await service.receive("node-1", capture.capture_id)
    await service.node("node-2")
    await service.node("node-3")
    await service.pool.execute("UPDATE ffmpeg_nodes SET is_healthy = false WHERE id = 'node-1'")
    service.fleet.changed_now("node-1")
    await service.captures.node_lost("node-1", "dead")
    assert {(await service.job(job_id)).status for job_id in started} == {JobStatus.INTERRUPTED}
    return started


async def taken_over(service: Service) -> set[str]:
    """Jobs that the other nodes are to record."""
    return {capture.job_id for node_id in ("node-2", "node-3") for capture in (await service.desired(node_id)).captures}


async def test_all_of_them_are_lost_and_placed_at_once(service: Service) -> None:
    started = await interrupted(service)
    await service.commands.db.run(lambda tx: take_over(tx, SETTINGS, service.fleet, started))
    assert await taken_over(service) == set(started)
    for job_id in started:
        assert (await service.events(job_id))[-2:] == ["interrupted", "reassigned"]
    promised = "SELECT id, load_mcpu > 0 AS loaded FROM ffmpeg_nodes ORDER BY id"
    assert [row["loaded"] for row in await service.pool.fetch(promised)] == [False, True, True]


async def test_what_is_placed_already_is_left_alone(service: Service) -> None:
    started = await interrupted(service)
    for _ in range(2):
        await service.commands.db.run(lambda tx: take_over(tx, SETTINGS, service.fleet, started))
    assert [(await service.job(job_id)).epoch for job_id in started] == [2] * RECORDINGS


async def test_a_node_that_somebody_has_locked_is_waited_for_by_its_own_recordings_only(service: Service) -> None:
    started = await interrupted(service)
    async with service.pool.acquire() as other, other.transaction():
        await other.execute("SELECT FROM ffmpeg_nodes WHERE id = 'node-2' FOR UPDATE")
        await service.commands.db.run(lambda tx: take_over(tx, SETTINGS, service.fleet, started))
    some = await taken_over(service)
    assert set() < some < set(started)
    await takeover_tick(service.commands.db, SETTINGS, service.fleet)
    assert await taken_over(service) == set(started)


async def test_without_room_each_waits_and_says_why(service: Service) -> None:
    started = await interrupted(service)
    await service.pool.execute("UPDATE ffmpeg_nodes SET is_draining = true")
    service.fleet.changed_now("")
    await takeover_tick(service.commands.db, SETTINGS, service.fleet)
    assert await taken_over(service) == set()
    assert {(await service.job(job_id)).reason for job_id in started} == {"no_capacity"}
