"""Starts that come together: stored as one, refused one by one, and never more than a node can take."""

import asyncio
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace

import pytest
from tests.integration.control.conftest import NEW, SETTINGS, Service

from edumeet_recording.control.fleet import LiveFleet
from edumeet_recording.control.heartbeats import store_beats
from edumeet_recording.control.starts import Starts
from edumeet_recording.domain.errors import OrchestratorError
from edumeet_recording.domain.job import JobStatus
from edumeet_recording.domain.queueing import Quota
from edumeet_recording.domain.tenant import Tenant
from edumeet_recording.store.jobs import peer_lock
from edumeet_recording.store.transaction import lock_key
from edumeet_recording.wire.node_link import NodeLoad

AT_ONCE = 12
ROOM_FOR_THREE = 0.03 * 1.25
"""Cores of a node that can take three times one audio and one video stream."""


@pytest.fixture
async def ready(service: Service) -> Service:
    """A replica that knows its three nodes, of which each has room for all."""
    await service.room_server()
    for number in range(3):
        await service.node(f"node-{number}")
    await service.fleet.tick()
    return service


async def outcome(service: Service, **changes: object) -> str:
    """The status of a start's job, or the code of the error it was refused with."""
    try:
        return (await service.job(await service.start(**changes))).status
    except OrchestratorError as refused:
        return refused.code


async def outcomes(service: Service, *starts: dict[str, object]) -> list[str]:
    """Of starts that come at once."""
    async with asyncio.timeout(30), asyncio.TaskGroup() as tasks:
        asking = [tasks.create_task(outcome(service, **changes)) for changes in starts]
    return [each.result() for each in asking]


def peers(count: int) -> list[dict[str, object]]:
    return [{"peer_id": f"peer-{number}", "room_id": f"room-{number}"} for number in range(count)]


async def promised(service: Service) -> dict[str, int]:
    return {row["id"]: row["load_mcpu"] for row in await service.pool.fetch("SELECT id, load_mcpu FROM ffmpeg_nodes")}


@asynccontextmanager
async def statements(service: Service) -> AsyncIterator[list[str]]:
    """The first word of all that is said to the database meanwhile."""
    said: list[str] = []

    def note(query: object) -> None:
        said.append(str(getattr(query, "query", "")).split()[0].strip(";"))

    conns = [await service.pool.acquire() for _ in range(service.pool.get_max_size())]
    for conn in conns:
        conn.add_query_logger(note)
    for conn in conns:
        await service.pool.release(conn)
    yield said


