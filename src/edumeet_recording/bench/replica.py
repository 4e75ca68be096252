"""Replica processes on a database of their own, and nodes that stand still, for what loads the API from outside."""

import asyncio
import secrets
import time
from collections.abc import AsyncGenerator, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

from edumeet_recording.api.auth import Scope, issue_token
from edumeet_recording.client import RecordingClient
from edumeet_recording.domain.price import capacity_mcpu
from edumeet_recording.domain.request import FFmpegNodeRegistration
from edumeet_recording.sim.fleet.http import LeanClient
from edumeet_recording.sim.processes import OwnProcess, own_process
from edumeet_recording.store import nodes
from edumeet_recording.store.db import open_pool
from edumeet_recording.store.embedded import embedded_postgres
from edumeet_recording.store.notify import Notifier
from edumeet_recording.store.transaction import Channel, Transactor, Tx
from edumeet_recording.wire.http import RegisterRoomServer
from edumeet_recording.wire.node_link import NodeLoad

ROOM_SERVER, REGION = "bench-rooms", "eu-north-1"
STILL_NODE, STILL_NODES = "still-", 50
NODE_CORES = 4096
BEAT_S = 0.5
NOWHERE = "http://127.0.0.1:9"


@dataclass(frozen=True, slots=True)
class Replica:
    """It runs; `token` may do everything."""

    url: str
    dsn: str
    token: str
    process: OwnProcess

    def caller(self, connections: int) -> LeanClient:
        """Who asks its API."""
        return LeanClient(self.url, {"Authorization": f"Bearer {self.token}"}, connections)


@asynccontextmanager
async def replica(folder: Path, settings: Mapping[str, str]) -> AsyncGenerator[Replica]:
    """An orchestrator, and its PostgreSQL, until the block is left."""
    async with replicas(folder, settings, 1) as (there,):
        yield there


@asynccontextmanager
async def replicas(folder: Path, settings: Mapping[str, str], count: int) -> AsyncGenerator[list[Replica]]:
    """Orchestrators on one PostgreSQL, until the block is left."""
    secret = secrets.token_urlsafe(32)
    async with AsyncExitStack() as stack:
        dsn = await stack.enter_async_context(embedded_postgres(folder / "state"))
        given = {
            "PORT": "0",
            "DATABASE_URL": dsn,
            "JWT_SECRET": secret,
            "STORAGE_URL": (folder / "storage").as_uri(),
            "LOG_LEVEL": "warning",
            **settings,
        }
        now = time.time_ns() / 1e9
        token = issue_token(secret, subject="bench", scopes=tuple(Scope), tenant=None, ttl_s=86400, now=now)
        started: list[Replica] = []
        for number in range(count):
            process = await stack.enter_async_context(
                own_process(f"orchestrator-{number}", "orchestrator", "--json", settings=given, folder=folder)
            )
            started.append(Replica((await process.answer())["url"], dsn, token, process))
        yield started


@asynccontextmanager
async def still_fleet(there: Replica, count: int = STILL_NODES) -> AsyncGenerator[None]:
    """A room server, and nodes that are healthy, but neither linked nor told anything, until the block is left.

    Their heartbeats go straight to the database: what is measured is not theirs. Who asks them for a sign of life asks
    the replica itself, so that none is thought dead where the machine is too busy to send a heartbeat.
    """
    await register_rooms(there)
    async with open_pool(there.dsn, 1) as pool, asyncio.TaskGroup() as tasks:
        notifier = Notifier(there.dsn)
        db = Transactor(pool, notifier)
        ids = [f"{STILL_NODE}{number}" for number in range(count)]
        await db.run(lambda tx: register_nodes(tx, ids, NODE_CORES, there.url))
        await db.run(lambda tx: beat_nodes(tx, ids))
        running = [tasks.create_task(work) for work in (notifier.run(), _beat(db, ids))]
        yield
        for task in running:
            task.cancel()


async def register_rooms(there: Replica) -> None:
    """A room server at which nobody answers."""
    async with RecordingClient(there.url, there.token) as client:
        server = {"serverId": ROOM_SERVER, "url": NOWHERE, "region": REGION, "capacity": 100, "specs": {}}
        await client.register_room_server(RegisterRoomServer.model_validate(server))


async def register_nodes(tx: Tx, ids: Sequence[str], cores: float, url: str, token_sha256: bytes = b"") -> None:
    """Nodes of one region, straight into the database; replicas are told."""
    tx.hint(Channel.FLEET)
    for node_id in ids:
        new = FFmpegNodeRegistration(node_id, url, REGION, {"cpuCores": cores})
        await nodes.register_ffmpeg_node(
            tx.conn, new, node_id=node_id, capacity_mcpu=capacity_mcpu(cores), token_sha256=token_sha256, now=tx.now
        )


async def beat_nodes(tx: Tx, ids: Sequence[str]) -> None:
    """Their heartbeats."""
    await nodes.store_heartbeats(tx.conn, dict.fromkeys(ids, NodeLoad()), tx.now)


async def _beat(db: Transactor, ids: Sequence[str]) -> None:
    while True:
        await db.run(lambda tx: beat_nodes(tx, ids))
        await asyncio.sleep(BEAT_S)
