"""How many recordings one replica starts a second, through HTTP with JWT, and what the same statements reach alone."""

import asyncio
import json
import math
import time
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any
from uuid import uuid4

from edumeet_recording.api.auth import Principal
from edumeet_recording.api.new_recording import new_job
from edumeet_recording.bench.pgbench import Statement, script_of, transactions_a_second
from edumeet_recording.bench.replica import ROOM_SERVER, replica, still_fleet
from edumeet_recording.config import OrchestratorSettings
from edumeet_recording.control.fleet import LiveFleet
from edumeet_recording.control.starts import Starts
from edumeet_recording.domain.errors import Unavailable
from edumeet_recording.sim.fleet.figures import percentile
from edumeet_recording.sim.fleet.http import LeanClient
from edumeet_recording.store import views
from edumeet_recording.store.db import open_pool
from edumeet_recording.store.notify import Notifier
from edumeet_recording.store.transaction import Transactor
from edumeet_recording.wire.http import StartRecording

CALLERS = 16
WARM_UP = 100
POLL_S, KNOWN_POLLS = 0.1, 300
PLACED = b'"status":"initializing"'


@dataclass(frozen=True, slots=True)
class Measured:
    """`cpu_ms`: processor time of the replica for one of them."""

    a_second: float
    p99_ms: float
    cpu_ms: float
    pgbench_a_second: float


async def measure(folder: Path, seconds: float) -> Measured:
    """As many starts as can be; then the same statements by pgbench on the same database, nobody else at work."""
    took_s: list[float] = []
    # nobody opens ports here, and none is to be blamed for it, nor for silence on a machine that is busy
    async with replica(folder, {"PREPARE_TIMEOUT_S": "86400", "HEARTBEAT_TIMEOUT_S": "600"}) as there:
        async with still_fleet(there):
            caller = there.caller(CALLERS)
            await _until_placed(caller)
            await _load(caller, [], WARM_UP, 60)
            cpu_from, began = there.process.cpu_s(), time.monotonic()
            await _load(caller, took_s, None, seconds)
            elapsed, cpu_s = time.monotonic() - began, there.process.cpu_s() - cpu_from
            caller.close()
            script = script_of(await _statements(there.dsn))
        await there.process.end()
        alone = await transactions_a_second(there.dsn, script, folder, CALLERS, seconds)
    return Measured(len(took_s) / elapsed, percentile(took_s, 0.99) * 1000, cpu_s / len(took_s) * 1000, alone)


async def _until_placed(caller: LeanClient) -> None:
    """Return once the replica has heard of the nodes."""
    for _ in range(KNOWN_POLLS):
        if PLACED in (await caller.post("/api/recordings/start", _body(uuid4().hex))).body:
            return
        await asyncio.sleep(POLL_S)
    raise Unavailable("starts find no node")


async def _load(caller: LeanClient, took_s: list[float], most: int | None, seconds: float) -> None:
    """Starts from `CALLERS` at a time, until there are `most` or the time is up."""
    until = time.monotonic() + seconds
    number = iter(range(most if most is not None else 10**9))

    async def call() -> None:
        for each in number:
            asked_at = time.monotonic()
            answer = await caller.post("/api/recordings/start", _body(f"{asked_at}-{each}"))
            if answer.status != 201 or PLACED not in answer.body:
                raise Unavailable(f"a start was answered with {answer.status}: {answer.body[:300]!r}")
            took_s.append(time.monotonic() - asked_at)
            if time.monotonic() > until:
                return

    async with asyncio.TaskGroup() as tasks:
        for _ in range(CALLERS):
            tasks.create_task(call())


def _body(peer_id: str) -> bytes:
    """The seed's example, of another peer each time."""
    return json.dumps(
        {
            "roomServerId": ROOM_SERVER,
            "roomId": f"room-{peer_id}",
            "peerId": peer_id,
            "peerInfo": {
                "peerId": peer_id,
                "displayName": "John Doe",
                "isAuthenticated": True,
                "roles": ["participant"],
            },
            "rtpStreams": [
                {"kind": "audio", "port": 5004, "payloadType": 111, "ssrc": 12345678, "codecName": "opus"},
                {"kind": "video", "port": 5006, "payloadType": 96, "ssrc": 87654321, "codecName": "h264"},
            ],
            "options": {"quality": "medium", "format": "mp4", "includeAudio": True, "includeVideo": True},
            "requesterInfo": {"ip": "192.168.1.100", "timestamp": 1640995200000},
        }
    ).encode()


async def _statements(dsn: str) -> list[Statement]:
    """What a start that comes by itself, and the answer to it, ask of PostgreSQL: written down while one is done here.

    Those that come together share these statements, so that the replica can be faster than pgbench, which does them
    for each.
    """
    settings = OrchestratorSettings.model_validate({})
    caller = Principal("bench", frozenset(), None, math.inf)
    written: list[Statement] = []
    async with open_pool(dsn, 1) as pool:
        db = Transactor(pool, Notifier(dsn))
        commands = Starts(db, settings, LiveFleet(db, settings.placement_strategy))
        await commands.start(new_job(StartRecording.model_validate_json(_body(uuid4().hex)), caller, None))

        def write_down(query: Any) -> None:
            written.append(Statement(query.query, tuple(query.args or ())))

        async with pool.acquire() as conn:
            conn.add_query_logger(write_down)
        job_id = (
            await commands.start(new_job(StartRecording.model_validate_json(_body(uuid4().hex)), caller, None))
        ).job_id
        async with pool.acquire() as conn:
            await views.recording(conn, job_id, None)
            await asyncio.sleep(0)  # the logger is called in the loop's next turn
            said = tuple(written)
            kinds = [[kind.name for kind in (await conn.prepare(each.text)).get_parameters()] for each in said]
    return [replace(each, types=tuple(names)) for each, names in zip(said, kinds, strict=True)]