async def test_starts_that_come_together_are_stored_with_the_statements_of_one(ready: Service) -> None:
    async with statements(ready) as said:
        await ready.commands.cancel(await ready.start(), None)  # a new connection first asks for types
        said.clear()
        async with asyncio.TaskGroup() as tasks:
            for changes in peers(AT_ONCE):
                tasks.create_task(ready.start(**changes))
    assert said == ["BEGIN", "SELECT", "SELECT", "WITH", "WITH", "COMMIT"]
    rows = await ready.pool.fetch(
        "SELECT id, status, ffmpeg_node_id, epoch FROM recording_jobs WHERE status <> 'cancelled'"
    )
    assert {(row["status"], row["epoch"]) for row in rows} == {("initializing", 1)}
    assert Counter(row["ffmpeg_node_id"] for row in rows) == dict.fromkeys(await promised(ready), AT_ONCE // 3)
    for row in rows:
        assert await ready.events(row["id"]) == ["pending", "initializing"]
    captured = await ready.pool.fetch(
        "SELECT job_id, node_id FROM captures WHERE wanted AND epoch = 1 AND state = 'assigned'"
    )
    assert sorted(map(tuple, captured)) == sorted((row["id"], row["ffmpeg_node_id"]) for row in rows)


async def test_what_is_wrong_with_one_is_told_to_that_one(ready: Service) -> None:
    await ready.commands.put_tenant(Tenant("small", None, Quota(max_active=1), 1))
    key = {"peer_id": "key", "idempotency_key": "again"}
    good = JobStatus.INITIALIZING
    found = await outcomes(
        ready,
        *peers(1),
        {"peer_id": "unknown", "room_server_id": "nobody"},
        {"peer_id": "twice"},
        {"peer_id": "twice"},
        {"peer_id": "twice", "allow_parallel": True},
        key,
        key,
        {**key, "request_sha256": b"2"},
        {"peer_id": "first", "tenant_id": "small"},
        {"peer_id": "second", "tenant_id": "small"},
        {"peer_id": "region", "allowed_regions": ("mars",)},
        {"peer_id": "last"},
    )
    found[8:10] = sorted(found[8:10])
    """Either of the two may be the one that the quota leaves room for."""
    assert found == [
        good,
        "unknown_room_server",
        good,
        "already_recording",
        good,
        good,
        good,
        "idempotency_key_reused",
        good,
        "quota_exceeded",
        "region_not_allowed",
        good,
    ]
    assert await ready.pool.fetchval("SELECT count(*) FROM recording_jobs WHERE idempotency_key = 'again'") == 1


async def test_one_that_the_database_refuses_does_not_take_the_others_along(ready: Service) -> None:
    async def start(changes: dict[str, object]) -> str:
        try:
            return await outcome(ready, **changes)
        except Exception as refused:  # noqa: BLE001 - the driver's own
            return type(refused).__name__

    async with asyncio.TaskGroup() as tasks:
        bad: dict[str, object] = {"peer_id": "bad", "requester_info": {"agent": "\0"}}
        asking = [tasks.create_task(start(changes)) for changes in (*peers(3), bad, {"peer_id": "good"})]
    good = [JobStatus.INITIALIZING.value] * 3
    assert [each.result() for each in asking] == [*good, "UntranslatableCharacterError", good[0]]


async def test_a_node_is_never_promised_more_than_it_has(service: Service) -> None:
    await service.room_server()
    await service.node("node-1", cores=ROOM_FOR_THREE)
    found = Counter(await outcomes(service, *peers(AT_ONCE)))
    assert found["initializing"] == 3
    assert found["pending"] + found["no_capacity"] == AT_ONCE - 3
    (load,) = (await promised(service)).values()
    assert load == await service.pool.fetchval("SELECT sum(cost_mcpu) FROM captures")


async def test_a_start_that_has_to_wait_holds_up_no_other(ready: Service) -> None:
    """Somebody else is starting the same peer, and is slow."""
    taken = NEW.peer_id
    async with ready.pool.acquire() as other, asyncio.TaskGroup() as tasks, other.transaction():
        await other.execute("SELECT pg_advisory_xact_lock($1)", lock_key(peer_lock(NEW)))
        waits = tasks.create_task(ready.start(peer_id=taken))
        assert set(await outcomes(ready, *peers(AT_ONCE))) == {JobStatus.INITIALIZING}
        assert not waits.done()
    assert (await ready.job(waits.result())).status is JobStatus.INITIALIZING


async def test_a_node_that_somebody_else_holds_is_left_alone_until_it_is_free(ready: Service) -> None:
    async with ready.pool.acquire() as other, asyncio.TaskGroup() as tasks, other.transaction():
        await other.execute("SELECT FROM ffmpeg_nodes WHERE id = 'node-1' FOR UPDATE")
        asking = [tasks.create_task(ready.start(**changes)) for changes in peers(AT_ONCE)]
        done, waiting = await asyncio.wait(asking, timeout=1)
        assert len(done) >= AT_ONCE // 2
        assert waiting
    statuses = {(await ready.job(each.result())).status for each in asking}
    assert statuses == {JobStatus.INITIALIZING}


async def test_two_replicas_and_heartbeats_on_the_same_nodes_wait_in_no_circle(ready: Service) -> None:
    db = ready.commands.db
    other = Starts(db, SETTINGS, LiveFleet(db, SETTINGS.placement_strategy))
    before = await ready.pool.fetchval("SELECT sum(deadlocks) FROM pg_stat_database")
    nodes = list(await promised(ready))
    over = asyncio.Event()

    async def beat() -> None:
        while not over.is_set():
            await store_beats(db, {node_id: NodeLoad() for node_id in nodes}, [])

    async with asyncio.timeout(60), asyncio.TaskGroup() as tasks:
        tasks.create_task(beat())
        async with asyncio.TaskGroup() as starting:
            for number in range(5 * AT_ONCE):
                starts = (ready.commands.starts, other)[number % 2]
                starting.create_task(starts.start(replace(NEW, peer_id=f"peer-{number}")))
        over.set()
    load = sum((await promised(ready)).values())
    assert load == await ready.pool.fetchval("SELECT sum(cost_mcpu) FROM captures")
    assert await ready.pool.fetchval("SELECT count(*) FROM captures") == 5 * AT_ONCE
    await ready.pool.execute("SELECT pg_stat_force_next_flush()")
    assert await ready.pool.fetchval("SELECT sum(deadlocks) FROM pg_stat_database") == before
