"""Composition of an orchestrator replica: database → links → loops → API, all in one task group."""

import asyncio
import socket
from collections.abc import Awaitable, Callable, Sequence
from contextlib import AsyncExitStack, ExitStack
from dataclasses import dataclass, replace
from functools import partial
from time import time_ns
from uuid import uuid4

import httpx2
import structlog
from fastapi import FastAPI

from edumeet_recording.api.app import create_app
from edumeet_recording.api.auth import Authenticator
from edumeet_recording.api.deps import ApiDeps
from edumeet_recording.api.recording_reads import RecordingReads
from edumeet_recording.api.watch_hub import WatchHub
from edumeet_recording.config import OrchestratorSettings
from edumeet_recording.control.alerts import Alerts
from edumeet_recording.control.autoscale import Autoscaler
from edumeet_recording.control.captures import CaptureCommands
from edumeet_recording.control.commands import Commands
from edumeet_recording.control.deadlines import DeadlineLoop
from edumeet_recording.control.dispatch import drain_tick
from edumeet_recording.control.fleet import LiveFleet
from edumeet_recording.control.forwarding import ForwardingLoop
from edumeet_recording.control.health import HealthLoop
from edumeet_recording.control.loop import Loop
from edumeet_recording.control.metrics import metrics_tick
from edumeet_recording.control.node_links import NodeLinks
from edumeet_recording.control.notices import Receiver, receivers_of
from edumeet_recording.control.processing import assign_tick, late_media_tick
from edumeet_recording.control.reconcile import orphans_tick, reconcile_tick, stock_tick
from edumeet_recording.control.redundancy import standby_tick
from edumeet_recording.control.replicas import Replicas
from edumeet_recording.control.retention import history_tick, retention_tick
from edumeet_recording.control.room_links import RoomLinks
from edumeet_recording.control.starts import Starts
from edumeet_recording.control.takeover import takeover_tick
from edumeet_recording.control.webhooks import Webhooks
from edumeet_recording.domain.errors import Unavailable
from edumeet_recording.providers.base import Provider
from edumeet_recording.providers.choice import open_provider
from edumeet_recording.rooms.http import HttpRoomServer
from edumeet_recording.storage.regional import RegionalStore
from edumeet_recording.store.db import open_pool
from edumeet_recording.store.embedded import database
from edumeet_recording.store.leases import Leadership
from edumeet_recording.store.migrate import upgrade
from edumeet_recording.store.notify import Listener, Notifier
from edumeet_recording.store.transaction import Channel, Transactor, Tx
from edumeet_recording.web import serve

log = structlog.get_logger()


@dataclass(frozen=True, slots=True)
class _Parts:
    """What a replica is made of, once its database is there."""

    settings: OrchestratorSettings
    db: Transactor
    led: Transactor
    """For what the leader does: it writes nothing once another leads."""
    captures: CaptureCommands
    fleet: LiveFleet
    commands: Commands
    node_links: NodeLinks
    room_links: RoomLinks
    leadership: Leadership
    storage: RegionalStore
    client: httpx2.AsyncClient
    watch: WatchHub
    webhooks: Webhooks
    receivers: Sequence[Receiver]
    replicas: Replicas


async def run_orchestrator(
    settings: OrchestratorSettings, stop: asyncio.Event, started: Callable[[str], None] | None = None
) -> None:
    """Serve until `stop` is set; `started` is called with the API's URL once it answers.

    Raises `Unavailable` where there is no database to start with. When a loop fails for good it sets `stop` itself,
    ends as it does otherwise, and then raises `LoopBroken`.
    """
    failures: list[Exception] = []
    try:
        await _orchestrate(settings, stop, started, failures)
    finally:
        if failures:
            raise failures[0]


