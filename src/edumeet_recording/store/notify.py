"""Hints between replicas by NOTIFY, outside transactions, coalesced; they only wake loops early and may get lost."""

import asyncio
from collections.abc import AsyncGenerator, Callable, Collection, Generator
from contextlib import asynccontextmanager, contextmanager
from typing import NoReturn

import asyncpg
import structlog

from edumeet_recording.domain.errors import Unavailable
from edumeet_recording.store.db import CONNECT_TIMEOUT_S, mapped_errors

RETRY_S = 1.0
PROBE_S = 15.0
"""A connection that died without a word is found after this long."""

log = structlog.get_logger(__name__)


@asynccontextmanager
async def _own_connection(dsn: str) -> AsyncGenerator[asyncpg.Connection]:
    async with mapped_errors():
        connection = await asyncpg.connect(
            dsn,
            timeout=CONNECT_TIMEOUT_S,
            command_timeout=CONNECT_TIMEOUT_S,
            server_settings={"application_name": "edumeet-recording hints"},
        )
        try:
            yield connection
        finally:
            connection.terminate()


class Notifier:
    """Sends hints on a connection of its own; what comes up while one is under way leaves in the next, once each."""

    def __init__(self, dsn: str) -> None:
        self._dsn = dsn
        self._pending: set[tuple[str, str]] = set()
        self._wake = asyncio.Event()
        self._heard_here: list[Callable[[str, str], None]] = []

    def tell_here(self, heard: Callable[[str, str], None]) -> None:
        """Also call `heard(channel, payload)` for our own hints, at once and whether or not the database is there."""
        self._heard_here.append(heard)

    def hint(self, channel: str, payload: str = "") -> None:
        """Send soon, after the transaction it is about. `payload`: an id of less than 8000 bytes."""
        self._pending.add((str(channel), payload))
        self._wake.set()
        for heard in self._heard_here:
            heard(channel, payload)

    async def run(self) -> NoReturn:
        """Send until cancelled; hints wait while the database is away."""
        while True:
            try:
                async with _own_connection(self._dsn) as connection:
                    while True:
                        await self._send(connection)
            except Unavailable as error:
                log.info("hints wait for the database", reason=error.message)
            await asyncio.sleep(RETRY_S)

    async def _send(self, connection: asyncpg.Connection) -> None:
        await self._wake.wait()
        self._wake.clear()
        sent, self._pending = self._pending, set[tuple[str, str]]()
        channels, payloads = zip(*sent, strict=True)
        try:
            await connection.execute(
                "SELECT pg_notify(channel, payload) FROM unnest($1::text[], $2::text[]) AS hint (channel, payload)",
                channels,
                payloads,
            )
        except BaseException:
            self._pending |= sent
            self._wake.set()
            raise


class Listener:
    """Hears hints on a connection of its own, and connects again when it is lost."""

    def __init__(self, dsn: str, channels: Collection[str]) -> None:
        self._dsn = dsn
        self._heard: dict[str, set[Callable[[str], None]]] = {str(channel): set() for channel in channels}

    @contextmanager
    def subscribe(self, channel: str, heard: Callable[[str], None]) -> Generator[None]:
        """Call `heard(payload)` for every hint on one of our channels until the block is left.

        After every (re)connection it is called with an empty payload: anything may have been missed, look at all.
        """
        self._heard[channel].add(heard)
        try:
            yield
        finally:
            self._heard[channel].discard(heard)

    async def run(self) -> NoReturn:
        """Listen until cancelled."""
        while True:
            try:
                async with _own_connection(self._dsn) as connection:
                    await self._listen(connection)
            except Unavailable as error:
                log.info("listening for hints again soon", reason=error.message)
            await asyncio.sleep(RETRY_S)

    async def _listen(self, connection: asyncpg.Connection) -> None:
        """Listen until the connection is lost."""
        lost = asyncio.Event()

        def note_loss(_connection: object) -> None:
            lost.set()

        connection.add_termination_listener(note_loss)
        for channel in self._heard:
            await connection.add_listener(channel, self._pass_on)
        for channel in self._heard:
            self._call(channel, "")
        while not lost.is_set():
            try:
                async with asyncio.timeout(PROBE_S):
                    await lost.wait()
            except TimeoutError:
                await connection.execute("SELECT")

    def _pass_on(self, _connection: object, _pid: int, channel: str, payload: object) -> None:
        self._call(channel, str(payload))

    def _call(self, channel: str, payload: str) -> None:
        for heard in tuple(self._heard[channel]):
            heard(payload)
