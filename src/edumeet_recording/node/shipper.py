"""Ships closed chunks to the object store: each is tried for ever, and counts once the store was seen to have it."""

import asyncio
import hashlib
import random
import re
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Protocol

import structlog

from edumeet_recording.domain.errors import OrchestratorError, Unavailable
from edumeet_recording.node.worker_link import ChunkClosed
from edumeet_recording.storage.objects import ObjectInfo
from edumeet_recording.wire.node_link import TapeChunk

FIRST_PAUSE_S = 0.5
LONGEST_PAUSE_S = 10.0
TROUBLE_S = 5.0
"""A chunk that is refused for this long is worth a warning."""
ADOPTED_AT_ONCE = 32

_Closed = tuple[ChunkClosed, str, Path]
_MD5 = re.compile(r"[0-9a-f]{32}")

_log = structlog.get_logger(__name__)


class UploadStore(Protocol):
    """What shipping needs of the object store."""

    def adopt(self, key: str, path: Path) -> bool:
        """Store a file by giving it a second name; False where that cannot be. Blocks on the disk."""
        ...

    async def put_bytes(self, key: str, data: bytes) -> None:
        """Store bytes."""
        ...

    async def get(self, key: str) -> bytes:
        """Read an object."""
        ...

    async def stat(self, key: str) -> ObjectInfo | None:
        """What the store knows of an object."""
        ...


class Shipper:
    """Ships in the order of `ship`, `uploads` at a time; `shipped(capture_id, chunk)` is called for each."""

    def __init__(self, store: UploadStore, shipped: Callable[[str, TapeChunk], None], *, uploads: int = 4) -> None:
        self._store = store
        self._shipped = shipped
        self._uploads = uploads
        self._queue: asyncio.Queue[_Closed] = asyncio.Queue()
        self._adopts = True
        """Until the store has refused to: then chunks are shipped side by side."""
        self._refused: dict[str, tuple[float, str]] = {}
        """By key: since when a chunk is refused, and why."""
        self._back = asyncio.Event()
        """Set where a chunk is taken while all of them were refused: who waits need not wait any longer."""

    def ship(self, closed: ChunkClosed, key: str, path: Path) -> None:
        """Queue the chunk at `path` for storage under `key`."""
        self._queue.put_nowait((closed, key, path))

    def trouble(self, now: float) -> str | None:
        """What is wrong with the storage at `now` of the loop's clock, in words."""
        since, error = min(self._refused.values(), default=(now, ""))
        return f"the storage has taken no tape for {now - since:.0f} s: {error}" if now - since >= TROUBLE_S else None

    async def run(self) -> None:
        """Until cancelled."""
        async with asyncio.TaskGroup() as group:
            for _ in range(self._uploads):
                group.create_task(self._run_one())

    async def _run_one(self) -> None:
        while True:
            waiting = [await self._queue.get()]
            while self._adopts and len(waiting) < ADOPTED_AT_ONCE and not self._queue.empty():
                waiting.append(self._queue.get_nowait())
            # one thread for all of them: waking one costs as much as a chunk does
            adopted = await asyncio.to_thread(self._adopt, waiting)
            self._adopts = all(adopted)
            for (closed, key, path), sha256 in zip(waiting, adopted, strict=True):
                chunk = TapeChunk(
                    seq=closed.seq,
                    key=key,
                    bytes=closed.bytes,
                    sha256=sha256 or await self._ship(key, path),
                    records=closed.records,
                    first_ns=closed.first_ns,
                    last_ns=closed.last_ns,
                )
                self._shipped(closed.capture_id, chunk)

    def _adopt(self, waiting: list[_Closed]) -> list[str]:
        """The checksum of each chunk, empty where it is still to be shipped."""
        adopted: list[str] = []
        for _, key, path in waiting:
            try:
                # the very bytes that are read are stored: there is no copy that could differ
                adopted.append(_read(path)[1] if self._store.adopt(key, path) else "")
            except OSError:
                adopted.append("")
        return adopted

    async def _ship(self, key: str, path: Path) -> str:
        pause, since = FIRST_PAUSE_S, asyncio.get_running_loop().time()
        while True:
            try:
                sha256 = await self._ship_once(key, path)
            except (OrchestratorError, OSError) as error:
                self._refused[key] = since, str(error)
                _log.warning("chunk not stored yet", key=key, error=str(error), retry_in_s=round(pause, 1))
            else:
                if len(self._refused) >= self._uploads:
                    self._back.set()
                    self._back = asyncio.Event()
                self._refused.pop(key, None)
                return sha256
            with suppress(TimeoutError):
                async with asyncio.timeout(pause * random.uniform(0.5, 1.0)):  # noqa: S311 - jitter, not a secret
                    await self._back.wait()
            pause = min(2 * pause, LONGEST_PAUSE_S)

    async def _ship_once(self, key: str, path: Path) -> str:
        data, sha256 = await asyncio.to_thread(_read, path)
        await self._store.put_bytes(key, data)
        stored = await self._store.stat(key)
        if stored is None or stored.bytes != len(data):
            raise Unavailable(f"{key} has {stored.bytes if stored else 'no'} bytes in the store instead of {len(data)}")
        if not _is_md5_of(data, stored.etag) and await self._store.get(key) != data:
            raise Unavailable(f"{key} came back different from the store")
        return sha256


def _read(path: Path) -> tuple[bytes, str]:
    data = path.read_bytes()
    return data, hashlib.sha256(data).hexdigest()


def _is_md5_of(data: bytes, etag: str | None) -> bool:
    """True where the etag tells that the store has just this; most do not tell, but plain S3 uploads have their MD5."""
    digest = (etag or "").strip('"')
    return _MD5.fullmatch(digest) is not None and digest == hashlib.md5(data, usedforsecurity=False).hexdigest()
