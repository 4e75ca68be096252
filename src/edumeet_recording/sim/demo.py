"""The whole service as processes on this machine, for a moment: records simulated peers, and judges the files."""

import asyncio
import secrets
import shutil
import tempfile
import time
from collections.abc import AsyncGenerator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Protocol

from edumeet_recording.api.auth import Scope, issue_token
from edumeet_recording.client import RecordingClient
from edumeet_recording.domain.codecs import Codec, Container
from edumeet_recording.domain.errors import Unavailable
from edumeet_recording.domain.job import FINAL, JobStatus
from edumeet_recording.sim.processes import OwnProcess, own_process
from edumeet_recording.sim.publisher import PeerMedia
from edumeet_recording.sim.room_server import SimulatedRoomServer, SimulatorOptions
from edumeet_recording.sim.verdict import Verdict, judge
from edumeet_recording.wire.http import StartRecording
from edumeet_recording.wire.views import Recording

ROOM_SERVER = "demo-room-server"
PEERS = MappingProxyType(
    {
        "alice": PeerMedia(audio=Codec.OPUS, video=Codec.VP8, index=0),
        "bob": PeerMedia(audio=Codec.OPUS, video=Codec.H264, index=1),
        "carol": PeerMedia(audio=Codec.OPUS, video=None, index=2),
    }
)
NODES = ("node-1", "node-2")

READY_TIMEOUT_S = 30.0
FILE_TIMEOUT_S = 60.0
POLL_S = 0.1


@dataclass(frozen=True, slots=True)
class Take:
    """One recording of the demo. Two rooms, since one node takes all of a room where it can."""

    room_id: str
    peer_id: str
    container: Container

    @property
    def file_name(self) -> str:
        """Where its file goes."""
        return f"{self.peer_id}.{self.container}"


TAKES = (
    Take("lecture", "alice", Container.MP4),  # VP8 does not go into mp4: transcoded
    Take("lecture", "alice", Container.WEBM),
    Take("seminar", "bob", Container.MKV),
    Take("seminar", "carol", Container.WEBM),
)


class Audience(Protocol):
    """Who is told how far the demo is."""

    def step(self, doing: str) -> None:
        """What is done from now on."""
        ...

    def progress(self, take: Take, doing: str, fraction: float) -> None:
        """How far the file of a take is, from 0 to 1."""
        ...


@dataclass(frozen=True, slots=True)
class DemoResult:
    """What came of it. `capture_ms`: processor time of the nodes for one second of one recording, while recording."""

    verdicts: tuple[Verdict, ...]
    capture_ms: float
    took_s: float


async def run_demo(folder: Path, seconds: float, audience: Audience) -> DemoResult:
    """Records for `seconds`; the files and logs are then in `folder` (absolute), and nothing else is left.

    Raises `Unavailable` where something does not come up, or a recording does not end with a file.
    """
    began = time.monotonic()
    async with _service(folder, audience) as (client, nodes, rooms):
        audience.step(f"recording {len(TAKES)} files for {seconds:g} s")
        jobs = [await client.start(_request(take)) for take in TAKES]
        await _until_all(client, jobs, {JobStatus.RECORDING})
        recorded_from, cpu_from = time.monotonic(), sum(node.cpu_s() for node in nodes)
        await asyncio.sleep(seconds)
        recorded_s = time.monotonic() - recorded_from
        cpu_s = sum(node.cpu_s() for node in nodes) - cpu_from
        for job in jobs:
            await client.stop(job.job_id)
        audience.step("making the files")
        recordings = await _files_made(client, jobs, audience)
        audience.step("decoding the files")
        verdicts = [
            await _judged(client, rooms, take, recording, folder)
            for take, recording in zip(TAKES, recordings, strict=True)
        ]
        audience.step("ending")
    capture_ms = cpu_s * 1000 / (recorded_s * len(TAKES))
    return DemoResult(tuple(verdicts), capture_ms, time.monotonic() - began)


