"""A spool that fills up because the storage is away: nothing that is on tape is lost, and the node lives."""

import subprocess
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest
from tests.integration.node.conftest import Start, sending, taped_sequences
from tests.integration.node.test_node import drained, prepared, state
from tests.waiting import eventually

from edumeet_recording.bench.one_node import OneNode
from edumeet_recording.domain.capture import CaptureState
from edumeet_recording.wire.node_link import CaptureDrained, NodeLoad

DISK_BYTES = 4 * 1024 * 1024
FAST = {"payload_bytes": 1100, "burst": 4}


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """The node's state directory, a file system of its own; needs the right to mount one."""
    folder = tmp_path / "state"
    folder.mkdir()
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", f"size={DISK_BYTES}", "none", str(folder)], capture_output=True, check=False
    )
    if mounted.returncode:
        pytest.skip("mounting a file system is not permitted here")
    yield folder
    subprocess.run(["umount", "--lazy", str(folder)], check=True)


class Storage:
    """A folder that can be taken away."""

    def __init__(self, folder: Path) -> None:
        self.url = folder.as_uri()
        self.tapes = folder / "tapes"

    def goes(self) -> None:
        self.tapes.parent.mkdir()
        self.tapes.write_text("no folder can be made here")

    def returns(self) -> None:
        self.tapes.unlink()


def on_tape(folder: Path) -> list[int]:
    return taped_sequences([path.read_bytes() for path in sorted(folder.rglob("*.tape*"))])


def fill(folder: Path) -> None:
    with suppress(OSError), (folder / "ballast").open("wb", buffering=0) as ballast:
        while True:
            ballast.write(bytes(4096))


@pytest.fixture
def storage(tmp_path: Path) -> Storage:
    return Storage(tmp_path / "elsewhere")


def load(orchestrator: OneNode) -> NodeLoad:
    assert orchestrator.heartbeat
    return orchestrator.heartbeat.load


def cannot_write(orchestrator: OneNode) -> bool:
    return "cannot be written" in (load(orchestrator).refusal or "")


async def test_a_full_disk_has_captures_moved_and_loses_nothing_that_comes_meanwhile(
    orchestrator: OneNode, start_node: Start, small_disk: Path, storage: Storage
) -> None:
    storage.goes()
    async with start_node(storage_url=storage.url):
        port, _ = await prepared(orchestrator)
        async with sending(port, **FAST) as sender:
            await eventually(lambda: state(orchestrator) is CaptureState.RECEIVING)
            await eventually(lambda: load(orchestrator).warning, timeout=20)
            await eventually(lambda: cannot_write(orchestrator), timeout=20)
        assert load(orchestrator).leaving, "other nodes take over before anything is lost"
        storage.returns()
        await eventually(lambda: load(orchestrator).refusal is None, timeout=30)
        assert not load(orchestrator).leaving
        assert load(orchestrator).accepts_captures
        await eventually(lambda: load(orchestrator).warning is None, timeout=10)
        body = await drained(orchestrator)
    assert body.report.error is None
    assert on_tape(storage.tapes) == list(range(sender.sent))


async def test_a_node_starts_on_a_full_disk_and_ships_what_is_there(
    orchestrator: OneNode, start_node: Start, small_disk: Path, storage: Storage
) -> None:
    storage.goes()
    async with start_node(storage_url=storage.url):
        port, _ = await prepared(orchestrator)
        async with sending(port, **FAST):
            await eventually(lambda: orchestrator.heartbeat and cannot_write(orchestrator), timeout=30)
    fill(small_disk)
    taped = on_tape(small_disk)
    orchestrator.heartbeat = None
    async with start_node(storage_url=storage.url):
        await eventually(lambda: orchestrator.heartbeat, timeout=20)
        storage.returns()
        await eventually(lambda: orchestrator.journaled(CaptureDrained), timeout=30)
    assert len(taped) > 1000
    assert on_tape(storage.tapes) == taped == list(range(len(taped)))
