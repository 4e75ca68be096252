"""The API with the real commands on a real database, and files in a folder."""

import asyncio
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

import httpx2
import pytest
from fastapi import FastAPI
from tests.integration.control.conftest import Service
from tests.unit.api.fakes import NOW, SECRET, EchoLinks

from edumeet_recording.api.app import create_app
from edumeet_recording.api.auth import Authenticator
from edumeet_recording.api.deps import ApiDeps
from edumeet_recording.api.recording_reads import RecordingReads
from edumeet_recording.api.watch_hub import WatchHub
from edumeet_recording.config import OrchestratorSettings
from edumeet_recording.control.autoscale import Autoscaler
from edumeet_recording.control.captures import CaptureCommands
from edumeet_recording.control.commands import Commands
from edumeet_recording.control.fleet import LiveFleet
from edumeet_recording.control.starts import Starts
from edumeet_recording.control.webhooks import Webhooks
from edumeet_recording.providers.advisory import AdvisoryProvider
from edumeet_recording.storage.objects import ObjectStore
from edumeet_recording.store.db import Pool
from edumeet_recording.store.notify import Notifier
from edumeet_recording.store.transaction import Transactor
from edumeet_recording.web import serve


@dataclass(frozen=True)
class Orchestrator:
    """A replica without loops: a test says what nodes say, and ticks what it needs."""

    deps: ApiDeps
    app: FastAPI
    service: Service
    storage: ObjectStore

    @property
    def watch(self) -> WatchHub:
        return self.deps.watch


@pytest.fixture
async def orchestrator(db_pool: Pool, tmp_path: Path) -> AsyncIterator[Orchestrator]:
    async with httpx2.AsyncClient(trust_env=False) as outside:
        yield _orchestrator(db_pool, tmp_path, outside)


def _orchestrator(db_pool: Pool, tmp_path: Path, outside: httpx2.AsyncClient) -> Orchestrator:
    settings = OrchestratorSettings(
        _env_file=None, jwt_secret=SECRET, queue_limit=2, storage_url=tmp_path.as_uri(), state_dir=tmp_path
    )
    db = Transactor(db_pool, Notifier("unused"))
    starts = Starts(db, settings, LiveFleet(db, settings.placement_strategy))
    commands = Commands(db, settings, CaptureCommands(db, settings), starts)
    storage = ObjectStore.open(settings)
    deps = ApiDeps(
        settings=settings,
        pool=db_pool,
        commands=commands,
        recordings=RecordingReads(db_pool),
        node_links=EchoLinks(),
        room_links=EchoLinks(),
        storage=storage,
        watch=WatchHub(db_pool),
        webhooks=Webhooks(db, outside),
        autoscaler=Autoscaler(db, settings, AdvisoryProvider(), commands.deregister_node),
        authenticator=Authenticator(settings, lambda: NOW),
        leads=lambda: True,
        checks={"storage": storage.check},
    )
    return Orchestrator(deps, create_app(deps), Service(commands, db_pool), storage)


@pytest.fixture
async def client(orchestrator: Orchestrator) -> AsyncIterator[httpx2.AsyncClient]:
    transport = httpx2.ASGITransport(orchestrator.app)
    async with httpx2.AsyncClient(transport=transport, base_url="http://orchestrator") as client:
        yield client


@asynccontextmanager
async def listening(app: FastAPI) -> AsyncIterator[str]:
    """`app` on a real socket; its host and port."""
    stop, ready = asyncio.Event(), asyncio.Event()
    with socket.create_server(("127.0.0.1", 0)) as bound:
        async with asyncio.TaskGroup() as group:
            group.create_task(serve(app, bound, stop, ready.set))
            await ready.wait()
            try:
                yield f"127.0.0.1:{bound.getsockname()[1]}"
            finally:
                stop.set()
