"""Tapes and finished files in S3, GCS, Azure or a folder, by obstore; keys are relative to STORAGE_URL.

Credentials come from the settings: on S3 access key and secret, on Azure account name and account key, on GCS a service
account's JSON as the secret; where they are empty, from the provider's own chain.
"""

import asyncio
import atexit
import os
import shutil
import time
import unicodedata
import uuid
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import unquote, urlsplit

import obstore
from obstore.exceptions import BaseError
from obstore.store import AzureStore, GCSStore, LocalStore, S3Store

from edumeet_recording.config import CommonSettings
from edumeet_recording.domain.errors import InvalidRequest, NotFound, Unavailable

if TYPE_CHECKING:  # obstore has these names for type checkers only
    from obstore import ObjectMeta
    from obstore.store import AzureConfig, ClientConfig, GCSConfig, RetryConfig, S3Config, S3Credential

ANSWER_TIMEOUT_S = 10.0
SLOWEST_BYTES_PER_S = 256 * 1024
"""A transfer may take ANSWER_TIMEOUT_S and as long as its bytes need at this rate."""
PART_BYTES = 8 * 1024 * 1024
"""Of one request; S3 takes 10,000 parts, so 80 GB an object."""
PARTS_AT_ONCE = 2
PART_TIMEOUT_S = ANSWER_TIMEOUT_S + PARTS_AT_ONCE * PART_BYTES / SLOWEST_BYTES_PER_S
DELETE_AT_ONCE = 1000
MAX_KEY_BYTES = 1024
"""Of a key with all its segments (S3); a folder takes 255 bytes a segment."""
MAX_SEGMENT_BYTES = 240

CONTENT_TYPES = {
    ".mp4": "video/mp4",
    ".webm": "video/webm",
    ".mkv": "video/x-matroska",
    ".m4a": "audio/mp4",
    ".ogg": "audio/ogg",
    ".mka": "audio/x-matroska",
    ".jpg": "image/jpeg",
    ".json": "application/json",
}
"""What a browser is told by a signed URL."""


@dataclass(frozen=True, slots=True)
class ObjectInfo:
    """A stored object. `etag` changes with the content; no checksum, each storage makes its own."""

    key: str
    bytes: int
    etag: str | None
    last_modified: datetime


