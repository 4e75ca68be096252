"""The whole service as processes. A module's tests share one service; what a module starts is gone when it ends."""

from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path

import pytest
import pytest_asyncio
from tests import rtp_ports
from tests.leftovers import children
from tests.waiting import eventually

from edumeet_recording.client import RecordingClient
from edumeet_recording.domain.job import FINAL, JobStatus
from edumeet_recording.sim.processes import OwnProcess, own_process
from edumeet_recording.wire.http import StartRecording
from edumeet_recording.wire.views import Recording

ROOM_SERVER = "room-server-1"
QUICK = {
    "PORT": "0",
    "NO_MEDIA_TIMEOUT_S": "4",
    "ROOM_SERVER_REQUEST_TIMEOUT_S": "2",
    "CHUNK_SECONDS": "1",
    "LOG_FORMAT": "json",
    **rtp_ports.SETTINGS,
}
"""So that what has to run out does so within a test."""


@dataclass(frozen=True, slots=True)
class Service:
    """An `up` that runs."""

    url: str
    token: str
    process: OwnProcess
    client: RecordingClient
    folder: Path

    async def until(self, job_id: str, *wanted: JobStatus, timeout: float = 40) -> Recording:  # noqa: ASYNC109 - eventually's
        """The recording once it is in a wanted state, or in any final one."""
        goal = FINAL | set(wanted)

        async def look() -> Recording | None:
            found = await self.client.get(job_id)
            return found if found.status in goal else None

        return await eventually(look, timeout)


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def service(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Service]:
    """Everything on this machine, as `edumeet-recording up` runs it."""
    before = children()
    folder = tmp_path_factory.mktemp("service")
    async with own_process("up", "up", "--json", settings=QUICK, folder=folder) as process:
        answer = await process.answer()
        async with RecordingClient(answer["url"], answer["token"]) as client:
            yield Service(answer["url"], answer["token"], process, client, folder)
        assert await process.end() == 0
    assert children() <= before


def start_body(peer_id: str = "alice", **changes: object) -> StartRecording:
    """A start of a peer of the simulated room; it says itself what it really sends."""
    body: dict[str, object] = {
        "roomServerId": ROOM_SERVER,
        "roomId": "room-1",
        "peerId": peer_id,
        "rtpStreams": (
            {"kind": "audio", "codecName": "opus", "payloadType": 111, "ssrc": 1001, "port": 5004},
            {"kind": "video", "codecName": "vp8", "payloadType": 96, "ssrc": 1002, "port": 5006},
        ),
        "options": {"format": "webm"},
    }
    return StartRecording.model_validate(body | changes)
