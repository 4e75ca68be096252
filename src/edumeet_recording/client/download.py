"""Fetches a finished file, or what lies beside it: aside, resumed where it broke off, put in place once it is whole."""

import hashlib
import os
from collections.abc import Callable
from dataclasses import dataclass
from http import HTTPStatus
from pathlib import Path
from typing import Protocol

import stamina

from edumeet_recording.client.connection import ATTEMPTS, LONGEST_PAUSE_S, Connection
from edumeet_recording.domain.errors import Unavailable

Progressed = Callable[[int, int], None]
"""Called with the bytes that are here and the bytes of the whole."""


class Damaged(Unavailable):
    """What came is not what the service has; what was fetched is thrown away, and fetching again may help."""

    code = "damaged"


class Stored(Protocol):
    """Something the service has, with what is known of it."""

    @property
    def url(self) -> str:
        """Where it is, on the service."""
        ...

    @property
    def bytes(self) -> int:
        """Its size."""
        ...

    @property
    def sha256(self) -> str:
        """Its checksum, in hex."""
        ...


@dataclass(frozen=True, slots=True)
class Asset:
    """What lies beside a file: a poster, thumbnail, waveform, manifest, or a further part of the recording."""

    name: str
    kind: str
    bytes: int
    sha256: str
    url: str


@dataclass(frozen=True, slots=True)
class Download:
    """Fetches `file` to `target`; a `.part` beside it is what an earlier attempt, or an earlier process, has left."""

    connection: Connection
    file: Stored
    target: Path

    @property
    def part(self) -> Path:
        """Where the bytes are until they are all here; named by content, so that nothing else is ever continued."""
        return self.target.with_name(f"{self.target.name}.{self.file.sha256[:12]}.part")

    async def run(self, progressed: Progressed) -> Path:
        """The file's path. Raises `ApiError`, `Unavailable`, `Damaged`, or `OSError` where it cannot be written."""
        self.target.parent.mkdir(parents=True, exist_ok=True)
        async for attempt in stamina.retry_context(
            on=_broke_off, attempts=ATTEMPTS, timeout=None, wait_max=LONGEST_PAUSE_S
        ):
            with attempt:
                await self._rest(progressed)
        self._check()
        os.replace(self.part, self.target)
        return self.target

    async def _rest(self, progressed: Progressed) -> None:
        here = self.part.stat().st_size if self.part.exists() else 0
        if here >= self.file.bytes:
            progressed(here, self.file.bytes)
            return
        # ranges count the bytes of the file, not those of a compressed copy
        wanted = {"Accept-Encoding": "identity"}
        if here:
            wanted |= {"Range": f"bytes={here}-", "If-Range": f'"{self.file.sha256}"'}
        async with self.connection.stream(self.file.url, wanted) as response:
            continued = response.status_code == HTTPStatus.PARTIAL_CONTENT
            with self.part.open("ab" if continued else "wb") as output:
                async for piece in response.aiter_bytes():
                    output.write(piece)
                    progressed(output.tell(), self.file.bytes)

    def _check(self) -> None:
        with self.part.open("rb") as fetched:
            sha256 = hashlib.file_digest(fetched, "sha256").hexdigest()
        if sha256 != self.file.sha256:
            self.part.unlink()
            raise Damaged(f"{self.target.name} came damaged: its checksum is not the one the service names")


def _broke_off(error: Exception) -> bool:
    return isinstance(error, Unavailable) and error.code == "unreachable"
