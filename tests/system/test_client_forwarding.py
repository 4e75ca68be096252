"""Nothing of ours on the sending side: plain FFmpeg and GStreamer send where the answer says, and the file plays."""

import asyncio
import shutil
from pathlib import Path

import imageio_ffmpeg
import pytest
from tests.system.conftest import Service

from edumeet_recording.client import RecordingClient
from edumeet_recording.domain.job import JobStatus
from edumeet_recording.sim.analyse import ContentReport, analyse
from edumeet_recording.wire.http import RegisterRoomServer, StartRecording
from edumeet_recording.wire.views import Recording

pytestmark = pytest.mark.asyncio(loop_scope="module")

SEND_S = 5
GSTREAMER = shutil.which("gst-launch-1.0")


async def _start(client: RecordingClient, video: str, container: str) -> Recording:
    room_server = RegisterRoomServer(server_id="room-server-1", url="http://127.0.0.1:9", region="default", capacity=1)
    known = {each.id for each in await client.nodes()}
    if room_server.server_id not in known:
        await client.register_room_server(room_server)
    body = {
        "roomServerId": room_server.server_id,
        "roomId": "try",
        "peerId": f"me-with-{video}",
        "forwarding": "client",
        "options": {"format": container},
        "rtpStreams": (
            {"kind": "audio", "codecName": "opus", "payloadType": 111},
            {"kind": "video", "codecName": video, "payloadType": 96},
        ),
    }
    return await client.start(StartRecording.model_validate(body))


def _ports(recording: Recording) -> tuple[str, int, int]:
    target = recording.rtp_forwarding
    assert target is not None, "the answer names no target"
    audio, video = target.ports
    return target.ip, audio.port, video.port


async def _run(*command: str | Path) -> None:
    process = await asyncio.create_subprocess_exec(
        *command, stderr=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.DEVNULL
    )
    _output, complaint = await process.communicate()
    assert process.returncode == 0, complaint.decode()[-2000:]


async def _finished(service: Service, recording: Recording, container: str) -> ContentReport:
    await service.client.stop(recording.job_id)
    ended = await service.until(recording.job_id)
    assert ended.status is JobStatus.COMPLETED, (ended.reason, ended.reason_detail)
    path = await service.client.download(ended, service.folder / f"{recording.peer_id}.{container}")
    return await asyncio.to_thread(analyse, path)


def _holds(content: ContentReport, video: str) -> None:
    assert content.audio is not None
    assert content.video is not None
    assert (content.audio.codec, content.video.codec) == ("opus", video)
    assert abs(content.duration_s - SEND_S) < 0.5
    assert content.video.frames > 20 * SEND_S
    assert content.decode_errors == 0


@pytest.mark.parametrize(
    ("video", "container", "encoder"),
    [
        ("vp8", "webm", ["libvpx", "-deadline", "realtime", "-cpu-used", "8"]),
        ("h264", "mp4", ["libx264", "-preset", "ultrafast", "-tune", "zerolatency"]),
    ],
)
async def test_plain_ffmpeg_is_recorded(service: Service, video: str, container: str, encoder: list[str]) -> None:
    recording = await _start(service.client, video, container)
    ip, audio_port, video_port = _ports(recording)
    length = ["-t", str(SEND_S)]
    await _run(
        imageio_ffmpeg.get_ffmpeg_exe(), "-hide_banner", "-loglevel", "error",
        "-re", "-f", "lavfi", "-i", "testsrc2=size=320x180:rate=25",
        "-re", "-f", "lavfi", "-i", "sine=frequency=440:sample_rate=48000",
        *length, "-map", "0:v", "-c:v", *encoder, "-g", "50", "-pix_fmt", "yuv420p",
        "-payload_type", "96", "-f", "rtp", f"rtp://{ip}:{video_port}",
        *length, "-map", "1:a", "-c:a", "libopus", "-payload_type", "111", "-f", "rtp", f"rtp://{ip}:{audio_port}",
    )  # fmt: skip
    _holds(await _finished(service, recording, container), video)


@pytest.mark.skipif(GSTREAMER is None, reason="needs gst-launch-1.0 with its base, good and bad plugins")
async def test_plain_gstreamer_is_recorded(service: Service) -> None:
    recording = await _start(service.client, "vp8", "mkv")
    ip, audio_port, video_port = _ports(recording)
    pipeline = (
        f"videotestsrc is-live=true num-buffers={25 * SEND_S} ! video/x-raw,width=320,height=180,framerate=25/1 "
        f"! vp8enc deadline=1 keyframe-max-dist=50 ! rtpvp8pay pt=96 ! udpsink host={ip} port={video_port} "
        f"audiotestsrc is-live=true num-buffers={50 * SEND_S} samplesperbuffer=960 ! audioconvert ! audioresample "
        f"! opusenc ! rtpopuspay pt=111 ! udpsink host={ip} port={audio_port}"
    )
    await _run(GSTREAMER or "", "-e", *pipeline.split())
    _holds(await _finished(service, recording, "mkv"), "vp8")
