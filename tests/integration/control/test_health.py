"""Who is silent is judged with evidence; who has only begun to watch judges nobody."""

import asyncio
from collections.abc import AsyncIterator
from dataclasses import replace
from datetime import timedelta

import httpx2
import pytest
from tests.integration.control.conftest import SETTINGS, Service
from tests.integration.control.test_forwarding import tick
from tests.integration.control.test_room_servers import ARoomServerWithLives, recording

from edumeet_recording import control
from edumeet_recording.control.health import PROBE_TIMEOUT_S, HealthLoop
from edumeet_recording.control.heartbeats import store_beats
from edumeet_recording.domain.errors import Unavailable
from edumeet_recording.domain.job import JobStatus, Reason
from edumeet_recording.store.db import open_pool
from edumeet_recording.store.transaction import Transactor
from edumeet_recording.wire.node_link import NodeLoad


@pytest.fixture
async def beginner(service: Service) -> AsyncIterator[HealthLoop]:
    """A loop that has not watched yet."""
    async with httpx2.AsyncClient(timeout=1, trust_env=False) as client:
        yield HealthLoop(service.commands.db, SETTINGS, service.captures, client)


@pytest.fixture
async def health(beginner: HealthLoop) -> HealthLoop:
    """A loop that has watched for long enough to judge."""
    loop = beginner
    await loop.tick()
    assert loop.vigil.since is not None
    loop.vigil.since -= timedelta(days=1)
    return loop


async def reason_of(service: Service, table: str) -> tuple[bool, str]:
    row = await service.pool.fetchrow(f"SELECT is_healthy, health_reason FROM {table}")  # noqa: S608 -- our own names
    assert row is not None
    return row["is_healthy"], row["health_reason"] or ""


