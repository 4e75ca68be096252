"""A whole service that asks room servers for SRTP: what it records plays, and what its streams do is told."""

from collections.abc import AsyncIterator

import pytest
import pytest_asyncio
from tests.leftovers import children
from tests.system.conftest import QUICK, ROOM_SERVER, Service, start_body
from tests.waiting import eventually

from edumeet_recording.client import RecordingClient
from edumeet_recording.domain.capture import StreamState
from edumeet_recording.domain.job import JobStatus
from edumeet_recording.sim.processes import own_process
from edumeet_recording.sim.publisher import PeerMedia
from edumeet_recording.sim.room_server import SimulatedRoomServer, SimulatorOptions
from edumeet_recording.wire.node_link import StreamStats

pytestmark = pytest.mark.asyncio(loop_scope="module")

SETTINGS = QUICK | {"ROOM_SERVER_SRTP": "AEAD_AES_256_GCM"}


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def service(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Service]:
    before = children()
    folder = tmp_path_factory.mktemp("service")
    async with own_process("up", "up", "--json", settings=SETTINGS, folder=folder) as process:
        answer = await process.answer()
        async with RecordingClient(answer["url"], answer["token"]) as client:
            yield Service(answer["url"], answer["token"], process, client, folder)
        assert await process.end() == 0
    assert children() <= before


async def test_an_encrypted_peer_is_recorded_and_its_end_is_noticed(service: Service) -> None:
    client = service.client

    async def stats() -> list[StreamStats]:
        return [stream.stats or StreamStats(index=0) for stream in (await client.get(job.job_id)).streams]

    async def all_come() -> bool:
        return all(each.state is StreamState.RECEIVING and each.bitrate_bps > 1000 for each in await stats())

    async def events() -> list[str]:
        return [event.type async for event in client.events(job.job_id)]

    options = SimulatorOptions(
        server_id=ROOM_SERVER, orchestrator_url=service.url, peers={"alice": PeerMedia(key_frame_interval_s=60)}
    )
    async with SimulatedRoomServer(options) as rooms:
        await rooms.registered()
        job = await client.start(start_body())
        await service.until(job.job_id, JobStatus.RECORDING)

        await eventually(all_come, 15)
        assert (await client.get(job.job_id)).foreign_packets == {}

    async def stalled() -> bool:
        return "stream_stalled" in await events()

    await eventually(stalled, 20)
    assert any(each.state is StreamState.STALLED for each in await stats())
    await client.stop(job.job_id)
    ended = await service.until(job.job_id)
    assert ended.status is JobStatus.COMPLETED, (ended.reason, ended.reason_detail)
    report = await client.report(job.job_id)
    assert [stream["lost"] for stream in report["streams"]] == [0, 0]
