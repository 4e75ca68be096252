"""Starting and stopping over and over leaves nothing behind: no descriptor, process or file."""

import asyncio
import os
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest
from tests.system.conftest import Service, start_body
from tests.waiting import eventually

from edumeet_recording.sim.processes import descendants
from edumeet_recording.wire.http import RegisterRoomServer

pytestmark = pytest.mark.asyncio(loop_scope="module")

CYCLES, AT_ONCE = 50, 10


def _family(service: Service) -> set[int]:
    """Our processes; those of PostgreSQL, one a connection and some that come and go, are its own affair."""
    pid = service.process.process.pid
    return {each for each in (pid, *descendants(pid)) if "postgres" not in _name(each)}


def _name(pid: int) -> str:
    with suppress(FileNotFoundError):
        return Path(f"/proc/{pid}/comm").read_text()
    return ""


def _descriptors(service: Service) -> int:
    def of(pid: int) -> int:
        with suppress(FileNotFoundError):
            return sum(1 for _ in Path(f"/proc/{pid}/fd").iterdir())
        return 0

    return sum(map(of, _family(service)))


def _files(service: Service) -> Iterator[Path]:
    """What captures leave: spool, tapes, files; not the database's own."""
    state = service.folder / ".state"
    for folder in (state / "node" / "spool", state / "node" / "work", state / "storage"):
        yield from (Path(root, name) for root, _folders, names in os.walk(folder) for name in names)


async def _cycle(service: Service, number: int) -> None:
    job = await service.client.start(start_body(f"peer-{number}", forwarding="client"))
    assert job.rtp_forwarding is not None
    await service.client.stop(job.job_id)
    assert (await service.until(job.job_id)).reason == "no_media"


async def _cycles(service: Service, numbers: range) -> None:
    for first in numbers[::AT_ONCE]:
        async with asyncio.TaskGroup() as tasks:
            for number in range(first, first + AT_ONCE):
                tasks.create_task(_cycle(service, number))


async def test_nothing_is_left_behind(service: Service) -> None:
    await service.client.register_room_server(
        RegisterRoomServer(server_id="room-server-1", url="http://127.0.0.1:9", region="default", capacity=1)
    )
    await _cycles(service, range(2 * AT_ONCE))  # connections and workers that stay are there after these
    descriptors, processes = _descriptors(service), _family(service)
    await _cycles(service, range(100, 100 + CYCLES))

    def clean() -> bool:
        assert _family(service) == processes
        assert _descriptors(service) <= descriptors
        assert list(_files(service)) == []
        return True

    await eventually(clean, timeout=10)
