"""How fast two replicas answer while ten thousand nodes say their heartbeat to them each second, over their links.

The nodes are in this process, which shares its cores with the replicas and PostgreSQL: who takes how much of them is
measured beside.
"""

import asyncio
import itertools
import json
import secrets
import time
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from hashlib import sha256
from itertools import islice
from pathlib import Path

from edumeet_recording.bench.replica import (
    ROOM_SERVER,
    Replica,
    register_nodes,
    register_rooms,
    replicas,
)
from edumeet_recording.domain.errors import Unavailable
from edumeet_recording.sim.fleet.figures import percentile
from edumeet_recording.sim.fleet.http import LeanClient
from edumeet_recording.sim.fleet.link import LeanLink, frame_of
from edumeet_recording.sim.fleet.machines import VERSION
from edumeet_recording.sim.fleet.node import LOAD
from edumeet_recording.sim.processes import raise_file_limit
from edumeet_recording.store.db import open_pool
from edumeet_recording.store.notify import Notifier
from edumeet_recording.store.transaction import Transactor
from edumeet_recording.wire.node_link import Heartbeat, Hello

NODES = 10_000
REPLICAS = 2
CORES = 4
FILES = 2 * NODES
AT_ONCE = 64
"""Links that are being opened."""
AGAIN_S = 1.0
LINKED_WITHIN_S = 180.0
SLICES = 50
"""Beats are spread over their second in so many portions."""
BEATS = tuple(
    frame_of(Heartbeat(load=LOAD.model_copy(update={"cpu_percent": percent})).to_json()) for percent in range(10, 20)
)
"""A node says another each time: nothing may rest on their being equal."""
WARM_UP_S = 5.0
CALLS_A_SECOND = 40
START_EACH = 10
"""One call in so many is a start."""
CONNECTIONS = 16


@dataclass(frozen=True, slots=True)
class Links:
    """`beats`: that arrived in the database, of those that were due. `cpu`: cores that each part took."""

    api_p99_ms: float
    beats: float
    replicas_cpu: float
    sender_cpu: float


async def measure(folder: Path, seconds: float) -> Links:
    """Everything on this machine, and nothing else at work."""
    raise_file_limit(FILES)
    ids, token = [f"node-{number}" for number in range(NODES)], secrets.token_urlsafe(32)
    async with (
        # nobody opens ports here, and none is to be blamed for it
        replicas(folder, {"PREPARE_TIMEOUT_S": "86400"}, REPLICAS) as there,
        open_pool(there[0].dsn, 1) as pool,
        asyncio.TaskGroup() as tasks,
    ):
        await register_rooms(there[0])
        db = Transactor(pool, Notifier(there[0].dsn))
        await db.run(lambda tx: register_nodes(tx, ids, CORES, there[0].url, sha256(token.encode()).digest()))
        fleet = _Fleet(ids, there, token)
        background = [tasks.create_task(fleet.beat()), *(tasks.create_task(fleet.open()) for _ in range(AT_ONCE))]
        with suppress(TimeoutError):  # where not all find their way by then, the beats that arrive say so
            async with asyncio.timeout(LINKED_WITHIN_S):
                while fleet.count < NODES:  # noqa: ASYNC110 - links come and go, and nobody tells
                    await asyncio.sleep(0.1)
        await asyncio.sleep(WARM_UP_S)
        cpu_from, sender_from, began = _cpu_s(there), time.process_time(), time.monotonic()
        took_s = await _call(there, ids, seconds)
        elapsed = time.monotonic() - began
        cpu_s, sender_s = _cpu_s(there) - cpu_from, time.process_time() - sender_from
        heard = await pool.fetchval(
            "SELECT count(*) FROM ffmpeg_nodes WHERE is_healthy AND last_heartbeat > now() - interval '3 seconds'"
        )
        for task in background:
            task.cancel()
        fleet.close()
    return Links(percentile(took_s, 0.99) * 1000, heard / NODES, cpu_s / elapsed, sender_s / elapsed)


