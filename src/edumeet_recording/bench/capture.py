"""What capturing costs: our node against a floor in C and against one FFmpeg a recording, on the same streams.

They are measured in turn, round by round: what else the machine does, and how fast it is just then, falls on all alike.

Processor time is user and system of the whole process trees, over a stretch in which every stream flows. The sender is
not counted. The node does all it does in earnest: supervisor, statistics, receiver reports, chunks shipped to a folder
and verified, journal, heartbeats over its link.
"""

import argparse
import asyncio
import json
import signal
import sys
from base64 import b64encode
from collections.abc import AsyncGenerator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from statistics import fmean
from tempfile import TemporaryDirectory

from imageio_ffmpeg import get_ffmpeg_exe
from rich.console import Console
from rich.table import Table

from edumeet_recording.bench import clip
from edumeet_recording.bench.gauge import Cost, cost
from edumeet_recording.bench.one_node import OneNode, one_node
from edumeet_recording.bench.sender import ssrc_of
from edumeet_recording.config import environment_of_child
from edumeet_recording.domain.codecs import Codec, Kind
from edumeet_recording.domain.errors import Unavailable
from edumeet_recording.lifeline import die_with_parent
from edumeet_recording.media.sdp import SdpStream, build_sdp
from edumeet_recording.wire.node_link import DesiredCapture, SrtpKey, Stream

FLOOR_PORT = 21000
NODE_PORT = 22000
FFMPEG_PORT = 24000
"""Each is the first of many, all below those that the kernel gives to whoever asks for any (32768 and up)."""
WARM_UP_S = 5.0
BEGIN_S = 30.0
RESULT = Path("build/bench/capture.json")
TARGETS = {"cpu_ratio_floor": 2.0, "cpu_ratio_floor_srtp": 4.0, "cpu_ratio_ffmpeg": 0.5, "memory_ratio_ffmpeg": 0.1}

STREAMS = (
    Stream(index=0, kind=Kind.AUDIO, codec=Codec.OPUS, payload_type=clip.AUDIO_PAYLOAD_TYPE, clock_rate=48000),
    Stream(index=1, kind=Kind.VIDEO, codec=Codec.VP8, payload_type=clip.VIDEO_PAYLOAD_TYPE, clock_rate=90000),
)
Ports = tuple[int, int]
KEY = SrtpKey(suite="AES_CM_128_HMAC_SHA1_80", key_base64=b64encode(bytes(range(30))).decode())


@dataclass(frozen=True, slots=True)
class Measured:
    """One way to record, per recording. `written_bytes` is what it put on disk meanwhile: a check that it recorded."""

    recordings: int
    cpu_ms_per_media_s: float
    user_share: float
    pss_bytes: float
    rss_bytes: float
    written_bytes: float