async def _orchestrate(
    settings: OrchestratorSettings,
    stop: asyncio.Event,
    started: Callable[[str], None] | None,
    failures: list[Exception],
) -> None:
    async def in_background(work: Awaitable[None]) -> None:
        try:
            await work
        except Exception as error:  # noqa: BLE001 - raised at the end
            log.critical("cannot_go_on", reason=str(error))
            failures.append(error)
            stop.set()

    async with AsyncExitStack() as stack:
        listening = stack.enter_context(_listen(settings))
        dsn = await stack.enter_async_context(database(settings.database_url.get_secret_value(), settings.state_dir))
        await upgrade(dsn)
        pool = await stack.enter_async_context(open_pool(dsn, settings.database_pool_size))
        client = await stack.enter_async_context(
            httpx2.AsyncClient(timeout=settings.room_server_request_timeout_s, trust_env=False)
        )
        notifier, listener = Notifier(dsn), Listener(dsn, tuple(Channel))
        db = Transactor(pool, notifier)
        captures = CaptureCommands(db, settings)
        fleet = LiveFleet(db, settings.placement_strategy)
        replica = uuid4().hex
        beats_pool = await stack.enter_async_context(open_pool(dsn, 1))
        node_links = NodeLinks(captures, replica, Transactor(beats_pool, notifier))
        watch = WatchHub(pool)
        room_links = RoomLinks(db, replica, settings.room_server_request_timeout_s)
        leadership = Leadership(dsn, replica)
        parts = _Parts(
            settings=settings,
            db=db,
            led=replace(db, guard=leadership.guard),
            captures=captures,
            fleet=fleet,
            commands=Commands(db, settings, captures, Starts(db, settings, fleet)),
            node_links=node_links,
            room_links=room_links,
            leadership=leadership,
            storage=RegionalStore.open(settings),
            client=client,
            watch=watch,
            webhooks=Webhooks(db, client),
            receivers=receivers_of(settings.alert_urls.get_secret_value()),
            replicas=Replicas(
                db,
                replica,
                _url(settings, listening),
                {"ffmpeg-node": node_links, "room-server": room_links},
                watch,
            ),
        )
        subscriptions = stack.enter_context(ExitStack())
        async with asyncio.TaskGroup() as tasks:
            forwarding = _forwarding(parts, tasks)
            provider = await open_provider(settings, _url(settings, listening), tasks)
            autoscaler = _autoscaler(parts, provider)
            loops = _loops(parts, forwarding, autoscaler)
            _subscribe(subscriptions, listener, loops, parts)
            background = [notifier.run(), listener.run(), parts.leadership.run(), *(loop.run() for loop in loops)]
            running = [tasks.create_task(in_background(work)) for work in background]
            await _serve_api(parts, autoscaler, listening, stop, started)
            await provider.aclose()
            forwarding.close()
            for task in running:
                task.cancel()
    log.info("orchestrator_stopped")


def _forwarding(parts: _Parts, tasks: asyncio.TaskGroup) -> ForwardingLoop:
    def at_url(url: str) -> HttpRoomServer:
        return HttpRoomServer(url, parts.client)

    leadership = parts.leadership
    return ForwardingLoop(parts.db, parts.led, parts.room_links, at_url, lambda: leadership.leading, tasks)


def _autoscaler(parts: _Parts, provider: Provider) -> Autoscaler:
    captures = replace(parts.captures, db=parts.led)
    commands = replace(parts.commands, db=parts.led, captures=captures)
    return Autoscaler(parts.led, parts.settings, provider, commands.deregister_node)


def _loops(parts: _Parts, forwarding: ForwardingLoop, autoscaler: Autoscaler) -> list[Loop]:
    settings, leadership, db = parts.settings, parts.leadership, parts.led
    captures = replace(parts.captures, db=db)

    def led(tick: Callable[[], Awaitable[None]]) -> Callable[[], Awaitable[None]]:
        async def leader_tick() -> None:
            if leadership.leading:
                await tick()

        return leader_tick

    watching = Alerts(db, autoscaler, parts.storage.check, parts.receivers)
    health = HealthLoop(db, settings, captures, parts.client)
    others = replace(parts.replicas, db=db)
    webhooks = replace(parts.webhooks, db=db)
    return [
        Loop("heartbeats", parts.node_links.flush_tick, 0.5),
        Loop("desired", parts.node_links.poll_tick, 1),
        Loop("events", parts.watch.events_tick, 0.5),
        Loop("fleet", parts.watch.fleet_tick, 1),
        Loop("known_fleet", parts.fleet.tick, 0.5),
        Loop("replica", parts.replicas.tick, 2),
        Loop("dead_replicas", led(others.forget_tick), 2),
        Loop("forwarding", forwarding.tick, 1),
        Loop("dispatch", led(partial(takeover_tick, db, settings, parts.fleet)), 1),
        Loop("standby", led(partial(standby_tick, db, settings, parts.fleet)), 1),
        Loop("drain", led(partial(drain_tick, db, settings, parts.fleet)), 1),
        Loop("processing", led(partial(assign_tick, db, settings)), 1),
        Loop("late_media", led(partial(late_media_tick, db, settings)), 2),
        Loop("deadlines", led(DeadlineLoop(db, settings).tick), 1),
        Loop("late_captures", led(captures.late_tick), 1),
        Loop("health", led(health.tick), 1),
        Loop("webhooks", led(webhooks.tick), 1, timeout_s=120),
        Loop("storage", led(watching.storage_tick), 30),
        Loop("alerts", led(watching.watch_tick), 5),
        Loop("tell", led(watching.tell_tick), 5, timeout_s=120),
        Loop("autoscale", led(autoscaler.tick), 2, timeout_s=120),
        Loop("metrics", led(partial(metrics_tick, db)), settings.metrics_interval_s),
        Loop("history", led(partial(history_tick, db, settings)), 600),
        Loop("retention", led(partial(retention_tick, db, settings, parts.storage)), 30, timeout_s=300),
        Loop("reconcile", led(partial(reconcile_tick, db, settings)), 15),
        Loop("stock", led(partial(stock_tick, db, parts.storage)), 60, timeout_s=300),
        Loop("orphans", led(partial(orphans_tick, db, settings, parts.storage)), 86400, timeout_s=3600),
    ]


