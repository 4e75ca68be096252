import asyncio
import os
import signal
import socket
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from pathlib import Path
from typing import Protocol

import pytest
from tests import rtp_ports

from edumeet_recording.bench.one_node import OneNode, one_node
from edumeet_recording.config import NodeSettings
from edumeet_recording.media.rtp import build_rtp, parse_rtp
from edumeet_recording.media.tape import RecordKind, read_records
from edumeet_recording.node.main import run_node
from edumeet_recording.sim.processes import OwnProcess, own_process

Start = Callable[..., AbstractAsyncContextManager[NodeSettings]]


@pytest.fixture
async def orchestrator() -> AsyncIterator[OneNode]:
    async with one_node() as stand_in:
        yield stand_in


@pytest.fixture
def start_node(orchestrator: OneNode, tmp_path: Path) -> Start:
    """Runs a node in this process as long as the context is open; the same state directory each time."""

    @asynccontextmanager
    async def start(leave: asyncio.Event | None = None, **overrides: object) -> AsyncIterator[NodeSettings]:
        values: dict[str, object] = {
            "orchestrator_url": orchestrator.url,
            "state_dir": tmp_path / "state",
            "node_id": "node-1",
            "capture_processes": 1,
            "chunk_seconds": 0.5,
            "capture_alone_s": 5,
            "rtp_port_min": rtp_ports.FIRST,
            "rtp_port_max": rtp_ports.LAST,
        }
        settings = NodeSettings(_env_file=None, **(values | overrides))
        stop = asyncio.Event()
        async with asyncio.TaskGroup() as group:
            node = group.create_task(run_node(settings, stop, leave or asyncio.Event()))
            try:
                yield settings
            finally:
                stop.set()
            await asyncio.wait_for(node, 8)

    return start


class StartAgent(Protocol):
    def __call__(self, **settings: str) -> AbstractAsyncContextManager[OwnProcess]: ...


def workers(folder: Path) -> set[int]:
    """Pids of the capture processes that work for a node below `folder`, whoever their parent is."""
    found = set[int]()
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            line = path.read_bytes().split(b"\0")
        except (FileNotFoundError, ProcessLookupError):
            continue
        if b"edumeet_recording.node.capture" in line and any(os.fsencode(folder) in each for each in line):
            found.add(int(path.parent.name))
    return found


@pytest.fixture
async def start_agent(orchestrator: OneNode, tmp_path: Path) -> AsyncIterator[StartAgent]:
    """Runs a node as a process of its own, in the same state directory each time; no worker survives the test."""
    own = {
        "ORCHESTRATOR_URL": orchestrator.url,
        "STATE_DIR": str(tmp_path / "state"),
        "NODE_ID": "node-1",
        "CAPTURE_PROCESSES": "1",
        "CHUNK_SECONDS": "0.5",
        "RTP_PORT_MIN": "47300",
        "RTP_PORT_MAX": "47400",
        "CAPTURE_ALONE_S": "60",
    }

    @asynccontextmanager
    async def start(**settings: str) -> AsyncIterator[OwnProcess]:
        async with own_process("node", "node", settings=own | settings, folder=tmp_path) as process:
            yield process

    yield start
    left = workers(tmp_path)
    for pid in left:
        os.kill(pid, signal.SIGKILL)
    assert not left


class Sender:
    """Numbered packets to one port, `burst` of them each 5 ms, until the context is left."""

    def __init__(
        self, port: int, payload_type: int = 100, ssrc: int = 10, payload_bytes: int = 80, burst: int = 1
    ) -> None:
        self.udp = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self.udp.setblocking(False)
        self.target = ("127.0.0.1", port)
        self.sent = 0
        self.payload_type = payload_type
        self.ssrc = ssrc
        self.payload = b"x" * payload_bytes
        self.burst = burst

    def send(self) -> None:
        data = build_rtp(
            payload_type=self.payload_type,
            sequence=self.sent,
            timestamp=960 * self.sent,
            ssrc=self.ssrc,
            payload=self.payload,
        )
        self.udp.sendto(data, self.target)
        self.sent += 1

    async def run(self) -> None:
        while True:
            for _ in range(self.burst):
                self.send()
            await asyncio.sleep(0.005)


@asynccontextmanager
async def sending(port: int, **of: int) -> AsyncIterator[Sender]:
    sender = Sender(port, **of)
    async with asyncio.TaskGroup() as group:
        running = group.create_task(sender.run())
        try:
            yield sender
        finally:
            running.cancel()
            sender.udp.close()


def taped_sequences(chunks: list[bytes]) -> list[int]:
    """Sequence numbers of the RTP on these chunks."""
    return [
        parse_rtp(record.payload).sequence
        for chunk in chunks
        for record in read_records(chunk)
        if record.kind == RecordKind.RTP
    ]
