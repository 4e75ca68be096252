"""The API over ASGI with faked commands and no database."""

from collections.abc import AsyncIterator
from typing import Any

import httpx2
import pytest
from fastapi import FastAPI
from tests.unit.api.fakes import NOW, SECRET, EchoLinks, IdleAutoscaler, NoPool, NoWebhooks, RecordingCommands

from edumeet_recording.api.app import create_app
from edumeet_recording.api.auth import Authenticator
from edumeet_recording.api.deps import ApiDeps
from edumeet_recording.api.recording_reads import RecordingReads
from edumeet_recording.api.watch_hub import WatchHub
from edumeet_recording.config import OrchestratorSettings

SETTINGS = OrchestratorSettings(_env_file=None, jwt_secret=SECRET, max_body_bytes=65536)


@pytest.fixture
def commands() -> RecordingCommands:
    return RecordingCommands()


@pytest.fixture
def settings() -> OrchestratorSettings:
    return SETTINGS


@pytest.fixture
def deps(commands: RecordingCommands, settings: OrchestratorSettings) -> ApiDeps:
    return _deps(commands, settings)


def _deps(commands: RecordingCommands, settings: OrchestratorSettings) -> ApiDeps:
    pool: Any = NoPool()
    storage: Any = None
    webhooks: Any = NoWebhooks()
    return ApiDeps(
        settings=settings,
        pool=pool,
        commands=commands,
        recordings=RecordingReads(pool),
        node_links=EchoLinks(),
        room_links=EchoLinks(),
        storage=storage,
        watch=WatchHub(pool),
        webhooks=webhooks,
        autoscaler=IdleAutoscaler(),
        authenticator=Authenticator(settings, lambda: NOW),
        leads=lambda: True,
        checks={},
    )


@pytest.fixture(scope="session")
def app() -> FastAPI:
    """Made once, for it takes 60 ms; each test gives it its own parts."""
    return create_app(_deps(RecordingCommands(), SETTINGS))


@pytest.fixture
async def client(app: FastAPI, deps: ApiDeps) -> AsyncIterator[httpx2.AsyncClient]:
    app.state.deps = deps
    transport = httpx2.ASGITransport(app, raise_app_exceptions=False)
    async with httpx2.AsyncClient(transport=transport, base_url="http://orchestrator") as client:
        yield client