WOKEN_BY = {
    Channel.FORWARDING: ("forwarding",),
    Channel.DISPATCH: ("dispatch", "standby", "drain", "processing"),
    Channel.EVENTS: ("events", "webhooks"),
    Channel.HEALTH: ("health",),
    Channel.SCALING: ("autoscale",),
}


def _subscribe(stack: ExitStack, listener: Listener, loops: list[Loop], parts: _Parts) -> None:
    named = {loop.name: loop for loop in loops}
    stack.enter_context(listener.subscribe(Channel.NODE, parts.node_links.wake))
    stack.enter_context(listener.subscribe(Channel.NODE, parts.fleet.changed))
    stack.enter_context(listener.subscribe(Channel.FLEET, parts.fleet.changed_now))
    for channel in (Channel.NODE, Channel.FLEET):
        stack.enter_context(listener.subscribe(channel, parts.watch.node_changed))
    for channel, names in WOKEN_BY.items():
        for name in names:
            stack.enter_context(listener.subscribe(channel, named[name].hint))


def _listen(settings: OrchestratorSettings) -> socket.socket:
    try:
        return socket.create_server((settings.host, settings.port), backlog=1024)
    except OSError as error:
        raise Unavailable(f"cannot listen on {settings.host}:{settings.port}: {error.strerror}") from error


def _url(settings: OrchestratorSettings, listening: socket.socket) -> str:
    host, port = listening.getsockname()[:2]
    return settings.public_url or f"http://{host}:{port}"


async def _serve_api(
    parts: _Parts,
    autoscaler: Autoscaler,
    listening: socket.socket,
    stop: asyncio.Event,
    started: Callable[[str], None] | None,
) -> None:
    url = _url(parts.settings, listening)

    def answers() -> None:
        log.info("orchestrator_ready", url=url)
        if started is not None:
            started(url)

    ending = asyncio.Event()
    async with asyncio.TaskGroup() as tasks:
        tasks.create_task(serve(_app(parts, autoscaler), listening, ending, answers))
        await stop.wait()
        await parts.node_links.goaway()
        await parts.room_links.goaway()
        await parts.replicas.leave()
        ending.set()


def _app(parts: _Parts, autoscaler: Autoscaler) -> FastAPI:
    async def database() -> None:
        await parts.db.run(_nothing)

    async def leader() -> None:
        if not parts.leadership.elected:
            raise Unavailable("no replica leads yet")

    return create_app(
        ApiDeps(
            settings=parts.settings,
            pool=parts.db.pool,
            commands=parts.commands,
            recordings=RecordingReads(parts.db.pool),
            node_links=parts.node_links,
            room_links=parts.room_links,
            storage=parts.storage,
            watch=parts.watch,
            webhooks=parts.webhooks,
            autoscaler=autoscaler,
            authenticator=Authenticator(parts.settings, epoch_seconds),
            leads=lambda: parts.leadership.leading,
            checks={"database": database, "storage": parts.storage.check, "leader": leader},
        )
    )


async def _nothing(_tx: Tx) -> None:
    return None


def epoch_seconds() -> float:
    """This machine's clock, for tokens' expiry."""
    return time_ns() / 1e9
