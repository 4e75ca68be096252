import asyncio
import socket
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from pathlib import Path

import pytest
from tests import rtp_ports

from edumeet_recording.bench.one_node import OneNode, one_node
from edumeet_recording.config import NodeSettings
from edumeet_recording.media.rtp import build_rtp, parse_rtp
from edumeet_recording.media.tape import RecordKind, read_records
from edumeet_recording.node.main import run_node

Start = Callable[..., AbstractAsyncContextManager[NodeSettings]]


@pytest.fixture
async def orchestrator() -> AsyncIterator[OneNode]:
    async with one_node() as stand_in:
        yield stand_in


@pytest.fixture
def start_node(orchestrator: OneNode, tmp_path: Path) -> Start:
    """Runs a node in this process as long as the context is open; the same state directory each time."""

    @asynccontextmanager
    async def start(**overrides: object) -> AsyncIterator[NodeSettings]:
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
            node = group.create_task(run_node(settings, stop))
            try:
                yield settings
            finally:
                stop.set()
            await asyncio.wait_for(node, 8)

    return start


class Sender:
    """Numbered packets to one port, 5 ms apart, until the context is left."""

    def __init__(self, port: int, payload_type: int = 100, ssrc: int = 10) -> None:
        self.udp = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self.udp.setblocking(False)
        self.target = ("127.0.0.1", port)
        self.sent = 0
        self.payload_type = payload_type
        self.ssrc = ssrc

    def send(self) -> None:
        data = build_rtp(
            payload_type=self.payload_type,
            sequence=self.sent,
            timestamp=960 * self.sent,
            ssrc=self.ssrc,
            payload=b"x" * 80,
        )
        self.udp.sendto(data, self.target)
        self.sent += 1

    async def run(self) -> None:
        while True:
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
