"""Hints reach other replicas, coalesced, and go on after the connection was lost."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest
from tests.waiting import eventually

from edumeet_recording.store import notify
from edumeet_recording.store.db import Pool
from edumeet_recording.store.notify import Listener, Notifier

CHANNELS = ("node", "dispatch")


@asynccontextmanager
async def _running(*servants: Notifier | Listener) -> AsyncIterator[None]:
    async with asyncio.TaskGroup() as tasks:
        running = [tasks.create_task(servant.run()) for servant in servants]
        yield
        for task in running:
            task.cancel()


async def test_a_hint_reaches_the_subscribers_of_its_channel(dsn: str) -> None:
    notifier, listener = Notifier(dsn), Listener(dsn, CHANNELS)
    nodes, others = list[str](), list[str]()
    with listener.subscribe("node", nodes.append), listener.subscribe("dispatch", others.append):
        async with _running(notifier, listener):
            await eventually(lambda: nodes == [""] and others == [""])
            notifier.hint("node", "ffmpeg-1")
            notifier.hint("node", "ffmpeg-2")
            await eventually(lambda: sorted(nodes[1:]) == ["ffmpeg-1", "ffmpeg-2"])
            assert others == [""]


async def test_many_hints_at_once_are_one(dsn: str) -> None:
    notifier, listener = Notifier(dsn), Listener(dsn, CHANNELS)
    heard = list[str]()
    with listener.subscribe("node", heard.append):
        async with _running(notifier, listener):
            await eventually(lambda: heard == [""])
            for _ in range(1000):
                notifier.hint("node", "same")
            notifier.hint("node", "last")
            await eventually(lambda: "last" in heard)
            assert heard.count("same") == 1


async def test_who_has_unsubscribed_hears_nothing(dsn: str) -> None:
    notifier, listener = Notifier(dsn), Listener(dsn, CHANNELS)
    gone, there = list[str](), list[str]()
    with listener.subscribe("node", there.append):
        async with _running(notifier, listener):
            with listener.subscribe("node", gone.append):
                await eventually(lambda: there == [""])
            notifier.hint("node", "late")
            await eventually(lambda: "late" in there)
    assert "late" not in gone


async def test_after_a_lost_connection_all_are_told_to_look(
    dsn: str, db_pool: Pool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(notify, "RETRY_S", 0.05)
    notifier, listener = Notifier(dsn), Listener(dsn, CHANNELS)
    heard = list[str]()
    with listener.subscribe("node", heard.append):
        async with _running(notifier, listener):
            await eventually(lambda: heard == [""])
            notifier.hint("node", "before")
            await eventually(lambda: "before" in heard)
            await db_pool.execute(
                "SELECT pg_terminate_backend(pid, 1000) FROM pg_stat_activity "
                "WHERE datname = current_database() AND application_name LIKE '%hints'"
            )
            await eventually(lambda: heard.count("") == 2)
            notifier.hint("node", "after")
            await eventually(lambda: "after" in heard)


async def test_hints_wait_for_a_database_that_is_away(dsn: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(notify, "RETRY_S", 0.05)
    notifier, listener = Notifier("postgresql://nobody@127.0.0.1:1/none"), Listener(dsn, CHANNELS)
    heard = list[str]()
    with listener.subscribe("node", heard.append):
        async with _running(notifier, listener):
            await eventually(lambda: heard == [""])
            notifier.hint("node", "patient")
            monkeypatch.setattr(notifier, "_dsn", dsn)
            await eventually(lambda: "patient" in heard)


async def test_a_silent_connection_is_probed(dsn: str, db_pool: Pool, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(notify, "PROBE_S", 0.05)
    listener = Listener(dsn, CHANNELS)
    async with _running(listener):
        await eventually(
            lambda: db_pool.fetchval(
                "SELECT count(*) = 1 FROM pg_stat_activity "
                "WHERE datname = current_database() AND application_name LIKE '%hints' AND query = 'SELECT'"
            )
        )
