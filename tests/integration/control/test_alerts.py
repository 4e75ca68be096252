"""Alerts on a real database, and Apprise's JSON receiver on a real socket: told once, told when over, told again."""

import asyncio
import json
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

import pytest
from tests.integration.control.conftest import SETTINGS, Service

from edumeet_recording.control.alerts import Alerts
from edumeet_recording.control.autoscale import Autoscaler
from edumeet_recording.control.notices import Receiver, receivers_of
from edumeet_recording.domain.errors import InvalidRequest, Unavailable
from edumeet_recording.providers.advisory import AdvisoryProvider


@dataclass
class Inbox:
    """An HTTP server that keeps what is posted to it; it refuses while `refuses`."""

    port: int = 0
    refuses: bool = False
    messages: list[dict[str, Any]] = field(default_factory=list)

    @property
    def url(self) -> str:
        return f"json://127.0.0.1:{self.port}/"

    @property
    def bodies(self) -> list[str]:
        return [each["message"] for each in self.messages]

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = (await reader.readuntil(b"\r\n\r\n")).decode().lower()
        length = int(head.split("content-length:")[1].split("\r\n")[0])
        body = await reader.readexactly(length)
        if not self.refuses:
            self.messages.append(json.loads(body))
        status = "503 Service Unavailable" if self.refuses else "200 OK"
        writer.write(f"HTTP/1.1 {status}\r\nContent-Length: 0\r\nConnection: close\r\n\r\n".encode())
        await writer.drain()
        writer.close()


@asynccontextmanager
async def listening() -> AsyncIterator[Inbox]:
    inbox = Inbox()
    async with await asyncio.start_server(inbox.serve, "127.0.0.1", 0) as server:
        inbox.port = server.sockets[0].getsockname()[1]
        yield inbox


@pytest.fixture
async def inbox() -> AsyncIterator[Inbox]:
    async with listening() as inbox:
        yield inbox


@dataclass
class Watch:
    """Alerts over the service; a storage that is away while `storage_trouble`."""

    service: Service
    receivers: Sequence[Receiver] = ()
    storage_trouble: str = ""

    def __post_init__(self) -> None:
        self.alerts = self.new_leader()

    def new_leader(self) -> Alerts:
        db, commands = self.service.commands.db, self.service.commands
        autoscaler = Autoscaler(db, SETTINGS, AdvisoryProvider(), commands.deregister_node)
        return Alerts(db, autoscaler, self._storage, self.receivers)

    async def _storage(self) -> None:
        if self.storage_trouble:
            raise Unavailable(self.storage_trouble)

    async def tick(self) -> None:
        await self.alerts.storage_tick()
        await self.alerts.watch_tick()
        await self.alerts.tell_tick()

    async def lose_a_node(self) -> None:
        for node_id in ("node-1", "node-2"):
            await self.service.node(node_id)
        await self.service.pool.execute(
            "UPDATE ffmpeg_nodes SET is_healthy = false, health_reason = 'dead', "
            "last_heartbeat = now() - interval '1 h' WHERE id = 'node-1'"
        )

    async def mend(self) -> None:
        await self.service.pool.execute("UPDATE ffmpeg_nodes SET is_healthy = true, last_heartbeat = now()")

    async def wait(self) -> None:
        """Half a minute passes for what was seen."""
        await self.service.pool.execute("UPDATE alerts SET seen_at = seen_at - interval '31 s'")

    async def events(self) -> list[tuple[str, str]]:
        rows = await self.service.pool.fetch("SELECT action, reason FROM scaling_events ORDER BY id")
        return [(row["action"], row["reason"]) for row in rows if row["action"] in {"alert", "recovered"}]


async def test_told_once_and_when_it_is_over(service: Service, inbox: Inbox) -> None:
    watch = Watch(service, receivers_of(inbox.url))
    await watch.lose_a_node()
    for _ in range(3):
        await watch.tick()
    assert inbox.bodies == ["WARNING [node_lost] FFmpeg node node-1: dead"]
    assert (inbox.messages[0]["title"], inbox.messages[0]["type"]) == ("eduMEET recording: node lost", "warning")
    await watch.mend()
    await watch.tick()
    assert len(inbox.messages) == 1, "it may come back"
    await watch.wait()
    for _ in range(2):
        await watch.tick()
    assert len(inbox.messages) == 2
    assert inbox.bodies[1].startswith("OVER after ")
    assert inbox.messages[1]["type"] == "success"
    assert await watch.events() == [("alert", "node_lost"), ("recovered", "node_lost")]


