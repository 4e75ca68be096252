"""Commands, reports and heartbeats on the same rows at once: nobody waits in a circle, nobody loses."""

import asyncio

from tests.integration.control.conftest import Service

from edumeet_recording.control.heartbeats import store_beats
from edumeet_recording.control.streams import stats_row
from edumeet_recording.domain.capture import CaptureState
from edumeet_recording.domain.job import FINAL, JobStatus
from edumeet_recording.wire.node_link import CaptureDrained, CaptureReport, JournalEntry, NodeLoad, Port

JOBS = 12


async def live(service: Service, number: int) -> str:
    """One recording from start to cancel, with the node's voice in between."""
    job_id = await service.start(peer_id=f"peer-{number}")
    for capture in (await service.desired()).captures:
        if capture.job_id == job_id:
            ports = tuple(Port(index=s.index, port=40000, rtcp_port=40001) for s in capture.streams)
            said = CaptureReport(
                capture_id=capture.capture_id,
                epoch=1,
                state=CaptureState.RECEIVING,
                ip="127.0.0.1",
                ports=ports,
                first_packet_at=1.0,
            )
            async with asyncio.TaskGroup() as both:
                both.create_task(service.captures.report("node-1", said))
                both.create_task(service.commands.cancel(job_id, None))
            drained = CaptureDrained(capture_id=capture.capture_id, epoch=1, chunks=0, report=said)
            await service.captures.journal("node-1", (JournalEntry(seq=1, body=drained),))
    return job_id


async def beats(service: Service, stop: asyncio.Event) -> None:
    while not stop.is_set():
        reports = [
            stats_row("node-1", CaptureReport(capture_id=row["id"], epoch=1, state=CaptureState.RECEIVING))
            for row in await service.pool.fetch("SELECT id FROM captures ORDER BY random()")
        ]
        await store_beats(service.commands.db, {"node-1": NodeLoad()}, reports)


async def test_starts_cancels_reports_and_heartbeats_at_once(service: Service) -> None:
    await service.room_server()
    await service.node()
    before = await service.pool.fetchval("SELECT sum(deadlocks) FROM pg_stat_database")
    stop = asyncio.Event()
    async with asyncio.timeout(60), asyncio.TaskGroup() as tasks:
        tasks.create_task(beats(service, stop))
        async with asyncio.TaskGroup() as lives:
            running = [lives.create_task(live(service, number)) for number in range(JOBS)]
        stop.set()
    assert {(await service.job(task.result())).status for task in running} <= FINAL
    assert await service.pool.fetchval("SELECT load_mcpu FROM ffmpeg_nodes") == 0
    await service.pool.execute("SELECT pg_stat_force_next_flush()")
    assert await service.pool.fetchval("SELECT sum(deadlocks) FROM pg_stat_database") == before


async def test_starts_that_wait_for_the_first_look_at_the_fleet_all_find_a_node(service: Service) -> None:
    await service.room_server()
    await service.node()
    service.fleet.changed("")
    async with asyncio.timeout(60), asyncio.TaskGroup() as tasks:
        starts = [tasks.create_task(service.start(peer_id=f"peer-{number}")) for number in range(5)]
    assert {(await service.job(task.result())).status for task in starts} == {JobStatus.INITIALIZING}
