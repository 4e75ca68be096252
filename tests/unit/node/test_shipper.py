import asyncio
import hashlib
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import pytest
from tests.waiting import eventually

from edumeet_recording.domain.errors import Unavailable
from edumeet_recording.node import shipper as module
from edumeet_recording.node.shipper import Shipper
from edumeet_recording.node.worker_link import ChunkClosed
from edumeet_recording.storage.objects import ObjectInfo
from edumeet_recording.wire.node_link import TapeChunk

DATA = b"tape"
CLOSED = ChunkClosed("c1", 3, bytes=4, records=2, first_ns=1, last_ns=2)


class Store:
    """Takes what it is given; `faults` says what goes wrong, put after put."""

    def __init__(self, *faults: str, etag: str | None = None, adopts: bool = False) -> None:
        self.faults = list(faults)
        self.adopts = adopts
        self.etag = etag
        self.objects: dict[str, bytes] = {}
        self.reads = 0

    def adopt(self, key: str, path: Path) -> bool:
        if self.adopts:
            self.objects[key] = path.read_bytes()
        return self.adopts

    async def put_bytes(self, key: str, data: bytes) -> None:
        fault = self.faults.pop(0) if self.faults else ""
        if fault == "away":
            raise Unavailable("503")
        self.objects[key] = {"cut": data[:-1], "flip": bytes(len(data))}.get(fault, data)

    async def get(self, key: str) -> bytes:
        self.reads += 1
        return self.objects[key]

    async def stat(self, key: str) -> ObjectInfo | None:
        size = len(self.objects[key])
        return ObjectInfo(key=key, bytes=size, etag=self.etag, last_modified=datetime(2026, 1, 1, tzinfo=UTC))


@pytest.fixture(autouse=True)
def _no_pause(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "FIRST_PAUSE_S", 0.001)


@asynccontextmanager
async def shipping(store: Store) -> AsyncIterator[tuple[Shipper, asyncio.Queue[tuple[str, TapeChunk]]]]:
    shipped: asyncio.Queue[tuple[str, TapeChunk]] = asyncio.Queue()
    shipper = Shipper(store, lambda capture_id, chunk: shipped.put_nowait((capture_id, chunk)))
    async with asyncio.TaskGroup() as group:
        running = group.create_task(shipper.run())
        yield shipper, shipped
        running.cancel()


@pytest.mark.parametrize("faults", [(), ("away",), ("cut",), ("flip",), ("away", "cut", "flip", "away")])
async def test_a_chunk_counts_as_stored_once_the_store_has_it_as_it_was(
    tmp_path: Path, faults: tuple[str, ...]
) -> None:
    path = tmp_path / "000003.tape"
    path.write_bytes(DATA)
    store = Store(*faults)
    async with shipping(store) as (shipper, shipped):
        shipper.ship(CLOSED, "tapes/c1/000003.tape", path)
        capture_id, chunk = await asyncio.wait_for(shipped.get(), 5)
    sha256 = hashlib.sha256(DATA).hexdigest()
    assert (capture_id, chunk.seq, chunk.key, chunk.sha256) == ("c1", 3, "tapes/c1/000003.tape", sha256)
    assert store.objects[chunk.key] == DATA
    assert store.faults == []


async def test_a_store_that_takes_the_file_itself_needs_no_copy(tmp_path: Path) -> None:
    path = tmp_path / "000003.tape"
    path.write_bytes(DATA)
    store = Store("away", adopts=True)
    async with shipping(store) as (shipper, shipped):
        shipper.ship(CLOSED, "k", path)
        _, chunk = await asyncio.wait_for(shipped.get(), 5)
    assert chunk.sha256 == hashlib.sha256(DATA).hexdigest()
    assert (store.objects["k"], store.reads, store.faults) == (DATA, 0, ["away"])


async def test_a_store_that_tells_the_checksum_is_not_read_again(tmp_path: Path) -> None:
    path = tmp_path / "000003.tape"
    path.write_bytes(DATA)
    store = Store(etag=f'"{hashlib.md5(DATA).hexdigest()}"')  # noqa: S324 - what S3 answers
    async with shipping(store) as (shipper, shipped):
        shipper.ship(CLOSED, "k", path)
        await asyncio.wait_for(shipped.get(), 5)
    assert store.reads == 0


async def test_a_store_that_is_away_is_told_of_and_gets_everything_once_it_is_back(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "LONGEST_PAUSE_S", 0.01)
    store = Store(*["away", "away", "away", "cut"] * 100)
    async with shipping(store) as (shipper, shipped):
        now = asyncio.get_running_loop().time()
        assert shipper.trouble(now) is None
        for seq in range(40):
            path = tmp_path / f"{seq}.tape"
            path.write_bytes(f"tape {seq}".encode())
            shipper.ship(replace(CLOSED, seq=seq), f"k{seq}", path)
        trouble = await eventually(lambda: shipper.trouble(now + 60))
        assert trouble.startswith("the storage has taken no tape for ")
        async with asyncio.timeout(10):
            assert {(await shipped.get())[1].seq for _ in range(40)} == set(range(40))
    assert store.objects == {f"k{seq}": f"tape {seq}".encode() for seq in range(40)}
    assert shipper.trouble(now + 60) is None


async def test_once_the_store_is_back_nobody_waits_any_longer(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    factors = [60.0, 60.0, 60.0, 0.01]
    monkeypatch.setattr(module, "FIRST_PAUSE_S", 1.0)
    monkeypatch.setattr(module.random, "uniform", lambda *_: factors.pop(0))
    store = Store("", *["away"] * 4)
    path = tmp_path / "0.tape"
    path.write_bytes(DATA)
    async with shipping(store) as (shipper, shipped):
        shipper.ship(CLOSED, "first", path)
        await asyncio.wait_for(shipped.get(), 5)
        for seq in range(4):
            shipper.ship(replace(CLOSED, seq=seq), f"k{seq}", path)
        async with asyncio.timeout(5):
            assert {(await shipped.get())[1].seq for _ in range(4)} == set(range(4))