def _cpu_s(there: Sequence[Replica]) -> float:
    return sum(each.process.cpu_s() for each in there)


class _Fleet:
    """Nodes that record nothing, and are only heard."""

    def __init__(self, ids: Sequence[str], there: Sequence[Replica], token: str) -> None:
        self._urls = itertools.cycle([each.url.replace("http", "ws", 1) for each in there])
        self._token = token
        self._links: dict[str, LeanLink] = {}
        self._waiting: asyncio.Queue[str] = asyncio.Queue()
        for node_id in ids:
            self._waiting.put_nowait(node_id)
        self._is_open = True

    @property
    def count(self) -> int:
        """Nodes that are linked."""
        return len(self._links)

    async def open(self) -> None:
        """Link one after the other, and those again that a replica lets go for another to have; until cancelled."""
        while True:
            node_id = await self._waiting.get()
            url = f"{next(self._urls)}/api/nodes/ffmpeg-nodes/{node_id}/link"
            try:
                link = await LeanLink.connect(url, self._token, _nothing, partial(self._closed, node_id))
            except Unavailable:
                self._waiting.put_nowait(node_id)
                await asyncio.sleep(AGAIN_S)
                continue
            link.send(frame_of(Hello(node_id=node_id, version=VERSION).to_json()))
            self._links[node_id] = link

    async def beat(self) -> None:
        """Once a second each, until cancelled."""
        began = time.monotonic()
        for portion in itertools.count():
            await asyncio.sleep(max(0.0, began + portion / SLICES - time.monotonic()))
            frame = BEATS[portion // SLICES % len(BEATS)]
            for link in islice(list(self._links.values()), portion % SLICES, None, SLICES):
                link.send(frame)

    def close(self) -> None:
        """Be gone."""
        self._is_open = False
        for link in self._links.values():
            link.abort()

    def _closed(self, node_id: str) -> None:
        # one that was refused is not among them, and tried again where it was opened
        if self._is_open and self._links.pop(node_id, None) is not None:
            self._waiting.put_nowait(node_id)


def _nothing(_text: str) -> None:
    return None


async def _call(there: Sequence[Replica], ids: Sequence[str], seconds: float) -> list[float]:
    """How long each call took, of those that are made evenly over the time, of each replica in turn."""
    callers = [each.caller(CONNECTIONS) for each in there]
    began = time.monotonic()
    async with asyncio.TaskGroup() as tasks:
        calls: list[asyncio.Task[float]] = []
        for number in range(round(seconds * CALLS_A_SECOND)):
            await asyncio.sleep(max(0.0, began + number / CALLS_A_SECOND - time.monotonic()))
            caller = callers[number % len(callers)]
            calls.append(
                tasks.create_task(_start(caller, number) if number % START_EACH == 0 else _look(caller, ids[number]))
            )
    for caller in callers:
        caller.close()
    return [call.result() for call in calls]


async def _look(caller: LeanClient, node_id: str) -> float:
    began = time.monotonic()
    answer = await caller.get(f"/api/nodes/{node_id}")
    if answer.status != 200:
        raise Unavailable(f"a node was answered with {answer.status}: {answer.body[:300]!r}")
    return time.monotonic() - began


async def _start(caller: LeanClient, number: int) -> float:
    body = {
        "roomServerId": ROOM_SERVER,
        "roomId": f"room-{number}",
        "peerId": f"peer-{number}",
        # a client that forwards by itself would be answered once there are ports, which nobody here opens
        "rtpStreams": [{"kind": "audio", "codecName": "opus", "payloadType": 111, "ssrc": 1, "port": 5004}],
    }
    began = time.monotonic()
    answer = await caller.post("/api/recordings/start", json.dumps(body).encode())
    if answer.status != 201:
        raise Unavailable(f"a start was answered with {answer.status}: {answer.body[:300]!r}")
    return time.monotonic() - began