class ObjectStore:
    """Objects under one URL. A whole object appears under its key, or nothing.

    All methods raise `Unavailable` where the storage is away or refuses us, `InvalidRequest` for a key that no storage
    should see, and those that read `NotFound`.
    """

    def __init__(self, store: S3Store | GCSStore | AzureStore | LocalStore, folder: Path | None) -> None:
        self._store = store
        self._folder = folder

    @classmethod
    def open(cls, settings: CommonSettings) -> "ObjectStore":
        """The storage of the settings; a folder is made. Raises `InvalidRequest` for a URL that names no storage."""
        _settle_at_exit()
        url = settings.storage_location
        try:
            if urlsplit(url).scheme == "file":
                folder = Path(unquote(urlsplit(url).path))
                folder.mkdir(parents=True, exist_ok=True)
                return cls(LocalStore(folder), folder)
            return cls(_remote_store(url, settings), None)
        except (BaseError, ValueError) as error:
            raise InvalidRequest(f"STORAGE_URL {url}: {_words(error)}", field="storage_url") from error
        except OSError as error:
            raise Unavailable(f"the storage {url} cannot be used: {error.strerror}") from error

    async def put_file(self, key: str, path: Path) -> None:
        """Store a file under `key`, in parts where it is large."""
        size = (await asyncio.to_thread(path.stat)).st_size
        async with _talk("write", _checked(key), size, absent=Unavailable):
            await obstore.put_async(
                self._store,
                key,
                path,
                attributes=self._attributes(key),
                chunk_size=PART_BYTES,
                max_concurrency=PARTS_AT_ONCE,
            )
            await self._sync(key)

    async def put_bytes(self, key: str, data: bytes) -> None:
        """Store bytes under `key`."""
        async with _talk("write", _checked(key), len(data), absent=Unavailable):
            await obstore.put_async(self._store, key, data, attributes=self._attributes(key))
            await self._sync(key)

    def adopt(self, key: str, path: Path) -> bool:
        """Store a file, that nobody will write to any more, as a second name of the same bytes; blocks on the disk.

        False where that cannot be: the storage is no folder, or on another file system, or has the key already. Both
        names are in one file system, whose journal keeps their order: the first may go as soon as there is the second.
        """
        return self._folder is not None and _link(path, self._folder / _checked(key))

    async def get(self, key: str) -> bytes:
        """A whole object, in memory."""
        async with _talk("read", _checked(key)):
            result = await obstore.get_async(self._store, key)
        async with _talk("read", key, result.meta["size"]):
            return bytes(await result.bytes_async())

    async def stream(self, key: str, start: int = 0, end: int | None = None) -> AsyncGenerator[bytes]:
        """The bytes from `start` up to but without `end` (None: the last), a request a part: the reader may be slow.

        Raises `NotFound`.
        """
        info = await self.stat(key)
        if info is None:
            raise NotFound(f"{key} is not in the storage")
        end = info.bytes if end is None else end
        at = start
        while at < end:
            until = min(at + PART_BYTES, end)
            if (at, until) == (0, info.bytes):
                yield await self.get(key)
                return
            part = await self._part(key, at, until)
            if part is not None:
                yield part
                at = until
                continue
            begun = at
            async for part in self._rest(key, at, end):
                yield part
                at += len(part)
            if at == begun:
                raise Unavailable(f"the storage could not read {key}: it has no byte {at}")

    async def _part(self, key: str, start: int, end: int) -> bytes | None:
        """None from a server that ignores ranges, as it may (RFC 9110 §14.2), or answers them as rclone 1.75 does."""
        async with _talk("read", _checked(key), end - start):
            try:
                return bytes(await obstore.get_range_async(self._store, key, start=start, end=end))
            except BaseError as error:
                if "non-partial" not in str(error):
                    raise
                return None

    async def _rest(self, key: str, start: int, end: int) -> AsyncGenerator[bytes]:
        """From `start` on, cut out of one answer with all of the object.

        Ends early where that answer breaks off after some of it: requests are timed, and the reader may be slow.
        """
        at = 0
        try:
            async with _talk("read", key):
                chunks = aiter((await obstore.get_async(self._store, key)).stream(min_chunk_size=PART_BYTES))
            while at < end:
                async with _talk("read", key, PART_BYTES):
                    chunk = await anext(chunks, None)
                if chunk is None:
                    return
                piece = bytes(memoryview(chunk)[max(start - at, 0) : max(end - at, 0)])
                at += len(chunk)
                if piece:
                    yield piece
        except Unavailable:
            if at <= start:
                raise

    async def stat(self, key: str) -> ObjectInfo | None:
        """What is stored under `key`, or None."""
        try:
            async with _talk("look up", _checked(key)):
                return _info(await obstore.head_async(self._store, key))
        except NotFound:
            return None

    async def folders(self, prefix: str) -> list[str]:
        """Names of the folders that are right in the folder `prefix`."""
        async with _talk("list", _checked(prefix), absent=Unavailable):
            found = await obstore.list_with_delimiter_async(self._store, prefix)
        return sorted(folder.rstrip("/").rpartition("/")[2] for folder in found["common_prefixes"])

    async def list(self, prefix: str) -> list[ObjectInfo]:
        """All objects in `prefix`, which is a whole folder: `a` holds `a/b` but not `ab`; empty: everything. By key."""
        found = list[ObjectInfo]()
        stream = obstore.list(self._store, _checked(prefix) if prefix else None, chunk_size=DELETE_AT_ONCE)
        while True:
            async with _talk("list", prefix, absent=Unavailable):
                page = await anext(stream, None)
            if page is None:
                return sorted(found, key=lambda info: info.key)
            found += map(_info, page)

    async def delete(self, key: str) -> None:
        """Delete an object; one that is not there is deleted already."""
        try:
            async with _talk("delete", _checked(key)):
                await obstore.delete_async(self._store, key)
        except NotFound:
            return

    async def delete_prefix(self, prefix: str) -> None:
        """Delete all objects in the folder `prefix`."""
        if self._folder:
            # with what a killed writer left half-written, which no listing shows
            await asyncio.to_thread(shutil.rmtree, self._folder / _checked(prefix), ignore_errors=True)
            return
        keys = [info.key for info in await self.list(_checked(prefix))]
        for at in range(0, len(keys), DELETE_AT_ONCE):
            async with _talk("delete", prefix, absent=Unavailable):
                await obstore.delete_async(self._store, keys[at : at + DELETE_AT_ONCE])

    async def signed_url(self, key: str, expires_s: float) -> str | None:
        """A URL that reads the object without credentials for `expires_s` seconds; None where the storage has none."""
        _checked(key)
        if isinstance(self._store, LocalStore):
            return None
        async with _talk("sign", key):
            return await obstore.sign_async(self._store, "GET", key, timedelta(seconds=expires_s))

    async def check(self) -> None:
        """Write, read and delete a small object. Raises `Unavailable`."""
        key, content = f".check-{uuid.uuid4().hex}", b"readable"
        await self.put_bytes(key, content)
        try:
            if await self.get(key) != content:
                raise Unavailable("the storage gives back other bytes than were written")
        except NotFound as error:
            raise Unavailable("the storage does not give back what was written") from error
        finally:
            await self.delete(key)

    def _attributes(self, key: str) -> dict[str, str] | None:
        content_type = CONTENT_TYPES.get(Path(key).suffix)
        return {"Content-Type": content_type} if content_type and not self._folder else None

    async def _sync(self, key: str) -> None:
        """Bring what was written to a folder on its disk: the spool is deleted on the strength of it."""
        if self._folder:
            path = self._folder / key
            for written in (path, path.parent):
                await asyncio.to_thread(_fsync, written)


