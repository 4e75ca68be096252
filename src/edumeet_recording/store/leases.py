"""Which replica leads: an advisory lock held by a connection of its own; losing the connection loses the lead."""

import asyncio
from typing import NoReturn

import asyncpg
import structlog

from edumeet_recording.store.db import CONNECT_TIMEOUT_S, load_queries

log = structlog.get_logger()
_sql = load_queries("leases")
LEADER_LOCK = 0x65644D6565743031
CHECK_S = 1.0


class Leadership:
    """Tries to hold the leader's lock; `leading` only saves work, correctness rests on compare-and-set."""

    def __init__(self, dsn: str) -> None:
        self._dsn = dsn
        self.leading = False
        self.elected = False
        """True once this replica or another leads."""

    async def run(self) -> NoReturn:
        """Stand for election until cancelled."""
        while True:
            try:
                conn = await asyncpg.connect(self._dsn, timeout=CONNECT_TIMEOUT_S, command_timeout=CONNECT_TIMEOUT_S)
                try:
                    await self._hold(conn)
                finally:
                    self.leading = self.elected = False
                    conn.terminate()
            except (OSError, asyncpg.PostgresError, asyncpg.InterfaceError) as error:
                log.info("leadership_lost", reason=str(error) or type(error).__name__)
            await asyncio.sleep(CHECK_S)

    async def _hold(self, conn: asyncpg.Connection) -> NoReturn:
        while True:
            if self.leading:
                await _sql.still_there(conn)
            else:
                self.leading = await _sql.try_lead(conn, lock=LEADER_LOCK)
                self.elected = True
                if self.leading:
                    log.info("leading")
            await asyncio.sleep(CHECK_S)
