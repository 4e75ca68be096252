"""Whole replicas in this process, and an FFmpeg node's end of its link."""

import asyncio
import secrets
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed

from edumeet_recording.api.auth import Scope, issue_token
from edumeet_recording.client import RecordingClient
from edumeet_recording.config import OrchestratorSettings
from edumeet_recording.domain.capture import CaptureState
from edumeet_recording.server.main import run_orchestrator
from edumeet_recording.wire.http import FFmpegNodeSpecs, RegisterFFmpegNode
from edumeet_recording.wire.node_link import (
    ORCHESTRATOR_MESSAGE,
    CaptureReport,
    Desired,
    DesiredCapture,
    Goaway,
    Heartbeat,
    Hello,
    NodeLoad,
    Port,
    Report,
)

JWT_KEY = secrets.token_urlsafe(32)


@dataclass(frozen=True, slots=True)
class At:
    """Where a replica is, and a client of it."""

    url: str
    client: RecordingClient


@asynccontextmanager
async def replica(dsn: str, folder: Path, **settings: object) -> AsyncIterator[At]:
    """A replica in this process."""
    ours = OrchestratorSettings.model_validate(
        {
            "port": 0,
            "database_url": dsn,
            "database_pool_size": 5,
            "jwt_secret": JWT_KEY,
            "state_dir": folder,
            "storage_url": (folder / "storage").as_uri(),
            **settings,
        }
    )
    stop, urls = asyncio.Event(), asyncio.Queue[str]()
    token = issue_token(JWT_KEY, subject="t", scopes=tuple(Scope), tenant=None, ttl_s=3600, now=time.time())
    async with asyncio.TaskGroup() as tasks:
        tasks.create_task(run_orchestrator(ours, stop, urls.put_nowait))
        try:
            async with asyncio.timeout(30):
                url = await urls.get()
            async with RecordingClient(url, token) as client:
                yield At(url, client)
        finally:
            stop.set()


class Node:
    """An FFmpeg node's end of its link."""

    def __init__(self, connection: ClientConnection) -> None:
        self.connection = connection
        self.wanted: tuple[DesiredCapture, ...] = ()
        self.sent_away = False

    async def listen(self) -> None:
        """Until the link closes."""
        with suppress(ConnectionClosed):
            async for text in self.connection:
                self._hear(text)

    def _hear(self, text: str | bytes) -> None:
        match ORCHESTRATOR_MESSAGE.validate_json(text):
            case Desired() as desired:
                self.wanted = desired.captures
            case Goaway():
                self.sent_away = True
            case _:
                pass

    async def beat(self) -> None:
        """Until the link closes."""
        with suppress(ConnectionClosed):
            while True:
                await self.connection.send(Heartbeat(load=NodeLoad()).to_json())
                await asyncio.sleep(0.3)

    async def prepare(self, capture: DesiredCapture, first_packet_at: float | None = None) -> None:
        """Say that the ports of a capture are open, and when its first packet came, if it has."""
        report = CaptureReport(
            capture_id=capture.capture_id,
            epoch=capture.epoch,
            state=CaptureState.PREPARED if first_packet_at is None else CaptureState.RECEIVING,
            ip="127.0.0.1",
            ports=(Port(index=0, port=40000, rtcp_port=40001),),
            first_packet_at=first_packet_at,
        )
        await self.connection.send(Report(captures=(report,)).to_json())


@asynccontextmanager
async def node(at: At, node_id: str) -> AsyncIterator[Node]:
    """A registered node with a link to this replica, and heartbeats."""
    specs = FFmpegNodeSpecs(cpu_cores=4, ram=1)
    new = RegisterFFmpegNode(url="http://127.0.0.1:9", region="eu", specs=specs, node_id=node_id)
    token = (await at.client.register_ffmpeg_node(new)).token
    url = f"{at.url.replace('http', 'ws', 1)}/api/nodes/ffmpeg-nodes/{node_id}/link"
    async with (
        asyncio.TaskGroup() as tasks,
        connect(url, additional_headers={"Authorization": f"Bearer {token}"}, proxy=None) as connection,
    ):
        linked = Node(connection)
        await connection.send(Hello(node_id=node_id, version="1").to_json())
        living = [tasks.create_task(linked.listen()), tasks.create_task(linked.beat())]
        yield linked
        for task in living:
            task.cancel()


async def healthy(client: RecordingClient, node_id: str) -> bool:
    return (await client.node(node_id)).is_healthy
