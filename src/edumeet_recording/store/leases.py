"""Which replica leads: an advisory lock held by a connection of its own; losing the connection loses the lead.

Each leader has a number, higher than the last one's. Its loops write only while no newer leader has one (`guard`): who
was frozen, or cut off from its lock, harms nothing when it goes on.
"""

import asyncio
from typing import NoReturn

import asyncpg
import structlog

from edumeet_recording.domain.errors import Unavailable
from edumeet_recording.store.db import CONNECT_TIMEOUT_S, Connection, load_queries, milliseconds

log = structlog.get_logger()
_sql = load_queries("leases")
LEADER_LOCK = 0x65644D6565743031
CHECK_S = 1.0
GIVEN_UP_S = 5.0
"""PostgreSQL closes the connection of a leader that has been silent for so long: it hangs, or is cut off."""

_LOST = (
    OSError,
    asyncpg.PostgresError,
    asyncpg.InterfaceError,
    asyncpg.InternalClientError,  # a connection cut between an error and its end (MagicStack/asyncpg#1069)
)


class Leadership:
    """Tries to hold the leader's lock; `leading` only saves work."""

    def __init__(self, dsn: str, replica: str) -> None:
        self._dsn = dsn
        self._replica = replica
        self._number = 0
        self.leading = False
        self.elected = False
        """True once this replica or another leads."""

    async def run(self) -> NoReturn:
        """Stand for election until cancelled."""
        while True:
            try:
                conn = await asyncpg.connect(self._dsn, timeout=CONNECT_TIMEOUT_S, command_timeout=CONNECT_TIMEOUT_S)
                try:
                    # not when connecting, for PgBouncer's sake
                    await conn.execute(f"SET idle_session_timeout = {milliseconds(GIVEN_UP_S)}")
                    await self._hold(conn)
                finally:
                    self.leading = self.elected = False
                    conn.terminate()
            except _LOST as error:
                log.info("leadership_lost", reason=str(error) or type(error).__name__)
            await asyncio.sleep(CHECK_S)

    async def guard(self, conn: Connection) -> None:
        """Raises `Unavailable` in the transaction of a leader that leads no more; none takes over before its end."""
        if not self.leading or await _sql.leading_number(conn) != self._number:
            raise Unavailable("another replica leads now")

    async def _hold(self, conn: asyncpg.Connection) -> NoReturn:
        while True:
            if self.leading:
                await _sql.still_there(conn)
            else:
                holds = await _sql.try_lead(conn, lock=LEADER_LOCK)
                if holds:
                    self._number = await _sql.take_lead(conn, replica=self._replica)
                    log.info("leading", number=self._number)
                self.leading, self.elected = holds, True
            await asyncio.sleep(CHECK_S)
