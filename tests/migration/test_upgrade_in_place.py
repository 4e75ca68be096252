"""The schema is brought up to date while replicas of release 0.1.0 go on writing: they only ever wait, or try again."""

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field

import asyncpg
import pytest
from tests.waiting import eventually

from edumeet_recording.store.migrate import current, head, upgrade

RELEASED = "0001"
SEEDED = """
INSERT INTO room_servers (id, url, region, capacity, token_sha256, registered_at)
VALUES ('room-server-1', 'http://room-server:3443', 'eu', 100, '', now());
INSERT INTO ffmpeg_nodes (id, url, region, capacity_mcpu, token_sha256, registered_at)
SELECT 'node-' || n, 'http://node:3000', 'eu', 1000000, '', now() FROM generate_series(1, 3) AS n;
"""
START = """
INSERT INTO recording_jobs (id, room_server_id, room_id, peer_id, region, rtp_streams, options, forwarding, cost_mcpu,
                            request_sha256, status, created_at, updated_at)
VALUES ($1, 'room-server-1', 'room-1', $1, 'eu', '[]', '{"container": "mp4"}', 'client', 10, '', 'pending',
        now(), now())
"""
PLACE = """
INSERT INTO captures (id, job_id, node_id, epoch, cost_mcpu, streams, created_at)
VALUES ($1, $1, $2, 1, 10, '[]', now())
"""
EVENT = "INSERT INTO job_events (job_id, seq, at, type, status) VALUES ($1, $2, now(), $3::text, $3::text::job_status)"
CHUNK = """
INSERT INTO tape_chunks (capture_id, seq, key, bytes, sha256, records, stored_at) VALUES ($1, $2, 'k', 1, '', 1, now())
"""


@dataclass
class Writers:
    """What a replica of the last release does all the time; a deadlock is tried again, as it does."""

    dsn: str
    writes: int = 0
    upgraded: asyncio.Event = field(default_factory=asyncio.Event)

    async def run(self, work: Callable[[asyncpg.Connection, int], Awaitable[None]], name: int) -> None:
        connection = await asyncpg.connect(self.dsn)
        try:
            number = 0
            while not self.upgraded.is_set():
                number += 1
                try:
                    async with connection.transaction():
                        await work(connection, name * 100_000 + number)
                except asyncpg.DeadlockDetectedError:
                    continue
                self.writes += 1
        finally:
            await connection.close()


async def start(connection: asyncpg.Connection, number: int) -> None:
    job_id, node_id = f"job-{number}", f"node-{number % 3 + 1}"
    await connection.execute(START, job_id)
    await connection.execute(EVENT, job_id, 1, "pending")
    await connection.execute("UPDATE ffmpeg_nodes SET load_mcpu = load_mcpu + 10 WHERE id = $1", node_id)
    await connection.execute(PLACE, job_id, node_id)
    await connection.execute("UPDATE recording_jobs SET status = 'initializing', version = 2 WHERE id = $1", job_id)
    await connection.execute(EVENT, job_id, 2, "initializing")


async def report(connection: asyncpg.Connection, number: int) -> None:
    job_id = await connection.fetchval(
        "SELECT id FROM recording_jobs WHERE status = 'initializing' LIMIT 1 FOR UPDATE SKIP LOCKED"
    )
    if job_id is None:
        return
    await connection.execute("UPDATE captures SET state = 'receiving' WHERE job_id = $1", job_id)
    await connection.execute(CHUNK, job_id, number)
    await connection.execute("UPDATE recording_jobs SET status = 'recording', version = 3 WHERE id = $1", job_id)
    await connection.execute(EVENT, job_id, 3, "recording")


async def beat(connection: asyncpg.Connection, _number: int) -> None:
    await connection.execute("UPDATE ffmpeg_nodes SET last_heartbeat = now(), load = '{}'")


@pytest.mark.skipif(head() == RELEASED, reason="nothing has changed since the release")
async def test_old_replicas_write_on_while_the_schema_changes(empty_dsn: str) -> None:
    await upgrade(empty_dsn, RELEASED)
    connection = await asyncpg.connect(empty_dsn)
    try:
        await connection.execute(SEEDED)
    finally:
        await connection.close()
    writers = Writers(empty_dsn)
    async with asyncio.timeout(60), asyncio.TaskGroup() as tasks:
        for name, work in enumerate((start, report, beat)):
            tasks.create_task(writers.run(work, name))
        await eventually(lambda: writers.writes > 100, timeout=30)
        await upgrade(empty_dsn)
        before = writers.writes
        await eventually(lambda: writers.writes > before + 100, timeout=30)
        writers.upgraded.set()
    assert await current(empty_dsn) == head()
