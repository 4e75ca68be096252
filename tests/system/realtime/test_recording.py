"""Recording as a user meets it: two peers, their files, their events; and the files in a browser."""

import asyncio
import base64
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import pytest_asyncio
from tests.system.conftest import ROOM_SERVER, Service, start_body

from edumeet_recording.client import ApiError
from edumeet_recording.domain.codecs import Codec
from edumeet_recording.domain.job import FINAL, JobStatus
from edumeet_recording.sim.publisher import PeerMedia
from edumeet_recording.sim.room_server import SimulatedRoomServer, SimulatorOptions
from edumeet_recording.sim.verdict import Verdict, judge

pytestmark = pytest.mark.asyncio(loop_scope="module")

PEERS = {
    "alice": PeerMedia(audio=Codec.OPUS, video=Codec.VP8, index=0),
    "bob": PeerMedia(audio=Codec.OPUS, video=Codec.H264, index=1),
}
FORMATS = {"alice": "webm", "bob": "mp4"}
RECORD_S = 5
CHROMIUM = Path("/usr/bin/chromium")


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def rooms(service: Service) -> AsyncIterator[SimulatedRoomServer]:
    options = SimulatorOptions(server_id=ROOM_SERVER, orchestrator_url=service.url, peers=PEERS)
    async with SimulatedRoomServer(options) as server:
        await server.registered()
        yield server


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def verdicts(service: Service, rooms: SimulatedRoomServer) -> dict[str, Verdict]:
    """Two peers recorded at a time, by who it is, and what is true of the files."""
    client = service.client
    jobs = {
        peer_id: await client.start(
            start_body(
                peer_id,
                options={"format": FORMATS[peer_id]},
                rtpStreams=(
                    {"kind": "audio", "codecName": "opus", "payloadType": 111, "ssrc": 1001, "port": 5004},
                    {"kind": "video", "codecName": media.video, "payloadType": 96, "ssrc": 1002, "port": 5006},
                ),
            )
        )
        for peer_id, media in PEERS.items()
    }
    for job in jobs.values():
        found = await service.until(job.job_id, JobStatus.RECORDING)
        assert found.status is JobStatus.RECORDING, found.reason_detail
    listed = {each.job_id: each.status async for each in client.list(room_id="room-1")}
    assert listed == {job.job_id: JobStatus.RECORDING for job in jobs.values()}
    with pytest.raises(ApiError, match="already recorded"):
        await client.start(start_body("alice"))
    await asyncio.sleep(RECORD_S)
    made: dict[str, Verdict] = {}
    for job in jobs.values():
        first, second = await client.stop(job.job_id), await client.stop(job.job_id)
        assert first.stopped_at is not None
        assert first.stopped_at == second.stopped_at
    for peer_id, job in jobs.items():
        ended = await service.until(job.job_id)
        assert ended.status is JobStatus.COMPLETED, (ended.reason, ended.reason_detail)
        path = await client.download(ended, service.folder / f"{peer_id}.{FORMATS[peer_id]}")
        report = await client.report(job.job_id)
        plan = rooms.plan("room-1", peer_id)
        made[peer_id] = await asyncio.to_thread(judge, ended, path, report, PEERS[peer_id], plan)
    return made


@pytest.mark.parametrize("peer_id", PEERS)
async def test_the_file_is_what_was_sent(verdicts: dict[str, Verdict], peer_id: str) -> None:
    assert verdicts[peer_id].failures == ()


@pytest.mark.parametrize("peer_id", PEERS)
async def test_events_tell_the_story_in_order(service: Service, verdicts: dict[str, Verdict], peer_id: str) -> None:
    events = [each async for each in service.client.events(verdicts[peer_id].recording.job_id)]
    assert [each.seq for each in events] == list(range(1, len(events) + 1))
    assert [each.status in FINAL for each in events] == [False] * (len(events) - 1) + [True]
    story = [each.status for each in events]
    order = ["pending", "initializing", "recording", "stopping", "processing", "completed"]
    assert list(dict.fromkeys(story)) == [status for status in order if status in story]
    assert story[-1] is JobStatus.COMPLETED


async def test_an_ended_recording_can_be_deleted(service: Service, verdicts: dict[str, Verdict]) -> None:
    """The one that `alice` cancels: those of the verdicts are still needed."""
    job = await service.client.start(start_body("alice"))
    with pytest.raises(ApiError, match="stop or cancel it first"):
        await service.client.delete(job.job_id)
    assert (await service.client.cancel(job.job_id)).status is JobStatus.CANCELLED
    await service.client.delete(job.job_id)
    with pytest.raises(ApiError) as raised:
        await service.client.get(job.job_id)
    assert raised.value.status == 404


PLAYS = """
async ({ data, type }) => {
  const bytes = Uint8Array.from(atob(data), (character) => character.charCodeAt(0));
  const video = document.createElement('video');
  video.muted = true;
  video.src = URL.createObjectURL(new Blob([bytes], { type }));
  document.body.append(video);
  await video.play();
  await new Promise((resolve, reject) => {
    video.onerror = () => reject(new Error(video.error.message));
    video.ontimeupdate = () => { if (video.currentTime > 1) resolve(); };
  });
  return { at: video.currentTime, width: video.videoWidth, duration: video.duration };
}
"""


@pytest.mark.skipif(not CHROMIUM.exists(), reason="needs Chromium at /usr/bin/chromium")
@pytest.mark.parametrize("peer_id", PEERS)
async def test_the_file_plays_in_chromium(verdicts: dict[str, Verdict], peer_id: str) -> None:
    from playwright.async_api import async_playwright

    verdict = verdicts[peer_id]
    data = base64.b64encode(verdict.path.read_bytes()).decode()
    async with async_playwright() as playwright:
        browser = await playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        page = await browser.new_page()
        played = await page.evaluate(PLAYS, {"data": data, "type": f"video/{FORMATS[peer_id]}"})
        await browser.close()
    assert played["at"] > 1
    assert played["width"] == 320
    assert abs(played["duration"] - verdict.expected_s) < 0.5
