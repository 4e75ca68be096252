"""A camera that is switched on late, off, and on again: other producers of a peer whose recording goes on."""

import asyncio
from collections.abc import AsyncIterator

import pytest
import pytest_asyncio
from tests.system.conftest import ROOM_SERVER, Service, start_body

from edumeet_recording.domain.codecs import Kind
from edumeet_recording.domain.job import JobStatus
from edumeet_recording.sim.analyse import analyse
from edumeet_recording.sim.publisher import PeerMedia
from edumeet_recording.sim.room_server import SimulatedRoomServer, SimulatorOptions

pytestmark = pytest.mark.asyncio(loop_scope="module")

WHERE = "room-1", "alice"


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def rooms(service: Service) -> AsyncIterator[SimulatedRoomServer]:
    options = SimulatorOptions(
        server_id=ROOM_SERVER, orchestrator_url=service.url, use_link=True, peers={"alice": PeerMedia()}
    )
    async with SimulatedRoomServer(options) as server:
        await server.registered()
        yield server


async def test_every_picture_is_there_and_in_sync(service: Service, rooms: SimulatedRoomServer) -> None:
    rooms.produce(*WHERE, Kind.VIDEO, on=False)
    job = await service.client.start(start_body())
    await service.until(job.job_id, JobStatus.RECORDING)
    await asyncio.sleep(2)
    for _ in range(2):
        rooms.produce(*WHERE, Kind.VIDEO, on=True)
        await asyncio.sleep(4)
        rooms.produce(*WHERE, Kind.VIDEO, on=False)
        await asyncio.sleep(2)
    await service.client.stop(job.job_id)

    ended = await service.until(job.job_id)

    assert ended.status is JobStatus.COMPLETED, (ended.reason, ended.reason_detail)
    path = await service.client.download(ended, service.folder / "alice.webm")
    found = await asyncio.to_thread(analyse, path)
    assert found.decode_errors == found.disordered == 0
    assert found.video is not None
    assert len(found.video.flashes) >= 6
    assert (found.offset_p95_ms or 0) < 80
    report = await service.client.report(job.job_id)
    (video,) = (stream for stream in report["streams"] if stream["kind"] == "video")
    assert len(video["sources"]) == 2
    assert [gap["cause"] for gap in video["gaps"]] == ["handover"]
    assert 1.5 < video["startS"] < 4
