"""Nothing of ours on the sending side: plain FFmpeg and GStreamer send where the answer says, and the file plays."""

import asyncio
import shutil
from collections.abc import Callable
from dataclasses import dataclass

import imageio_ffmpeg
import pytest
import pytest_asyncio
from tests.system.conftest import Service

from edumeet_recording.domain.job import JobStatus
from edumeet_recording.sim.analyse import ContentReport, analyse
from edumeet_recording.wire.http import RegisterRoomServer, StartRecording
from edumeet_recording.wire.views import Recording, RtpForwarding

pytestmark = pytest.mark.asyncio(loop_scope="module")

ROOM_SERVER = RegisterRoomServer(server_id="room-server-1", url="http://127.0.0.1:9", region="default", capacity=3)
SEND_S = 5
GSTREAMER = shutil.which("gst-launch-1.0")


def _ffmpeg(*encoder: str) -> Callable[[RtpForwarding], list[str]]:
    """FFmpeg, sending to a target with a video encoder and its options."""

    def command(target: RtpForwarding) -> list[str]:
        audio, video = target.ports
        length = ["-t", str(SEND_S)]
        return [
            imageio_ffmpeg.get_ffmpeg_exe(), "-hide_banner", "-loglevel", "error",
            "-re", "-f", "lavfi", "-i", "testsrc2=size=320x180:rate=25",
            "-re", "-f", "lavfi", "-i", "sine=frequency=440:sample_rate=48000",
            *length, "-map", "0:v", "-c:v", *encoder, "-g", "50", "-pix_fmt", "yuv420p",
            "-payload_type", "96", "-f", "rtp", f"rtp://{target.ip}:{video.port}",
            *length, "-map", "1:a", "-c:a", "libopus",
            "-payload_type", "111", "-f", "rtp", f"rtp://{target.ip}:{audio.port}",
        ]  # fmt: skip

    return command


def _gstreamer(target: RtpForwarding) -> list[str]:
    audio, video = target.ports
    pipeline = (
        f"videotestsrc is-live=true num-buffers={25 * SEND_S} ! video/x-raw,width=320,height=180,framerate=25/1 "
        f"! vp8enc deadline=1 keyframe-max-dist=50 ! rtpvp8pay pt=96 ! udpsink host={target.ip} port={video.port} "
        f"audiotestsrc is-live=true num-buffers={50 * SEND_S} samplesperbuffer=960 ! audioconvert ! audioresample "
        f"! opusenc ! rtpopuspay pt=111 ! udpsink host={target.ip} port={audio.port}"
    )
    return [GSTREAMER or "", "-e", *pipeline.split()]


@dataclass(frozen=True, slots=True)
class Sender:
    """Somebody else's program that sends Opus and `video`. `command`: its command line for a target."""

    video: str
    container: str
    command: Callable[[RtpForwarding], list[str]]


SENDERS = {
    "ffmpeg-vp8": Sender("vp8", "webm", _ffmpeg("libvpx", "-deadline", "realtime", "-cpu-used", "8")),
    "ffmpeg-h264": Sender("h264", "mp4", _ffmpeg("libx264", "-preset", "ultrafast", "-tune", "zerolatency")),
    "gstreamer-vp8": Sender("vp8", "mkv", _gstreamer),
}
HERE = [name for name in SENDERS if GSTREAMER or "gstreamer" not in name]


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def contents(service: Service) -> dict[str, ContentReport]:
    """What is in the files of all senders that this machine has; they send at a time."""
    await service.client.register_room_server(ROOM_SERVER)
    async with asyncio.TaskGroup() as tasks:
        made = {name: tasks.create_task(_content(service, name)) for name in HERE}
    return {name: task.result() for name, task in made.items()}


async def _content(service: Service, name: str) -> ContentReport:
    sender = SENDERS[name]
    recording = await _start(service, name, sender)
    assert recording.rtp_forwarding is not None, "the answer names no target"
    process = await asyncio.create_subprocess_exec(
        *sender.command(recording.rtp_forwarding), stderr=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.DEVNULL
    )
    _output, complaint = await process.communicate()
    assert process.returncode == 0, complaint.decode()[-2000:]
    await service.client.stop(recording.job_id)
    ended = await service.until(recording.job_id)
    assert ended.status is JobStatus.COMPLETED, (ended.reason, ended.reason_detail)
    path = await service.client.download(ended, service.folder / f"{name}.{sender.container}")
    return await asyncio.to_thread(analyse, path)


async def _start(service: Service, name: str, sender: Sender) -> Recording:
    body = {
        "roomServerId": ROOM_SERVER.server_id,
        "roomId": "try",
        "peerId": name,
        "forwarding": "client",
        "options": {"format": sender.container},
        "rtpStreams": (
            {"kind": "audio", "codecName": "opus", "payloadType": 111},
            {"kind": "video", "codecName": sender.video, "payloadType": 96},
        ),
    }
    return await service.client.start(StartRecording.model_validate(body))


@pytest.mark.parametrize("name", SENDERS)
async def test_a_plain_sender_is_recorded(contents: dict[str, ContentReport], name: str) -> None:
    if name not in HERE:
        pytest.skip("needs gst-launch-1.0 with its base, good and bad plugins")
    content = contents[name]
    assert content.audio is not None
    assert content.video is not None
    assert (content.audio.codec, content.video.codec) == ("opus", SENDERS[name].video)
    assert abs(content.duration_s - SEND_S) < 0.5
    assert content.video.frames > 20 * SEND_S
    assert content.decode_errors == 0