async def not_found(_reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Any answer shows that somebody is there."""
    writer.write(b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\nConnection: close\r\n\r\n")
    await writer.drain()
    writer.close()


async def silence(service: Service) -> None:
    await service.pool.execute("UPDATE ffmpeg_nodes SET last_heartbeat = last_heartbeat - interval '1 hour'")


async def test_a_silent_node_loses_its_captures_and_its_url_is_named(service: Service, health: HealthLoop) -> None:
    await service.room_server()
    await service.node()
    job_id = await service.start()
    await service.receive()
    await silence(service)
    await health.tick()
    healthy, reason = await reason_of(service, "ffmpeg_nodes")
    assert not healthy
    assert "heartbeats have stopped" in reason
    assert "http://node-1:3000/health is unreachable" in reason
    assert (await service.job(job_id)).status is JobStatus.INTERRUPTED


@pytest.mark.parametrize(("timeout_s", "is_late"), [(3, True), (30, False)])
async def test_who_gives_nodes_longer_suspects_them_later(
    service: Service, health: HealthLoop, timeout_s: float, is_late: bool
) -> None:
    patient = replace(health, settings=SETTINGS.model_copy(update={"heartbeat_timeout_s": timeout_s}))
    patient.vigil = health.vigil
    await service.node()
    await service.pool.execute("UPDATE ffmpeg_nodes SET last_heartbeat = clock_timestamp() - interval '2.5 seconds'")
    await patient.tick()
    _, reason = await reason_of(service, "ffmpeg_nodes")
    assert ("suspect" in reason) == is_late


async def test_probes_that_take_long_count_as_silence(service: Service, health: HealthLoop) -> None:
    async def no_answer(_reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await asyncio.sleep(PROBE_TIMEOUT_S / 2)
        writer.close()

    await service.room_server()
    await service.node()
    job_id = await service.start()
    await service.receive()
    silent_s = SETTINGS.heartbeat_timeout_s - PROBE_TIMEOUT_S / 4
    async with await asyncio.start_server(no_answer, "127.0.0.1", 0) as server:
        port = server.sockets[0].getsockname()[1]
        await service.pool.execute(
            "UPDATE ffmpeg_nodes SET url = $1, last_heartbeat = clock_timestamp() - make_interval(secs => $2)",
            f"http://127.0.0.1:{port}",
            silent_s,
        )
        await health.tick()
    assert (await service.job(job_id)).status is JobStatus.INTERRUPTED


async def test_where_too_many_are_silent_to_ask_each_silence_alone_decides(
    service: Service, health: HealthLoop, monkeypatch: pytest.MonkeyPatch
) -> None:
    """First whose link closed, for whom an answer decides; last who was never heard, or is known to be dead."""
    monkeypatch.setattr(control.health, "PROBED_AT_ONCE", 1)
    for node_id in ("never", "dead", "silent", "closed"):
        await service.node(node_id)
    await silence(service)
    changes = (
        "SET last_heartbeat = NULL, health_reason = 'as it was' WHERE id = 'never'",
        "SET is_healthy = false, health_reason = 'dead: as it was' WHERE id = 'dead'",
        "SET unlinked_at = clock_timestamp() WHERE id = 'closed'",
    )
    for change in changes:
        await service.pool.execute(f"UPDATE ffmpeg_nodes {change}")
    await health.tick()
    rows = await service.pool.fetch("SELECT id, health_reason FROM ffmpeg_nodes")
    told = {row["id"]: row["health_reason"] for row in rows}
    assert (told["never"], told["dead"]) == ("as it was", "dead: as it was")
    assert told["silent"] == "dead: its heartbeats have stopped; there are too many to ask each"
    assert told["closed"].startswith("dead: its heartbeats have stopped; http://closed:3000/health is unreachable")


async def test_those_too_many_to_ask_are_suspects_together_and_told_of_once(
    service: Service, beginner: HealthLoop, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(control.health, "PROBED_AT_ONCE", 0)
    names = ["node-1", "node-2", "node-3"]
    for node_id in names:
        await service.node(node_id)
    await silence(service)
    async with service.pool.acquire() as conn, conn.transaction():
        await conn.execute("SELECT FROM ffmpeg_nodes WHERE id = 'node-2' FOR UPDATE")
        await beginner.tick()
    known = (
        "SELECT id FROM ffmpeg_nodes WHERE NOT is_healthy AND health_reason LIKE 'suspect: its heartbeats%' ORDER BY id"
    )
    assert [row["id"] for row in await service.pool.fetch(known)] == ["node-1", "node-3"], "one is just being heard"
    for _ in range(2):
        await beginner.tick()
    assert [row["id"] for row in await service.pool.fetch(known)] == names
    told = "SELECT node_id FROM node_events WHERE type = 'suspect' ORDER BY node_id"
    assert [row["node_id"] for row in await service.pool.fetch(told)] == names


async def test_a_node_with_heartbeats_is_left_alone(service: Service, health: HealthLoop) -> None:
    await service.node()
    await health.tick()
    assert await reason_of(service, "ffmpeg_nodes") == (True, "")


async def test_a_closed_link_and_a_refused_door_are_enough(service: Service, beginner: HealthLoop) -> None:
    await service.room_server()
    await service.node()
    await service.pool.execute("UPDATE ffmpeg_nodes SET url = 'http://127.0.0.1:9'")
    job_id = await service.start()
    await service.receive()
    await beginner.tick()
    assert (await service.job(job_id)).status is JobStatus.RECORDING
    await service.pool.execute("UPDATE ffmpeg_nodes SET unlinked_at = clock_timestamp()")
    await beginner.tick()
    assert (await service.job(job_id)).status is JobStatus.INTERRUPTED


async def test_a_node_that_answers_is_suspect_until_its_time_is_over(service: Service, beginner: HealthLoop) -> None:
    await service.room_server()
    await service.node()
    job_id = await service.start()
    async with await asyncio.start_server(not_found, "127.0.0.1", 0) as server:
        port = server.sockets[0].getsockname()[1]
        await service.pool.execute(
            "UPDATE ffmpeg_nodes SET url = $1, unlinked_at = clock_timestamp()", f"http://127.0.0.1:{port}"
        )
        await beginner.tick()
    healthy, reason = await reason_of(service, "ffmpeg_nodes")
    assert not healthy
    assert reason.startswith("suspect: ")
    assert (await service.job(job_id)).status is JobStatus.INITIALIZING


async def test_who_has_just_begun_to_watch_judges_nobody(service: Service, beginner: HealthLoop) -> None:
    await service.room_server()
    await service.node()
    job_id = await service.start()
    await silence(service)
    await beginner.tick()
    await beginner.tick()
    assert (await service.job(job_id)).status is JobStatus.INITIALIZING


async def test_while_the_database_was_away_nobody_was_silent(service: Service, health: HealthLoop, dsn: str) -> None:
    """Heartbeats of that time could not be written down; what the nodes say afterwards has not come yet."""
    await service.room_server()
    await service.node()
    job_id = await service.start()
    db = health.db
    async with open_pool(dsn, 1) as closed:
        health.db = Transactor(closed, db.notifier)
    with pytest.raises(Unavailable):
        await health.tick()
    health.db = db
    await silence(service)
    await health.tick()
    assert (await service.job(job_id)).status is JobStatus.INITIALIZING


async def test_a_node_that_never_connected_is_named(service: Service, health: HealthLoop) -> None:
    await service.node()
    await service.pool.execute("UPDATE ffmpeg_nodes SET last_heartbeat = NULL, is_healthy = false")
    await health.tick()
    healthy, reason = await reason_of(service, "ffmpeg_nodes")
    assert not healthy
    assert reason.startswith("has not connected yet: http://node-1:3000/health is unreachable")


async def test_a_room_server_without_heartbeats_is_probed(service: Service, health: HealthLoop) -> None:
    await service.room_server()
    await health.tick()
    healthy, reason = await reason_of(service, "room_servers")
    assert not healthy
    assert "room-server:3443" in reason
    async with await asyncio.start_server(not_found, "127.0.0.1", 0) as server:
        port = server.sockets[0].getsockname()[1]
        await service.pool.execute("UPDATE room_servers SET url = $1", f"http://127.0.0.1:{port}")
        await health.tick()
    assert await reason_of(service, "room_servers") == (True, "")


async def test_a_room_server_that_answers_though_its_heartbeats_have_stopped_is_lost_once(
    service: Service, health: HealthLoop
) -> None:
    job_id, forwarding = await recording(service, ARoomServerWithLives())
    async with await asyncio.start_server(not_found, "127.0.0.1", 0) as server:
        url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
        await service.pool.execute(
            "UPDATE room_servers SET url = $1, last_heartbeat = clock_timestamp() - interval '1 hour'", url
        )
        await health.tick()
        assert (await service.job(job_id)).reason == Reason.ROOM_SERVER_LOST
        await tick(forwarding)
        assert (await service.job(job_id)).reason is None, "it was asked, and still sends"
        await health.tick()
    assert (await service.events(job_id)).count("room_server_lost") == 1


async def test_a_room_server_without_heartbeats_is_asked_again_where_it_did_not_answer(
    service: Service, health: HealthLoop
) -> None:
    await service.room_server()
    asked = 0

    async def answers_the_second(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal asked
        asked += 1
        if asked == 1:
            writer.close()
        else:
            await not_found(reader, writer)

    async with await asyncio.start_server(answers_the_second, "127.0.0.1", 0) as server:
        port = server.sockets[0].getsockname()[1]
        await service.pool.execute("UPDATE room_servers SET url = $1", f"http://127.0.0.1:{port}")
        await health.tick()
    assert (asked, await reason_of(service, "room_servers")) == (2, (True, ""))


async def test_what_a_node_warns_of_is_its_reason_and_its_beginning_and_end_are_events(service: Service) -> None:
    await service.node()
    warning, full = "the spool's disk is 83 % full", "the spool's disk is 91 % full"
    for load in (
        NodeLoad(warning=warning),
        NodeLoad(warning=full, refusal=full, accepts_captures=False),
        NodeLoad(warning=full, refusal=full, accepts_captures=False),
        NodeLoad(warning=warning),
    ):
        await store_beats(service.commands.db, {"node-1": load}, [])
        assert await reason_of(service, "ffmpeg_nodes") == (True, load.refusal or load.warning)
    await store_beats(service.commands.db, {"node-1": NodeLoad()}, [])
    assert await reason_of(service, "ffmpeg_nodes") == (True, "")
    told = await service.pool.fetch("SELECT type, data FROM node_events WHERE node_id = 'node-1' ORDER BY id")
    assert [(row["type"], row["data"].get("reason")) for row in told[1:]] == [
        ("warning", warning),
        ("refuses_captures", full),
        ("accepts_captures", None),
        ("warning_over", None),
    ]