@asynccontextmanager
async def _service(
    folder: Path, audience: Audience
) -> AsyncGenerator[tuple[RecordingClient, list[OwnProcess], SimulatedRoomServer]]:
    """An orchestrator with a database of its own, two nodes and a room server; all gone when the block is left."""
    state = _fresh(folder)
    jwt_secret, registration_secret = secrets.token_urlsafe(32), secrets.token_urlsafe(32)
    shared = {"STORAGE_URL": (state / "storage").as_uri(), "REGISTRATION_SECRET": registration_secret}
    async with AsyncExitStack() as stack:
        stack.callback(shutil.rmtree, state)
        audience.step("starting PostgreSQL and the orchestrator")
        settings = {**shared, "PORT": "0", "STATE_DIR": str(state / "orchestrator"), "JWT_SECRET": jwt_secret}
        command = own_process("orchestrator", "orchestrator", "--json", settings=settings, folder=folder)
        orchestrator = await stack.enter_async_context(command)
        url = (await orchestrator.answer())["url"]
        audience.step("starting two nodes and a room server")
        nodes = [
            await stack.enter_async_context(
                own_process(
                    name,
                    "node",
                    settings={**shared, "ORCHESTRATOR_URL": url, "STATE_DIR": str(state / name), "NODE_ID": name},
                    folder=folder,
                )
            )
            for name in NODES
        ]
        options = SimulatorOptions(
            server_id=ROOM_SERVER,
            orchestrator_url=url,
            registration_secret=registration_secret,
            peers={},
        )
        rooms = await stack.enter_async_context(SimulatedRoomServer(options))
        for room_id, peer_id in sorted({(take.room_id, take.peer_id) for take in TAKES}):
            rooms.add_peer(room_id, peer_id, PEERS[peer_id])
        now = time.time_ns() / 1e9
        token = issue_token(jwt_secret, subject="demo", scopes=tuple(Scope), tenant=None, ttl_s=3600, now=now)
        client = await stack.enter_async_context(RecordingClient(url, token))
        await _ready(client, rooms, nodes)
        yield client, nodes, rooms


def _fresh(folder: Path) -> Path:
    """A folder in `folder` for what is to be gone afterwards; of an earlier demo nothing is left."""
    folder.mkdir(parents=True, exist_ok=True)
    for earlier in folder.iterdir():
        if earlier.is_file():
            earlier.unlink()
    return Path(tempfile.mkdtemp(prefix="state-", dir=folder))


async def _ready(client: RecordingClient, rooms: SimulatedRoomServer, nodes: list[OwnProcess]) -> None:
    try:
        async with asyncio.timeout(READY_TIMEOUT_S):
            await rooms.registered()
            while True:
                if {each.id for each in await client.nodes() if each.is_healthy} >= {*NODES}:
                    return
                await asyncio.sleep(POLL_S)
    except TimeoutError as error:
        words = "; ".join(f"{node.name}: {node.last_words()}" for node in nodes)
        raise Unavailable(f"the nodes are not healthy after {READY_TIMEOUT_S:g} s: {words}") from error


def _request(take: Take) -> StartRecording:
    media = PEERS[take.peer_id]
    # what a room server will really send it says itself: these are only what was asked for
    streams = [
        {"kind": "audio", "codecName": media.audio, "payloadType": 111, "ssrc": 1001, "port": 5004},
        {"kind": "video", "codecName": media.video, "payloadType": 96, "ssrc": 1002, "port": 5006},
    ]
    return StartRecording.model_validate(
        {
            "roomServerId": ROOM_SERVER,
            "roomId": take.room_id,
            "peerId": take.peer_id,
            "rtpStreams": tuple(each for each in streams if each["codecName"]),
            "options": {"format": take.container},
            "allowParallel": True,
        }
    )


async def _until_all(client: RecordingClient, jobs: list[Recording], wanted: set[JobStatus]) -> list[Recording]:
    """The recordings once each is in a wanted state. Raises `Unavailable` where one ended in another."""
    async with asyncio.timeout(READY_TIMEOUT_S):
        while True:
            found = [await client.get(job.job_id) for job in jobs]
            for each in found:
                if each.status in FINAL - wanted:
                    raise Unavailable(f"the recording of {each.peer_id} is {each.status}: {each.reason_detail}")
            if all(each.status in wanted for each in found):
                return found
            await asyncio.sleep(POLL_S)


async def _files_made(client: RecordingClient, jobs: list[Recording], audience: Audience) -> list[Recording]:
    async with asyncio.timeout(FILE_TIMEOUT_S):
        while True:
            found = [await client.get(job.job_id) for job in jobs]
            for take, each in zip(TAKES, found, strict=True):
                done = float(each.status in FINAL)
                doing, fraction = (
                    (each.progress.phase, each.progress.fraction) if each.progress else (each.status, done)
                )
                audience.progress(take, doing, fraction)
                if each.status in FINAL and each.status is not JobStatus.COMPLETED:
                    raise Unavailable(f"no file of {take.peer_id}: {each.status}, {each.reason}: {each.reason_detail}")
            if all(each.status in FINAL for each in found):
                return found
            await asyncio.sleep(POLL_S)


async def _judged(
    client: RecordingClient, rooms: SimulatedRoomServer, take: Take, recording: Recording, folder: Path
) -> Verdict:
    path = folder / take.file_name
    await client.download(recording, path)
    report = await client.report(recording.job_id)
    plan = rooms.plan(take.room_id, take.peer_id)
    return await asyncio.to_thread(judge, recording, path, report, PEERS[take.peer_id], plan)
