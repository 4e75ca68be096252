"""What must hold after any faults, once all recordings are over: each thing that does not is said in a sentence."""

import asyncio
import os
import time
from collections.abc import Iterator
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path

from edumeet_recording.domain.job import FINAL, JobStatus
from edumeet_recording.sim.faults.deployment import Deployment
from edumeet_recording.sim.faults.part import Part
from edumeet_recording.sim.faults.waiting import POLL_S
from edumeet_recording.storage.objects import ObjectStore
from edumeet_recording.store import captures, nodes
from edumeet_recording.store.db import open_pool
from edumeet_recording.wire.views import JobEvent, Recording

SETTLE_S = 20.0
"""What is being given back may take a moment."""


async def violations(deployment: Deployment) -> list[str]:
    """All that does not hold; what concerns sockets, rows and objects is looked at again for a while."""
    recordings = [each async for each in deployment.client.list()]
    told = [said for each in recordings for said in await _of_job(deployment, each)]
    deadline = asyncio.get_running_loop().time() + SETTLE_S
    while True:
        left = [*_sockets(deployment), *await _rows(deployment), *await _objects(deployment, recordings)]
        if not left or asyncio.get_running_loop().time() > deadline:
            return [*told, *left]
        await asyncio.sleep(POLL_S)


async def _of_job(deployment: Deployment, recording: Recording) -> list[str]:
    name = recording.job_id
    found: list[str] = []
    if recording.status not in FINAL:
        found.append(f"{name} has not ended: it is {recording.status} ({recording.reason_detail})")
    elif recording.reason is None:
        found.append(f"{name} is {recording.status} without a reason")
    events = [each async for each in deployment.client.events(name)]
    return [*found, *(f"{name}: {said}" for said in _of_events(events))]


def _of_events(events: list[JobEvent]) -> Iterator[str]:
    if [each.seq for each in events] != list(range(1, len(events) + 1)):
        yield f"its events are numbered {[each.seq for each in events]}"
    ends = [number for number, each in enumerate(events) if each.status in FINAL and each.type == each.status]
    if not ends or ends[-1] != len(events) - 1:
        yield f"its last event is {events[-1].type if events else 'none'}"
    for end in ends[:-1]:
        if events[end + 1].type != JobStatus.PROCESSING:
            yield f"{events[end + 1].type} came after its end"


def _sockets(deployment: Deployment) -> list[str]:
    """RTP ports that a node still has open."""
    return [
        f"{node.part.name} has UDP ports {ports} open"
        for node in deployment.nodes.values()
        if node.part.runs and (ports := sorted(udp_ports(node.part) & set(node.ports)))
    ]


def udp_ports(part: Part) -> set[int]:
    """UDP ports that something of it is bound to (proc(5))."""
    ours = {link for pid in part.pids() for link in _links(pid)}
    found: set[int] = set()
    for line in Path("/proc/net/udp").read_text().splitlines()[1:]:
        fields = line.split()
        if f"socket:[{fields[9]}]" in ours:
            found.add(int(fields[1].rpartition(":")[2], 16))
    return found


def _links(pid: int) -> Iterator[str]:
    with suppress(OSError):
        for descriptor in Path(f"/proc/{pid}/fd").iterdir():
            with suppress(OSError):
                yield os.readlink(descriptor)


async def _rows(deployment: Deployment) -> list[str]:
    """Captures that live though every job is over, and what nodes are promised all the same."""
    async with open_pool(deployment.dsn, 2) as pool, pool.acquire() as connection:
        live = {name: await captures.live_of_node(connection, name) for name in deployment.nodes}
        registered = await nodes.registered(connection)
        fleet = await nodes.snapshots(connection, sorted(registered), datetime.fromtimestamp(time.time_ns() / 1e9, UTC))
    return [
        *(f"{name} still has capture {capture.id} ({capture.state})" for name, its in live.items() for capture in its),
        *(f"{node.id} is promised {node.load_mcpu} milli-cores for nothing" for node in fleet if node.load_mcpu),
    ]


async def _objects(deployment: Deployment, recordings: list[Recording]) -> list[str]:
    """Tape without a row, and rows without tape."""
    stored = {each.key for each in await ObjectStore.open(deployment.storage).list("")}
    tapes = {key for key in stored if key.startswith("tapes/")}
    rows: set[str] = set()
    thrown_away: set[str] = set()
    async with open_pool(deployment.dsn, 2) as pool, pool.acquire() as connection:
        for recording in recordings:
            known = thrown_away if recording.status is JobStatus.CANCELLED else rows
            tape = await captures.tape_of_jobs(connection, [recording.job_id])
            for capture in tape[recording.job_id]:
                known |= {chunk.key for chunk in capture.chunks}
    return [
        *(f"{key} is stored, and no row knows it" for key in sorted(tapes - rows - thrown_away)),
        *(f"{key} is in a row, and not stored" for key in sorted(rows - tapes)),
    ]
