"""The whole service as processes on this machine, for a moment: records simulated peers, and judges the files."""

import asyncio
import secrets
import shutil
import tempfile
import time
from collections.abc import AsyncGenerator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, replace
from pathlib import Path

from edumeet_recording.api.auth import Scope, issue_token
from edumeet_recording.client import RecordingClient
from edumeet_recording.domain.codecs import Codec, Container
from edumeet_recording.domain.errors import Unavailable
from edumeet_recording.sim import scaling_act
from edumeet_recording.sim.processes import OwnProcess, own_process
from edumeet_recording.sim.publisher import PeerMedia
from edumeet_recording.sim.room_server import SimulatedRoomServer, SimulatorOptions
from edumeet_recording.sim.scaling_act import ScalingResult, scale
from edumeet_recording.sim.takes import POLL_S, READY_TIMEOUT_S, Audience, Take, files_made, judged, until_recording
from edumeet_recording.sim.verdict import Verdict

ROOM_SERVER = "demo-room-server"
ALICE = PeerMedia(audio=Codec.OPUS, video=Codec.VP8, index=0)
BOB = PeerMedia(audio=Codec.OPUS, video=Codec.H264, index=1)
CAROL = PeerMedia(audio=Codec.OPUS, video=None, index=2)
NODES = ("node-1", "node-2")

TAKES = (
    Take(ROOM_SERVER, "lecture", "alice", ALICE, Container.MP4),  # VP8 does not go into mp4: transcoded
    Take(ROOM_SERVER, "lecture", "alice", ALICE, Container.WEBM),
    Take(ROOM_SERVER, "seminar", "bob", BOB, Container.MKV),
    Take(ROOM_SERVER, "seminar", "carol", CAROL, Container.WEBM),
)
"""Two rooms, since one node takes all of a room where it can."""


@dataclass(frozen=True, slots=True)
class DemoResult:
    """What came of it. `capture_ms`: processor time of the nodes for one second of one recording, while recording."""

    verdicts: tuple[Verdict, ...]
    scaling: ScalingResult
    capture_ms: float
    took_s: float


@dataclass(frozen=True, slots=True)
class _Stage:
    """The service, with a room server in each of two regions."""

    client: RecordingClient
    nodes: list[OwnProcess]
    rooms: SimulatedRoomServer
    campus_rooms: SimulatedRoomServer


async def run_demo(folder: Path, seconds: float, audience: Audience) -> DemoResult:
    """Records for `seconds`; the files and logs are then in `folder` (absolute), and nothing else is left.

    Raises `Unavailable` where something does not come up, or a recording does not end with a file.
    """
    began = time.monotonic()
    async with _service(folder, audience) as stage:
        audience.step(f"recording {len(TAKES)} files for {seconds:g} s")
        jobs = [(await stage.client.start(take.request)).job_id for take in TAKES]
        await until_recording(stage.client, jobs)
        recorded_from, cpu_from = time.monotonic(), sum(node.cpu_s() for node in stage.nodes)
        await asyncio.sleep(seconds)
        recorded_s = time.monotonic() - recorded_from
        cpu_s = sum(node.cpu_s() for node in stage.nodes) - cpu_from
        for job_id in jobs:
            await stage.client.stop(job_id)
        # the second act begins while the files of the first are made
        async with asyncio.TaskGroup() as acts:
            first = acts.create_task(_files(stage, jobs, audience, folder))
            second = acts.create_task(scale(stage.client, stage.campus_rooms, audience, folder))
        audience.step("ending")
    capture_ms = cpu_s * 1000 / (recorded_s * len(TAKES))
    return DemoResult(first.result(), second.result(), capture_ms, time.monotonic() - began)


async def _files(stage: _Stage, jobs: list[str], audience: Audience, folder: Path) -> tuple[Verdict, ...]:
    audience.step("making and decoding the files")
    recordings = await files_made(stage.client, TAKES, jobs, audience)
    verdicts = [
        await judged(stage.client, stage.rooms, take, recording, folder)
        for take, recording in zip(TAKES, recordings, strict=True)
    ]
    return tuple(verdicts)


@asynccontextmanager
async def _service(folder: Path, audience: Audience) -> AsyncGenerator[_Stage]:
    """An orchestrator with a database of its own, two nodes, two room servers; all gone when the block is left."""
    state = _fresh(folder)
    jwt_secret, registration_secret = secrets.token_urlsafe(32), secrets.token_urlsafe(32)
    shared = {"STORAGE_URL": (state / "storage").as_uri(), "REGISTRATION_SECRET": registration_secret}
    async with AsyncExitStack() as stack:
        stack.callback(shutil.rmtree, state)
        audience.step("starting PostgreSQL and the orchestrator")
        own = {"PORT": "0", "STATE_DIR": str(state / "orchestrator"), "JWT_SECRET": jwt_secret}
        settings = {**shared, **own, **scaling_act.settings()}
        command = own_process("orchestrator", "orchestrator", "--json", settings=settings, folder=folder)
        orchestrator = await stack.enter_async_context(command)
        url = (await orchestrator.answer())["url"]
        audience.step("starting two nodes and two room servers")
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
            server_id=ROOM_SERVER, orchestrator_url=url, registration_secret=registration_secret, peers={}
        )
        rooms = await stack.enter_async_context(SimulatedRoomServer(options))
        campus = replace(options, server_id=scaling_act.ROOM_SERVER, region=scaling_act.REGION)
        campus_rooms = await stack.enter_async_context(SimulatedRoomServer(campus))
        for room_id, peer_id, media in {
            take.peer_id: (take.room_id, take.peer_id, take.media) for take in TAKES
        }.values():
            rooms.add_peer(room_id, peer_id, media)
        now = time.time_ns() / 1e9
        token = issue_token(jwt_secret, subject="demo", scopes=tuple(Scope), tenant=None, ttl_s=3600, now=now)
        client = await stack.enter_async_context(RecordingClient(url, token))
        stage = _Stage(client, nodes, rooms, campus_rooms)
        await _ready(stage)
        yield stage


def _fresh(folder: Path) -> Path:
    """A folder in `folder` for what is to be gone afterwards; of an earlier demo nothing is left."""
    folder.mkdir(parents=True, exist_ok=True)
    for earlier in folder.iterdir():
        if earlier.is_file():
            earlier.unlink()
    return Path(tempfile.mkdtemp(prefix="state-", dir=folder))


async def _ready(stage: _Stage) -> None:
    try:
        async with asyncio.timeout(READY_TIMEOUT_S):
            await stage.rooms.registered()
            await stage.campus_rooms.registered()
            while True:
                if {each.id for each in await stage.client.nodes() if each.is_healthy} >= {*NODES}:
                    return
                await asyncio.sleep(POLL_S)
    except TimeoutError as error:
        words = "; ".join(f"{node.name}: {node.last_words()}" for node in stage.nodes)
        raise Unavailable(f"the nodes are not healthy after {READY_TIMEOUT_S:g} s: {words}") from error
