"""Several object stores as one: a key that begins with `@region/` is in that region's, any other in the default one."""

from collections.abc import AsyncGenerator, Mapping
from dataclasses import replace
from pathlib import Path

from edumeet_recording.config import CommonSettings
from edumeet_recording.domain.errors import Unavailable
from edumeet_recording.domain.regions import DEFAULT_STORAGE, located, split_location
from edumeet_recording.storage.objects import ObjectInfo, ObjectStore


class RegionalStore:
    """An `ObjectStore` by region, with the same methods; they also raise `Unavailable` for a region that has none."""

    def __init__(self, stores: Mapping[str, ObjectStore]) -> None:
        self._stores = stores

    @classmethod
    def open(cls, settings: CommonSettings) -> "RegionalStore":
        """The storages of the settings. Raises `InvalidRequest` for a URL that names no storage."""
        default = {DEFAULT_STORAGE: ObjectStore.open(settings)}
        return cls(default | {name: ObjectStore.open(settings.of_storage(name)) for name in settings.storage_places})

    @property
    def names(self) -> tuple[str, ...]:
        """Of all storages; the default one's is empty."""
        return tuple(self._stores)

    async def put_file(self, key: str, path: Path) -> None:
        """Store a file."""
        store, key = self._of(key)
        await store.put_file(key, path)

    async def put_bytes(self, key: str, data: bytes) -> None:
        """Store bytes."""
        store, key = self._of(key)
        await store.put_bytes(key, data)

    def adopt(self, key: str, path: Path) -> bool:
        """Store a file by giving it a second name; False where that cannot be."""
        store, key = self._of(key)
        return store.adopt(key, path)

    async def get(self, key: str) -> bytes:
        """A whole object, in memory."""
        store, key = self._of(key)
        return await store.get(key)

    async def stream(self, key: str, start: int = 0, end: int | None = None) -> AsyncGenerator[bytes]:
        """The bytes from `start` up to but without `end`."""
        store, key = self._of(key)
        async for part in store.stream(key, start, end):
            yield part

    async def stat(self, key: str) -> ObjectInfo | None:
        """What is stored, or None."""
        store, key = self._of(key)
        return await store.stat(key)

    async def list_everywhere(self, prefix: str) -> list[ObjectInfo]:
        """All objects in a folder of every storage, under keys that name their storage."""
        return [
            replace(info, key=located(name, info.key))
            for name, store in self._stores.items()
            for info in await store.list(prefix)
        ]

    async def folders_everywhere(self, prefix: str) -> set[str]:
        """Names of the folders that are right in the folder `prefix` of any storage."""
        return {folder for store in self._stores.values() for folder in await store.folders(prefix)}

    async def delete(self, key: str) -> None:
        """Delete an object; one that is not there is deleted already."""
        store, key = self._of(key)
        await store.delete(key)

    async def delete_everywhere(self, prefix: str) -> None:
        """Delete a folder in every storage; what is gone already is no error."""
        for store in self._stores.values():
            await store.delete_prefix(prefix)

    async def signed_url(self, key: str, expires_s: float) -> str | None:
        """A URL that reads the object without credentials for a while; None where the storage has none."""
        store, key = self._of(key)
        return await store.signed_url(key, expires_s)

    async def check(self) -> None:
        """Write, read and delete a small object in every storage. Raises `Unavailable` that names the region."""
        for name, store in self._stores.items():
            try:
                await store.check()
            except Unavailable as error:
                where = f"storage of region {name}" if name else "default storage"
                raise Unavailable(f"{where}: {error.message}") from error

    def _of(self, location: str) -> tuple[ObjectStore, str]:
        name, key = split_location(location)
        store = self._stores.get(name)
        if store is None:
            raise Unavailable(f"no storage is configured for region {name}: {located(name, key)} cannot be reached")
        return store, key
