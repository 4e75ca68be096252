"""A demo's recordings: what is asked for, followed until the file is there, and judged."""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from edumeet_recording.client import RecordingClient
from edumeet_recording.domain.codecs import Container
from edumeet_recording.domain.errors import Unavailable
from edumeet_recording.domain.job import FINAL, JobStatus
from edumeet_recording.sim.publisher import PeerMedia
from edumeet_recording.sim.room_server import SimulatedRoomServer
from edumeet_recording.sim.verdict import Verdict, judge
from edumeet_recording.wire.http import StartRecording
from edumeet_recording.wire.views import Recording

READY_TIMEOUT_S = 40.0
FILE_TIMEOUT_S = 60.0
POLL_S = 0.1


@dataclass(frozen=True, slots=True)
class Take:
    """One recording of the demo."""

    room_server: str
    room_id: str
    peer_id: str
    media: PeerMedia
    container: Container

    @property
    def file_name(self) -> str:
        """Where its file goes."""
        return f"{self.peer_id}.{self.container}"

    @property
    def request(self) -> StartRecording:
        """What starts it. What a room server will really send it says itself: the streams are what was asked for."""
        streams = [
            {"kind": "audio", "codecName": self.media.audio, "payloadType": 111, "ssrc": 1001, "port": 5004},
            {"kind": "video", "codecName": self.media.video, "payloadType": 96, "ssrc": 1002, "port": 5006},
        ]
        return StartRecording.model_validate(
            {
                "roomServerId": self.room_server,
                "roomId": self.room_id,
                "peerId": self.peer_id,
                "rtpStreams": tuple(each for each in streams if each["codecName"]),
                "options": {"format": self.container},
                "allowParallel": True,
            }
        )


class Audience(Protocol):
    """Who is told how far the demo is."""

    def step(self, doing: str) -> None:
        """What is done from now on."""
        ...

    def progress(self, take: Take, doing: str, fraction: float) -> None:
        """How far the file of a take is, from 0 to 1."""
        ...


async def until_recording(client: RecordingClient, job_ids: Sequence[str]) -> list[Recording]:
    """The recordings once media of each is on tape. Raises `Unavailable` where one ends before, or takes too long."""
    found: list[Recording] = []
    try:
        async with asyncio.timeout(READY_TIMEOUT_S):
            while True:
                found = [await client.get(job_id) for job_id in job_ids]
                for each in found:
                    if each.status in FINAL:
                        raise Unavailable(f"the recording of {each.peer_id} is {each.status}: {each.reason_detail}")
                if all(each.status is JobStatus.RECORDING for each in found):
                    return found
                await asyncio.sleep(POLL_S)
    except TimeoutError as error:
        raise Unavailable(f"not all are recorded after {READY_TIMEOUT_S:g} s: {_states(found)}") from error


async def files_made(
    client: RecordingClient, takes: Sequence[Take], job_ids: Sequence[str], audience: Audience
) -> list[Recording]:
    """The recordings once each has its file. Raises `Unavailable` where one gets none, or not in time."""
    found: list[Recording] = []
    try:
        async with asyncio.timeout(FILE_TIMEOUT_S):
            while not found or any(each.status not in FINAL for each in found):
                await asyncio.sleep(POLL_S)
                found = [await client.get(job_id) for job_id in job_ids]
                for take, each in zip(takes, found, strict=True):
                    _tell(audience, take, each)
    except TimeoutError as error:
        raise Unavailable(f"not all files are made after {FILE_TIMEOUT_S:g} s: {_states(found)}") from error
    for each in found:
        if each.status is not JobStatus.COMPLETED:
            raise Unavailable(f"no file of {each.peer_id}: {each.status}, {each.reason}: {each.reason_detail}")
    return found


def _states(recordings: Sequence[Recording]) -> str:
    return ", ".join(f"{each.peer_id} {each.status}" for each in recordings)


def _tell(audience: Audience, take: Take, recording: Recording) -> None:
    if recording.progress:
        audience.progress(take, recording.progress.phase, recording.progress.fraction)
    else:
        audience.progress(take, recording.status, float(recording.status in FINAL))


async def judged(
    client: RecordingClient, rooms: SimulatedRoomServer, take: Take, recording: Recording, folder: Path
) -> Verdict:
    """The verdict on a file, which is then in `folder`."""
    path = folder / take.file_name
    await client.download(recording, path)
    report = await client.report(recording.job_id)
    plan = rooms.plan(take.room_id, take.peer_id)
    return await asyncio.to_thread(judge, recording, path, report, take.media, plan)