async def test_what_flaps_is_one_alert(service: Service, inbox: Inbox) -> None:
    watch = Watch(service, receivers_of(inbox.url))
    await watch.lose_a_node()
    for _ in range(3):
        await watch.tick()
        await watch.mend()
        await watch.tick()
        await service.pool.execute(
            "UPDATE ffmpeg_nodes SET is_healthy = false, last_heartbeat = now() - interval '1 h' WHERE id = 'node-1'"
        )
    assert len(inbox.messages) == 1
    assert await service.pool.fetchval("SELECT count(*) FROM alerts") == 1


async def test_what_lasts_is_not_ended_by_a_leader_that_was_away(service: Service, inbox: Inbox) -> None:
    watch = Watch(service, receivers_of(inbox.url))
    await watch.lose_a_node()
    await watch.tick()
    await watch.wait()
    watch.alerts = watch.new_leader()
    await watch.tick()
    assert (len(inbox.messages), await watch.events()) == (1, [("alert", "node_lost")])


async def test_much_at_once_is_one_message(service: Service, inbox: Inbox) -> None:
    watch = Watch(service, receivers_of(inbox.url), storage_trouble="no route")
    await watch.lose_a_node()
    await watch.tick()
    assert inbox.messages[0]["title"] == "eduMEET recording: 2 alerts open"
    assert inbox.messages[0]["type"] == "failure"
    assert inbox.bodies[0].splitlines() == [
        "WARNING [node_lost] FFmpeg node node-1: dead",
        "CRITICAL [storage_unreachable] no route",
    ]


async def test_who_does_not_take_it_is_told_later_and_the_others_once(service: Service, inbox: Inbox) -> None:
    async with listening() as other:
        other.refuses = True
        watch = Watch(service, receivers_of(f"{inbox.url} {other.url}"))
        await watch.lose_a_node()
        await watch.tick()
        assert (len(inbox.messages), len(other.messages)) == (1, 0)
        other.refuses = False
        await watch.tick()
        assert other.messages == [], "not at once"
        await service.pool.execute("UPDATE alerts SET next_attempt_at = now() - interval '1 s'")
        for _ in range(2):
            await watch.tick()
        assert (len(inbox.messages), len(other.messages)) == (1, 1)


async def test_without_receivers_alerts_are_kept_and_later_ones_are_not_told_of_the_past(
    service: Service, inbox: Inbox
) -> None:
    watch = Watch(service)
    await watch.lose_a_node()
    await watch.tick()
    assert await watch.events() == [("alert", "node_lost")]
    watch.receivers = receivers_of(inbox.url)
    watch.alerts = watch.new_leader()
    await watch.tick()
    assert inbox.messages == []


async def test_waiting_recordings_and_missing_nodes_are_noticed(service: Service) -> None:
    watch = Watch(service)
    await service.room_server()
    await service.start()
    await service.pool.execute("UPDATE recording_jobs SET created_at = created_at - interval '1 minute'")
    ask = (
        "INSERT INTO fleet_requests (node_id, region, provider, state, reason, asked_at, seen_at, ended_at) "
        "VALUES ($1, 'eu', 'x', $2, 'demand', now(), $3, $4)"
    )
    ended = await service.pool.fetchval("SELECT now() - interval '1 minute'")
    await service.pool.execute(ask, "never-came", "failed", None, ended)
    await watch.tick()
    assert await watch.events() == [("alert", "no_capacity"), ("alert", "node_never_came")]
    await service.pool.execute(ask, "came-after", "seen", await service.pool.fetchval("SELECT now()"), None)
    await watch.wait()
    await watch.tick()
    assert (await watch.events())[2:] == [("recovered", "node_never_came")]


async def test_a_storage_that_hangs_is_a_storage_that_is_away(
    service: Service, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("edumeet_recording.control.alerts.STORAGE_TIMEOUT_S", 0.01)
    watch = Watch(service)
    monkeypatch.setattr(watch.alerts, "_storage", asyncio.Event().wait)
    await watch.tick()
    detail = await service.pool.fetchval("SELECT detail FROM alerts WHERE rule = 'storage_unreachable'")
    assert detail == "the storage did not answer within 0.01 s"


def test_a_receiver_that_is_none_is_named_without_its_secret() -> None:
    with pytest.raises(InvalidRequest, match=r"^ALERT_URLS: entry 2 is no URL that Apprise knows$"):
        receivers_of("json://127.0.0.1/ nonsense://token@example")
