"""Recording a browser through a foreign SFU: by the room server contract, with SRTP, and forwarded by the client."""

import asyncio
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio
from tests.system.conftest import Service
from tests.system.sfu.conftest import PEER, ROOMS, Conference
from tests.system.sfu.publisher import Sent
from tests.waiting import eventually

from edumeet_recording.domain.codecs import Codec, Kind
from edumeet_recording.domain.job import JobStatus
from edumeet_recording.domain.request import Forwarding
from edumeet_recording.media.probe import Decoded, Probe, decode, probe
from edumeet_recording.sim.analyse import ContentReport, analyse
from edumeet_recording.wire.http import StartRecording
from edumeet_recording.wire.views import Recording, RtpForwarding

pytestmark = pytest.mark.asyncio(loop_scope="module")

RECORD_S = 8


@dataclass(frozen=True, slots=True)
class Way:
    """One way to get a room's media recorded."""

    room: str
    container: str
    room_server: str
    forwarding: Forwarding = "room-server"


WAYS = {
    "contract": Way("room-vp8", "webm", "janus"),
    "srtp": Way("room-vp8", "mkv", "janus-srtp"),
    "client": Way("room-h264", "mp4", "janus", forwarding="client"),
}
AUDIO, VIDEO = (100, 1001), (101, 1002)
"""Payload type and SSRC, as the starter names them."""


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of one recording. `sent`: the publisher's numbers when it had begun, and before it was stopped."""

    recording: Recording
    path: Path
    sent: tuple[Sent, Sent]
    report: dict[str, Any]
    probe: Probe
    decoded: Decoded
    content: ContentReport


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def outcomes(service: Service, conference: Conference) -> dict[str, Outcome]:
    """All ways at a time, of the same seconds."""
    jobs = {name: await _start(service, conference, way) for name, way in WAYS.items()}
    before = {room: await conference.publisher.sent(room) for room in ROOMS}
    await asyncio.sleep(RECORD_S)
    after = {room: await conference.publisher.sent(room) for room in ROOMS}
    for job in jobs.values():
        await service.client.stop(job.job_id)
    made: dict[str, Outcome] = {}
    for name, job in jobs.items():
        way = WAYS[name]
        ended = await service.until(job.job_id)
        assert ended.status is JobStatus.COMPLETED, (name, ended.reason, ended.reason_detail, ended.foreign_packets)
        path = await service.client.download(ended, service.folder / f"{name}.{way.container}")
        probed = await asyncio.to_thread(probe, path)
        made[name] = Outcome(
            recording=ended,
            path=path,
            sent=(before[way.room], after[way.room]),
            report=await service.client.report(job.job_id),
            probe=probed,
            decoded=await asyncio.to_thread(decode, path, probed.duration_s),
            content=await asyncio.to_thread(analyse, path),
        )
    return made


async def _start(service: Service, conference: Conference, way: Way) -> Recording:
    """A recording that has media."""
    body = {
        "roomServerId": way.room_server,
        "roomId": way.room,
        "peerId": PEER,
        "forwarding": way.forwarding,
        "rtpStreams": (
            {"kind": "audio", "codecName": "opus", "payloadType": AUDIO[0], "ssrc": AUDIO[1], "port": 5004},
            {"kind": "video", "codecName": ROOMS[way.room], "payloadType": VIDEO[0], "ssrc": VIDEO[1], "port": 5006},
        ),
        "options": {"format": way.container},
    }
    job = await service.client.start(StartRecording.model_validate(body))
    if way.forwarding == "client":
        await _forward(service, conference, job.job_id, way.room)
    found = await service.until(job.job_id, JobStatus.RECORDING)
    assert found.status is JobStatus.RECORDING, (found.reason_detail, found.foreign_packets)
    return found


async def _forward(service: Service, conference: Conference, job_id: str, room: str) -> None:
    """What a client does that forwards by itself: read the target, and send there."""

    async def target() -> RtpForwarding | None:
        return (await service.client.get(job_id)).rtp_forwarding

    found = await eventually(target)
    mids = {stream.kind: stream.mid for stream in conference.janus.published[room, PEER]}
    streams = [
        {"mid": mids[port.kind], "port": port.port, "rtcp_port": port.rtcp_port, "pt": payload_type, "ssrc": ssrc}
        for port, (payload_type, ssrc) in zip(found.ports, (AUDIO, VIDEO), strict=True)
    ]
    await conference.janus.forward(room, PEER, found.ip, streams, {})


@pytest.mark.parametrize("name", WAYS)
async def test_show(outcomes: dict[str, Outcome], name: str) -> None:
    o = outcomes[name]
    print(
        name,
        o.sent,
        o.probe,
        o.decoded,
        (o.recording.stopped_at - o.recording.started_at).total_seconds(),
        o.recording.foreign_packets,
    )
    print(o.content.audio, o.content.video and (o.content.video.frames, o.content.video.flashes, o.content.video.sizes))
    print(o.report)
    import shutil

    shutil.copy(o.path, f"/tmp/sfu/{name}{o.path.suffix}")