def _link(path: Path, target: Path) -> bool:
    try:
        try:
            target.hardlink_to(path)
        except FileNotFoundError:
            target.parent.mkdir(parents=True, exist_ok=True)
            target.hardlink_to(path)
    except OSError:
        return False
    return True


def _remote_store(url: str, settings: CommonSettings) -> S3Store | GCSStore | AzureStore:
    name, secret = settings.storage_access_key.get_secret_value(), settings.storage_secret_key.get_secret_value()
    endpoint = settings.storage_endpoint
    client: ClientConfig = {
        "allow_http": settings.storage_allow_http,
        "connect_timeout": timedelta(seconds=3),
        "timeout": timedelta(seconds=PART_TIMEOUT_S),
    }
    retry: RetryConfig = {"max_retries": 2, "retry_timeout": timedelta(seconds=ANSWER_TIMEOUT_S)}
    match urlsplit(url).scheme:
        case "s3":
            s3: S3Config = {"region": settings.storage_region}
            if endpoint:
                s3["endpoint"] = endpoint

            # a provider, because a session token in the environment would be mixed with given keys
            def given() -> "S3Credential":
                return {"access_key_id": name, "secret_access_key": secret, "token": None, "expires_at": None}

            provider = given if name else None
            return S3Store.from_url(
                url, config=s3, client_options=client, retry_config=retry, credential_provider=provider
            )
        case "gs":
            gcs: GCSConfig = {"service_account_key": secret} if secret else {}
            return GCSStore.from_url(url, config=gcs, client_options=client, retry_config=retry)
        case "az":
            azure: AzureConfig = {"account_name": name, "account_key": secret} if name else {}
            if endpoint:
                azure["endpoint"] = endpoint
            return AzureStore.from_url(url, config=azure, client_options=client, retry_config=retry)
        case scheme:
            raise ValueError(f"{scheme or 'a path'} is not one of file, s3, gs, az")


@cache
def _settle_at_exit() -> None:
    """Let obstore's threads let go of Python before it ends, or they abort the process (pyo3-async-runtimes#40)."""
    atexit.register(time.sleep, 0.05)


@asynccontextmanager
async def _talk(
    action: str, key: str, size: int = 0, *, absent: type[NotFound | Unavailable] = NotFound
) -> AsyncGenerator[None]:
    """Give the storage its time for `size` bytes, and map its errors; `absent` is what "not found" means here."""
    try:
        async with asyncio.timeout(ANSWER_TIMEOUT_S + size / SLOWEST_BYTES_PER_S):
            yield
    except FileNotFoundError as error:
        raise absent(f"the storage could not {action} {key}: {_words(error)}") from error
    except TimeoutError as error:
        raise Unavailable(f"the storage could not {action} {key}: it does not answer") from error
    except (BaseError, OSError, ValueError) as error:
        raise Unavailable(f"the storage could not {action} {key}: {_words(error)}") from error


def _words(error: Exception) -> str:
    """What the storage says, without the debug output that obstore appends."""
    return str(error).partition("\n")[0].strip() or type(error).__name__


def _checked(key: str) -> str:
    """`key`, where every storage takes it as it is."""
    segments = key.split("/")
    if (
        len(key.encode(errors="replace")) > MAX_KEY_BYTES
        or any(
            segment in {"", ".", ".."} or len(segment.encode(errors="replace")) > MAX_SEGMENT_BYTES
            for segment in segments
        )
        # control, surrogate, unassigned; and what folders and browsers read in their own way
        or any(unicodedata.category(letter).startswith("C") or letter in "\\#?" for letter in key)
    ):
        raise InvalidRequest(f"not a key of the storage: {key[:80]!r}")
    return key


def _info(meta: "ObjectMeta") -> ObjectInfo:
    return ObjectInfo(meta["path"], meta["size"], meta["e_tag"], meta["last_modified"])


def _fsync(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