class Bench:
    """`recordings` at once, measured for `seconds`; `folder`, which is made, is for what they write."""

    def __init__(self, recordings: int, seconds: float, folder: Path, sender: asyncio.subprocess.Process) -> None:
        self._recordings = recordings
        self._seconds = seconds
        self._folder = folder
        folder.mkdir(exist_ok=True)
        self._sender = sender

    async def floor(self) -> Measured:
        """The C program beside this file."""
        program = self._folder / "floor"
        source = Path(__file__).with_name("floor.c")
        compiler = await asyncio.create_subprocess_exec("cc", "-O2", "-o", str(program), str(source))
        if await compiler.wait() != 0:
            raise SystemExit("the floor needs a C compiler called cc")
        written = self._subfolder("floor-tapes")
        ports = _ports(FLOOR_PORT, self._recordings)
        async with child(str(program), str(FLOOR_PORT), str(2 * self._recordings), "2", str(written)) as floor:
            return await self._measure(ports, [floor], written)

    async def node(self, key: SrtpKey | None = None) -> Measured:
        """A whole node, as it is run in earnest, towards a stand-in for the orchestrator; with `key` it gets SRTP."""
        written = self._subfolder("node-srtp" if key else "node")
        async with one_node() as orchestrator:
            settings = {
                "ORCHESTRATOR_URL": orchestrator.url,
                "STATE_DIR": str(written),
                "RTP_PORT_MIN": str(NODE_PORT),
                "RTP_PORT_MAX": str(NODE_PORT + 4 * self._recordings + 4),
                "LOG_LEVEL": "warning",
                "CAPTURE_ALONE_S": "10",
            }
            command = (sys.executable, "-m", "edumeet_recording", "node")
            async with child(*command, environment=environment_of_child(settings), stop=signal.SIGINT) as node:
                ports = await self._begin(orchestrator, key)
                measured = await self._measure(ports, [node], written / "storage", key)
                _check(orchestrator)
                await self._send([])
                return measured

    async def _begin(self, orchestrator: OneNode, key: SrtpKey | None) -> list[Ports]:
        captures = [_capture(number, key) for number in range(self._recordings)]
        await orchestrator.want(*captures)
        try:
            async with asyncio.timeout(BEGIN_S):
                while len(ports := _told_ports(orchestrator)) < len(captures):  # noqa: ASYNC110 - told over a link
                    await asyncio.sleep(0.05)
        except TimeoutError as error:
            message = f"the node has not begun within {BEGIN_S:g} s: is the machine busy with something else?"
            raise Unavailable(message) from error
        return [ports[capture.capture_id] for capture in captures]

    async def ffmpeg(self) -> Measured:
        """`ffmpeg -i sdp -c copy`, one process a recording; those that gave up while probing are left out, and told."""
        written = self._subfolder("ffmpeg")
        ports = _ports(FFMPEG_PORT, self._recordings)
        async with AsyncExitStack() as stack:
            children: list[asyncio.subprocess.Process] = []
            for number, (audio, video) in enumerate(ports):
                sdp = written / f"{number}.sdp"
                sdp.write_text(_sdp(audio, video))
                arguments = ("-nostdin", "-loglevel", "fatal", "-protocol_whitelist", "file,udp,rtp", "-i", str(sdp))
                output = ("-c", "copy", "-y", str(written / f"{number}.mkv"))
                children.append(await stack.enter_async_context(child(get_ffmpeg_exe(), *arguments, *output)))
            return await self._measure(ports, children, written)

    async def _measure(
        self,
        ports: list[Ports],
        children: Sequence[asyncio.subprocess.Process],
        written: Path,
        key: SrtpKey | None = None,
    ) -> Measured:
        await self._send(ports, key)
        await asyncio.sleep(WARM_UP_S)
        pids = [child.pid for child in children if child.returncode is None]
        recordings = self._recordings * len(pids) // len(children)
        if not pids:
            raise SystemExit(f"nothing records into {written.name}")
        loop = asyncio.get_running_loop()
        before, bytes_before, began = cost(pids), _size(written), loop.time()
        await asyncio.sleep(self._seconds)
        after, bytes_after, seconds = cost(pids), _size(written), loop.time() - began
        await self._send([])
        return _per_recording(before, after, seconds, bytes_after - bytes_before, recordings)

    async def _send(self, ports: list[Ports], key: SrtpKey | None = None) -> None:
        if self._sender.stdin is not None:
            order = {"targets": ports, "srtp": key and (key.suite, key.key_base64)}
            self._sender.stdin.write(json.dumps(order).encode() + b"\n")
            await self._sender.stdin.drain()

    def _subfolder(self, name: str) -> Path:
        folder = self._folder / name
        folder.mkdir()
        return folder


def _per_recording(before: Cost, after: Cost, seconds: float, written: int, recordings: int) -> Measured:
    used = after.cpu_s - before.cpu_s
    return Measured(
        recordings=recordings,
        cpu_ms_per_media_s=1000 * used / seconds / recordings,
        user_share=(after.user_s - before.user_s) / used,
        pss_bytes=after.pss_bytes / recordings,
        rss_bytes=after.rss_bytes / recordings,
        written_bytes=written / seconds / recordings,
    )


def _ports(first: int, recordings: int) -> list[Ports]:
    return [(first + 4 * i, first + 4 * i + 2) for i in range(recordings)]


def _capture(number: int, key: SrtpKey | None) -> DesiredCapture:
    streams = tuple(
        stream.model_copy(update={"ssrc": ssrc_of(number, stream.kind), "srtp": key, "srtp_ours": key})
        for stream in STREAMS
    )
    name = f"capture-{number}"
    return DesiredCapture(
        capture_id=name, job_id=name, epoch=1, tape_prefix=f"tapes/{name}", confirmed=True, streams=streams
    )


def _told_ports(orchestrator: OneNode) -> dict[str, Ports]:
    """By capture, of those that are prepared."""
    return {
        name: (report.ports[0].port, report.ports[1].port)
        for name, report in orchestrator.captures.items()
        if report.ports
    }


def _check(orchestrator: OneNode) -> None:
    for report in orchestrator.captures.values():
        if report.foreign or report.error or any(stream.lost or not stream.packets for stream in report.streams):
            raise SystemExit(f"the node did not record all of it: {report}")


def _sdp(audio: int, video: int) -> str:
    return build_sdp(
        "127.0.0.1",
        (
            SdpStream(Codec.OPUS, audio, clip.AUDIO_PAYLOAD_TYPE),
            SdpStream(Codec.VP8, video, clip.VIDEO_PAYLOAD_TYPE),
        ),
    )


def _size(folder: Path) -> int:
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())


@asynccontextmanager
async def child(
    *command: str, environment: dict[str, str] | None = None, stop: signal.Signals = signal.SIGKILL
) -> AsyncGenerator[asyncio.subprocess.Process]:
    """A child that ends with us, by `stop` where the block is left."""
    process = await asyncio.create_subprocess_exec(
        *command,
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        env=environment,
        preexec_fn=partial(die_with_parent, signal.SIGKILL),
    )
    try:
        yield process
    finally:
        with suppress(ProcessLookupError):
            process.send_signal(stop)
        await process.wait()


