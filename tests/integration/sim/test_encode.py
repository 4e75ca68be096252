"""What we send is what a foreign receiver (FFmpeg) understands."""

import asyncio
import contextlib
import socket
from collections.abc import AsyncIterator
from pathlib import Path

import imageio_ffmpeg
import pytest
from tests.integration.sim.recorder import configure
from tests.waiting import eventually

from edumeet_recording.domain.codecs import CLOCK_RATE_HZ, Codec, Kind, kind_of
from edumeet_recording.sim.analyse import analyse
from edumeet_recording.sim.consumer import PAYLOAD_TYPES
from edumeet_recording.sim.encode import CHANNELS
from edumeet_recording.sim.publisher import PeerMedia
from edumeet_recording.sim.rooms import Rooms
from edumeet_recording.wire.room_link import Configured

SECONDS = 3


def _free_port() -> int:
    """FFmpeg wants to be told its port, and takes the next one for RTCP."""
    while True:
        with socket.socket(type=socket.SOCK_DGRAM) as media, socket.socket(type=socket.SOCK_DGRAM) as control:
            media.bind(("127.0.0.1", 0))
            port: int = media.getsockname()[1]
            with contextlib.suppress(OSError, OverflowError):
                control.bind(("127.0.0.1", port + 1))
                if port % 2 == 0:
                    return port


def _sdp(codec: Codec, port: int) -> str:
    channels = "/2" if CHANNELS.get(codec) == 2 else ""
    number = PAYLOAD_TYPES[codec]
    lines = [
        "v=0",
        "o=- 0 0 IN IP4 127.0.0.1",
        "s=-",
        "c=IN IP4 127.0.0.1",
        "t=0 0",
        f"m={kind_of(codec)} {port} RTP/AVP {number}",
        f"a=rtpmap:{number} {codec.upper()}/{CLOCK_RATE_HZ[codec]}{channels}",
    ]
    if codec is Codec.H264:
        lines.append(f"a=fmtp:{number} packetization-mode=1")
    return "\n".join(lines) + "\n"


@contextlib.asynccontextmanager
async def _ffmpeg(codec: Codec, port: int, folder: Path) -> AsyncIterator[asyncio.subprocess.Process]:
    """FFmpeg recording one stream, from when it listens."""
    sdp, output = folder / f"{codec}.sdp", folder / f"{codec}.mkv"
    await asyncio.to_thread(sdp.write_text, _sdp(codec, port))
    # FFmpeg's VP9 depacketizer marks no key frames, and without -copyinkf a copy waits for one.
    flags = ["-v", "error", "-protocol_whitelist", "file,udp,rtp"]
    arguments = [*flags, "-i", sdp, "-c", "copy", "-copyinkf", "-t", str(SECONDS), output]
    child = await asyncio.create_subprocess_exec(
        imageio_ffmpeg.get_ffmpeg_exe(), *map(str, arguments), stdin=asyncio.subprocess.DEVNULL
    )
    try:
        await eventually(lambda: f":{port:04X} " in Path("/proc/net/udp").read_text())
        yield child
    finally:
        if child.returncode is None:
            child.kill()
        await child.wait()


@pytest.mark.parametrize(
    "codecs", [(Codec.VP8, Codec.H264, Codec.OPUS), (Codec.VP9, Codec.AV1, Codec.PCMU, Codec.PCMA)]
)
async def test_ffmpeg_records_it(rooms: Rooms, tmp_path: Path, codecs: tuple[Codec, ...]) -> None:
    async with contextlib.AsyncExitStack() as recorders:
        children: list[asyncio.subprocess.Process] = []
        for index, codec in enumerate(codecs):
            port = _free_port()
            is_audio = kind_of(codec) is Kind.AUDIO
            media = PeerMedia(audio=codec if is_audio else None, video=None if is_audio else codec, index=index)
            rooms.add_peer("room", codec, media)
            children.append(await recorders.enter_async_context(_ffmpeg(codec, port, tmp_path)))
            answer = rooms.handle(configure((codec, port, port + 1), peer_id=codec, rtcp_mux=False))
            assert isinstance(answer, Configured)
        async with asyncio.timeout(20):
            assert [await child.wait() for child in children] == [0] * len(codecs)

    for index, codec in enumerate(codecs):
        report = await asyncio.to_thread(analyse, tmp_path / f"{codec}.mkv")
        assert report.decode_errors == 0
        if report.video is not None:
            assert report.video.codec == codec
            assert report.video.colour_index == index
            # each codec smears a number now and then
            assert len(report.video.numbers) > 0.95 * report.video.frames > 20 * (SECONDS - 1)
            # FFmpeg follows each sender report, which is as exact as the moment a packet was sent
            shifts = [at - number / 25 for number, at in report.video.numbers]
            assert max(shifts) - min(shifts) < 0.12
        events = report.video.flashes if report.video else report.audio.beeps if report.audio else ()
        assert len(events) >= SECONDS - 1
        assert events[-1] - events[0] == pytest.approx(len(events) - 1, abs=0.06)
        if report.audio is not None:
            assert report.audio.tone_index == index
