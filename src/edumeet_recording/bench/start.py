"""`python -m edumeet_recording.bench.start`: 20 recordings started a second; how soon they are answered, and recorded.

The service and the room server are processes of their own on this machine, which shares its cores with this one.
"""

import asyncio
import json
import math
import sys
import time
from argparse import ArgumentParser
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

from rich.console import Console
from rich.table import Table

from edumeet_recording.client import RecordingClient
from edumeet_recording.domain.errors import Unavailable
from edumeet_recording.sim.processes import own_process
from edumeet_recording.telemetry import configure_logging
from edumeet_recording.wire.http import StartRecording

RESULT = Path("build/bench/start.json")
STARTS_A_SECOND = 20
RECORD_S = 1.5
LOOKS = 6
"""How often `RECORD_S` is waited for the first packet."""
READY_TIMEOUT_S = 30.0
POLL_S = 0.05
ANSWER_P95_MS, FIRST_PACKET_P95_MS = 300, 500

ROOM_SERVER, ROOM, PEER = "bench-room-server", "bench-room", "alice"
START = StartRecording.model_validate(
    {
        "roomServerId": ROOM_SERVER,
        "roomId": ROOM,
        "peerId": PEER,
        "rtpStreams": ({"kind": "audio", "codecName": "opus", "payloadType": 111, "ssrc": 1001, "port": 5004},),
        "allowParallel": True,
    }
)


@dataclass(frozen=True, slots=True)
class Started:
    """One start. `first_packet_ms`: from the call to the first packet's arrival at the node; infinite: none came."""

    answer_ms: float
    first_packet_ms: float


@asynccontextmanager
async def service() -> AsyncGenerator[RecordingClient]:
    """The whole service, and a room server whose one peer is recorded over and over."""
    RESULT.parent.mkdir(parents=True, exist_ok=True)
    with TemporaryDirectory(dir=RESULT.parent.absolute()) as name:
        folder = Path(name)
        async with own_process("up", "up", "--json", settings={"PORT": "0"}, folder=folder) as up:
            there = await up.answer()
            settings = {"ORCHESTRATOR_URL": there["url"]}
            room = ("simulate-room", "--server-id", ROOM_SERVER, "--room", ROOM, "--peer", f"{PEER}=opus")
            async with (
                own_process("room", *room, settings=settings, folder=folder),
                RecordingClient(there["url"], there["token"]) as client,
            ):
                await _registered(client)
                try:
                    yield client
                except ExceptionGroup as failures:
                    if failures.split(Unavailable)[1]:
                        raise
                    raise SystemExit(f"the service is away: {up.last_words()}") from failures


async def _registered(client: RecordingClient) -> None:
    async with asyncio.timeout(READY_TIMEOUT_S):
        while True:
            if any(each.id == ROOM_SERVER for each in await client.nodes()):
                return
            await asyncio.sleep(POLL_S)


async def measure(seconds: float) -> list[Started]:
    """Starts at an even pace, whether or not earlier ones are answered yet."""
    async with service() as client, asyncio.TaskGroup() as tasks:
        began = time.monotonic()
        starting: list[asyncio.Task[Started]] = []
        for number in range(round(seconds * STARTS_A_SECOND)):
            await asyncio.sleep(max(0.0, began + number / STARTS_A_SECOND - time.monotonic()))
            starting.append(tasks.create_task(_start(client)))
        return [await each for each in starting]


async def _start(client: RecordingClient) -> Started:
    asked_at = time.time_ns() / 1e9
    job = await client.start(START)
    answer_ms = (time.time_ns() / 1e9 - asked_at) * 1000
    started_at = None
    for _ in range(LOOKS):
        await asyncio.sleep(RECORD_S)
        started_at = (await client.get(job.job_id)).started_at
        if started_at:
            break
    # not stopped, which would make hundreds of files beside what is measured
    await client.cancel(job.job_id)
    return Started(answer_ms, (started_at.timestamp() - asked_at) * 1000 if started_at else math.inf)


def percentile(values: list[float], share: float) -> float:
    """The smallest value that `share` of the values do not exceed (nearest rank)."""
    return sorted(values)[max(0, math.ceil(share * len(values)) - 1)]


def main() -> None:
    """Entry: prints a table, writes the figures, and fails where they are not good enough."""
    parser = ArgumentParser(prog="python -m edumeet_recording.bench.start", description=__doc__)
    parser.add_argument("--seconds", type=float, default=10, help="how long to start recordings")
    configure_logging("error", "console")
    started = asyncio.run(measure(parser.parse_args().seconds))
    rows = {
        "answer": ([each.answer_ms for each in started], ANSWER_P95_MS),
        "first packet on tape": ([each.first_packet_ms for each in started], FIRST_PACKET_P95_MS),
    }
    table = Table(title=f"{len(started)} recordings, {STARTS_A_SECOND} started a second")
    for column in ("", "p50 ms", "p95 ms", "worst ms", "p95 at most"):
        table.add_column(column, justify="right")
    for name, (values, bound) in rows.items():
        table.add_row(name, *(f"{percentile(values, share):.0f}" for share in (0.5, 0.95, 1.0)), str(bound))
    Console().print(table)
    p95 = {name: percentile(values, 0.95) for name, (values, _bound) in rows.items()}
    figures = {"answer_p95_ms": p95["answer"], "first_packet_p95_ms": p95["first packet on tape"]}
    if math.isinf(figures["first_packet_p95_ms"]):
        raise SystemExit("more than one in twenty never got a packet")
    RESULT.write_text(json.dumps({name: round(value, 1) for name, value in figures.items()}, indent=2) + "\n")
    sys.exit(any(p95[name] > bound for name, (_values, bound) in rows.items()))


if __name__ == "__main__":
    main()
