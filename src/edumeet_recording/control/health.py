"""Who is alive: heartbeats first, a probe of `GET {url}/health` for the evidence; what a dead node held is lost."""

import asyncio
from dataclasses import dataclass
from datetime import datetime, timedelta

import httpx2
import structlog

from edumeet_recording.config import OrchestratorSettings
from edumeet_recording.control.captures import CaptureCommands
from edumeet_recording.store import nodes
from edumeet_recording.store.nodes import NodeKind, SilentNode
from edumeet_recording.store.transaction import Channel, Transactor, Tx

log = structlog.get_logger()

RECONNECT_S = 5.0
"""A node whose link broke has tried again by then."""


async def _now(tx: Tx) -> datetime:
    return tx.now


@dataclass(slots=True)
class HealthLoop:
    """Judges the silent; runs on the leader.

    Heartbeats that nobody could write down, because every replica or the database was away, are no evidence: who has
    just begun to watch, or was interrupted in it, watches for a while before the first verdict.
    """

    db: Transactor
    settings: OrchestratorSettings
    captures: CaptureCommands
    client: httpx2.AsyncClient
    _watching_since: datetime | None = None
    _last_tick: datetime | None = None

    async def tick(self) -> None:
        """Look at every node and room server whose heartbeat is overdue."""
        now = await self.db.run(_now)
        patience = timedelta(seconds=self.settings.heartbeat_timeout_s + RECONNECT_S)
        if self._watching_since is None or self._last_tick is None or now - self._last_tick > patience:
            self._watching_since = now
        self._last_tick = now
        if now - self._watching_since < patience:
            return
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(self._judge_all("ffmpeg-node", self.settings.heartbeat_timeout_s))
            tasks.create_task(self._judge_all("room-server", self.settings.room_server_timeout_s))

    async def _judge_all(self, kind: NodeKind, timeout_s: float) -> None:
        async def read(tx: Tx) -> list[SilentNode]:
            return await nodes.silent(tx.conn, kind, tx.now - timedelta(seconds=timeout_s))

        async with asyncio.TaskGroup() as tasks:
            for silent in await self.db.run(read):
                tasks.create_task(self._judge(kind, silent, timeout_s))

    async def _judge(self, kind: NodeKind, silent: SilentNode, timeout_s: float) -> None:
        """A room server may speak by HTTP only: without a heartbeat ever, a probe that answers is health enough."""
        unreachable = await self._probe(silent.url)
        if kind == "room-server" and silent.last_heartbeat is None:
            healthy, reason = unreachable is None, unreachable
        else:
            missing = "has not connected yet" if silent.last_heartbeat is None else "its heartbeats have stopped"
            healthy, reason = False, f"{missing}; {unreachable or f'{silent.url}/health answers'}"

        async def work(tx: Tx) -> bool:
            before = tx.now - timedelta(seconds=timeout_s)
            changed = await nodes.judge(tx.conn, kind, silent.id, is_healthy=healthy, reason=reason, before=before)
            if changed and healthy:
                tx.hint(Channel.DISPATCH)
            return changed

        if await self.db.run(work):
            log.info("health_judged", kind=kind, node_id=silent.id, healthy=healthy, reason=reason)
        if kind == "ffmpeg-node" and silent.last_heartbeat is not None:
            await self.captures.node_lost(silent.id, reason or "lost")

    async def _probe(self, url: str) -> str | None:
        """None where something answers, else why not."""
        target = f"{url.rstrip('/')}/health"
        try:
            await self.client.get(target)
        except (httpx2.HTTPError, httpx2.InvalidURL, OSError) as error:
            return f"{target} is unreachable: {error or type(error).__name__}"
        return None