async def measure(recordings: int, seconds: float, *, rounds: int, srtp: bool) -> dict[str, Measured]:
    """The mean of the rounds of each way to record, by name; `srtp`: SRTP too.

    Raises `SystemExit` where one of them did not record.
    """
    measured: dict[str, list[Measured]] = {}
    with TemporaryDirectory(dir=RESULT.parent) as folder:
        async with child(sys.executable, "-m", "edumeet_recording.bench.sender") as sender:
            if sender.stdout is None or await sender.stdout.readline() != b"ready\n":
                raise SystemExit("the sender did not start")
            for number in range(rounds):
                bench = Bench(recordings, seconds / rounds, Path(folder, str(number)), sender)
                measured.setdefault("C floor", []).append(await bench.floor())
                measured.setdefault("node", []).append(await bench.node())
                if srtp:
                    measured.setdefault("node, SRTP", []).append(await bench.node(KEY))
                measured.setdefault("FFmpeg", []).append(await bench.ffmpeg())
    for name, each in measured.items():
        if min(one.written_bytes for one in each) < 50_000:
            raise SystemExit(f"{name} recorded next to nothing: {each}")
    return {name: _mean(each) for name, each in measured.items()}


def _mean(rounds: Sequence[Measured]) -> Measured:
    means = {name: fmean(getattr(one, name) for one in rounds) for name in Measured.__slots__ if name != "recordings"}
    return replace(min(rounds, key=lambda one: one.recordings), **means)


def ratios(measured: dict[str, Measured]) -> dict[str, float]:
    """Of the node to the others. Memory is compared by PSS: RSS counts FFmpeg's program text once a process."""
    floor, node, ffmpeg = measured["C floor"], measured["node"], measured["FFmpeg"]
    encrypted = measured.get("node, SRTP")
    over_floor = encrypted and round(encrypted.cpu_ms_per_media_s / floor.cpu_ms_per_media_s, 3)
    return {
        **({} if over_floor is None else {"cpu_ratio_floor_srtp": over_floor}),
        "cpu_ratio_floor": round(node.cpu_ms_per_media_s / floor.cpu_ms_per_media_s, 3),
        "cpu_ratio_ffmpeg": round(node.cpu_ms_per_media_s / ffmpeg.cpu_ms_per_media_s, 3),
        "memory_ratio_ffmpeg": round(node.rss_bytes / ffmpeg.rss_bytes, 3),
        "memory_ratio_ffmpeg_pss": round(node.pss_bytes / ffmpeg.pss_bytes, 3),
    }


def _print(measured: dict[str, Measured], figures: dict[str, float], recordings: int) -> None:
    table = Table(title=f"Capture: {recordings} recordings of Opus and 1.2 Mb/s VP8, each")
    for column in ("", "recordings", "CPU ms per media-s", "of it user", "PSS MB", "RSS MB", "written kB/s"):
        table.add_column(column, justify="right")
    for name, each in measured.items():
        table.add_row(
            name,
            str(each.recordings),
            f"{each.cpu_ms_per_media_s:.2f}",
            f"{each.user_share:.0%}",
            f"{each.pss_bytes / 1e6:.2f}",
            f"{each.rss_bytes / 1e6:.2f}",
            f"{each.written_bytes / 1e3:.0f}",
        )
    console = Console()
    console.print(table)
    for name, target in TARGETS.items():
        if name not in figures:
            continue
        met = figures[name] <= target
        console.print(f"{'[green]✓' if met else '[red]✗'}[/] {name} {figures[name]} (at most {target})")
    console.print(f"  memory_ratio_ffmpeg_pss {figures['memory_ratio_ffmpeg_pss']} (program text shared out)")


def main() -> None:
    """Measure, print, and write the figures; exit code 1 where a target is missed."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--recordings", type=int, default=50)
    parser.add_argument("--seconds", type=float, default=24, help="of each way, shared out over the rounds")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--srtp", action=argparse.BooleanOptionalAction, default=True)
    options = parser.parse_args()
    RESULT.parent.mkdir(parents=True, exist_ok=True)
    measured = asyncio.run(measure(options.recordings, options.seconds, rounds=options.rounds, srtp=options.srtp))
    figures = ratios(measured)
    _print(measured, figures, options.recordings)
    ways = {name: {field: getattr(each, field) for field in Measured.__slots__} for name, each in measured.items()}
    RESULT.write_text(json.dumps({**figures, "recordings": options.recordings, "ways": ways}, indent=2) + "\n")
    if any(figures.get(name, 0) > target for name, target in TARGETS.items()):
        raise SystemExit(1)


if __name__ == "__main__":
    main()
