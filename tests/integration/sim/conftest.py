"""Rooms without an orchestrator."""

from collections.abc import AsyncIterator

import pytest

from edumeet_recording.sim.rooms import Rooms


@pytest.fixture
async def rooms() -> AsyncIterator[Rooms]:
    made = Rooms("127.0.0.1")
    yield made
    await made.close()
