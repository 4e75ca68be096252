"""Recording a browser through a foreign SFU: by the room server contract, with SRTP, and forwarded by the client."""

import asyncio
from dataclasses import dataclass
from pathlib import Path

import pytest
import pytest_asyncio
from tests.system.conftest import Service
from tests.system.sfu.conftest import PEER, ROOMS, Conference
from tests.system.sfu.content import BEEP_S, TURN_S, cadence_error_ms, find
from tests.system.sfu.janus import JANUS
from tests.system.sfu.publisher import CHROMIUM, SIZE, Sent
from tests.waiting import eventually

from edumeet_recording.domain.codecs import Codec, Kind
from edumeet_recording.domain.job import JobStatus
from edumeet_recording.domain.request import Forwarding
from edumeet_recording.media.probe import Probe, ProbedStream
from edumeet_recording.node.probing import decode, probe
from edumeet_recording.wire.http import StartRecording
from edumeet_recording.wire.views import Recording, RtpForwarding

pytestmark = [
    pytest.mark.asyncio(loop_scope="module"),
    pytest.mark.skipif(
        JANUS is None or not CHROMIUM.exists(), reason="needs janus and chromium: apt-get install janus chromium"
    ),
]

RECORD_S = 8
KEY_FRAME_S = 1.0
"""Video begins with a key frame, which is asked for once it is seen that none came."""


@dataclass(frozen=True, slots=True)
class Way:
    """One way to get a room's media recorded."""

    room: str
    container: str
    room_server: str
    forwarding: Forwarding = "room-server"


WAYS = {
    "contract": Way("room-vp8", "webm", "janus"),
    "srtp": Way("room-vp8", "webm", "janus-srtp"),
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
    probe: Probe

    def stream(self, kind: Kind) -> ProbedStream:
        """The one stream of the kind."""
        (found,) = (each for each in self.probe.streams if each.kind is kind)
        return found


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
        made[name] = Outcome(
            recording=ended,
            path=path,
            sent=(before[way.room], after[way.room]),
            probe=await asyncio.to_thread(probe, path),
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
        "options": {"format": way.container, "thumbnails": False},
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
async def test_the_file_is_whole_and_as_long_as_the_recording(outcomes: dict[str, Outcome], name: str) -> None:
    outcome = outcomes[name]
    recording, video, audio = outcome.recording, outcome.stream(Kind.VIDEO), outcome.stream(Kind.AUDIO)
    assert video.codec == ROOMS[WAYS[name].room]
    assert (audio.codec, audio.channels) == (Codec.OPUS, 2)
    assert (video.width, video.height) == SIZE
    assert video.monotonic
    assert audio.monotonic
    decoded = await asyncio.to_thread(decode, outcome.path, outcome.probe.duration_s)
    assert decoded.errors == 0
    assert decoded.frames == video.frames + audio.frames
    assert recording.started_at is not None
    assert recording.stopped_at is not None
    recorded_s = (recording.stopped_at - recording.started_at).total_seconds()
    assert outcome.probe.duration_s == pytest.approx(recorded_s, abs=0.5)
    assert [stream.stats and stream.stats.lost for stream in recording.streams] == [0, 0]


@pytest.mark.parametrize("name", WAYS)
async def test_every_frame_that_the_browser_sent_is_there(outcomes: dict[str, Outcome], name: str) -> None:
    outcome = outcomes[name]
    before, after = outcome.sent
    video = outcome.stream(Kind.VIDEO)
    sent_fps = (after.frames - before.frames) / (after.at_s - before.at_s)
    assert video.frames / (video.end_s - video.start_s) >= 0.95 * sent_fps
    assert video.end_s - video.start_s >= RECORD_S - KEY_FRAME_S


@pytest.mark.parametrize("name", WAYS)
async def test_it_shows_and_sounds_as_the_fake_devices_do(outcomes: dict[str, Outcome], name: str) -> None:
    content = await asyncio.to_thread(find, outcomes[name].path)
    assert len(content.beeps) >= 0.95 * (content.audio_s / BEEP_S - 1)
    assert len(content.turns) >= 0.95 * (content.video_s / TURN_S - 1)
    assert cadence_error_ms(content.beeps, BEEP_S) <= 25
    assert cadence_error_ms(content.turns, TURN_S) <= 25


@pytest.mark.parametrize("room", ROOMS)
async def test_the_browser_was_asked_for_a_key_frame(outcomes: dict[str, Outcome], room: str) -> None:
    """Janus asks for none when it forwards: ours went by its RTCP port, of which only an empty packet tells."""
    asked = [outcome.sent[1].plis for name, outcome in outcomes.items() if WAYS[name].room == room]
    assert min(asked) > 0


@pytest.mark.parametrize("name", WAYS)
async def test_the_browser_plays_it(conference: Conference, outcomes: dict[str, Outcome], name: str) -> None:
    outcome = outcomes[name]
    played_s = await conference.publisher.play(outcome.path.read_bytes(), WAYS[name].container)
    assert played_s == pytest.approx(outcome.probe.duration_s, abs=0.5)


async def test_janus_is_told_to_stop(conference: Conference, outcomes: dict[str, Outcome]) -> None:
    assert outcomes["contract"].recording.status is JobStatus.COMPLETED

    async def nothing_is_forwarded() -> bool:
        return not await conference.janus.forwarded("room-vp8", PEER)

    await eventually(nothing_is_forwarded)
    assert len(await conference.janus.forwarded("room-h264", PEER)) == 2, "that is up to the client"
