"""Who is alive: heartbeats first, probes of `GET {url}/health` for evidence; what a dead node held is lost."""

import asyncio
from collections.abc import Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass, field
from datetime import datetime, timedelta

import httpx2
import structlog

from edumeet_recording.config import OrchestratorSettings
from edumeet_recording.control.captures import CaptureCommands
from edumeet_recording.control.room_servers import room_server_back, room_server_lost
from edumeet_recording.control.vigil import Vigil
from edumeet_recording.domain.liveness import PROBES, Probe, Verdict, judge
from edumeet_recording.store import conduct, nodes
from edumeet_recording.store.nodes import NodeKind, SilentNode
from edumeet_recording.store.transaction import Channel, Transactor, Tx

log = structlog.get_logger()

RECONNECT_S = 5.0
"""A node whose link broke has tried again by then."""
MISSED_S, MISSED_SHARE = 2.0, 2 / 3
"""A heartbeat, sent each second and written down each half, is missing; or so much of the time-out is over, where that
is longer: who gives nodes half a minute does not want them suspected after two seconds."""
PROBED_AT_ONCE = 100
"""Nodes of one look that are probed, which costs milliseconds each: where thousands are silent, silence must do."""
UNASKED = "its heartbeats have stopped; there are too many to ask each"
NOT_CONNECTED = "has not connected yet"
HEALTHY = "returned"
ROOM_MISSED_S = 12.0
"""Two heartbeats of a room server, sent each few seconds, are missing."""
NO_REFUSAL = frozenset(Probe) - {Probe.REFUSED}
"""Before a node is timed out only refusals decide, and only all of them: after another answer a probe costs media."""
PROBE_PAUSE_S = 0.05
PROBE_TIMEOUT_S = 1.0


@dataclass(slots=True)
class HealthLoop:
    """Judges the silent and those whose link closed; runs on the leader.

    Heartbeats that nobody could write down, because every replica or the database was away, are no evidence: after an
    interruption it watches for a while before silence counts.
    """

    db: Transactor
    settings: OrchestratorSettings
    captures: CaptureCommands
    client: httpx2.AsyncClient
    vigil: Vigil = field(init=False)

    def __post_init__(self) -> None:
        self.vigil = Vigil(self.db)

    async def tick(self) -> None:
        """Look at every FFmpeg node that missed a heartbeat or lost its link, and every silent room server."""
        async with self.vigil.tick():
            await self._look_around()

    async def _look_around(self) -> None:
        await self._look()
        late = timedelta(seconds=max(MISSED_S, MISSED_SHARE * self.settings.heartbeat_timeout_s))
        suspects = await self.vigil.asked(self.db.run(lambda tx: nodes.silent_ffmpeg_nodes(tx.conn, tx.now - late)))
        missed = timedelta(seconds=min(ROOM_MISSED_S, self.settings.room_server_timeout_s))
        rooms = await self.vigil.asked(self.db.read(lambda tx: nodes.silent_room_servers(tx.conn, tx.now - missed)))
        ordered = sorted(suspects, key=_probed_late)
        dead = await self._judge_unasked([node for node in ordered[PROBED_AT_ONCE:] if not _is_settled(node)])
        async with asyncio.TaskGroup() as tasks:
            for node in ordered[:PROBED_AT_ONCE]:
                tasks.create_task(self._judge_ffmpeg_node(node))
            for node in dead:
                tasks.create_task(self._keep(node, Verdict.DEAD, UNASKED))
            for room in rooms:
                tasks.create_task(self._judge_room_server(room))

    async def _look(self) -> tuple[datetime, datetime]:
        """The time of the database, and from when on silence counts: a while after the last interruption."""
        now, since = await self.vigil.look()
        return now, since + timedelta(seconds=RECONNECT_S)

    async def _judge_unasked(self, silent: list[SilentNode]) -> list[SilentNode]:
        """Those whose time is over, of nodes that are too many to ask; the others are suspects, by one statement.

        Where so many are late the machine is, or we are: to look at each would make all of them later.
        """
        if not silent:
            return []
        now, counted_from = await self._look()
        dead = [node for node in silent if self._verdict(node, now, counted_from) is Verdict.DEAD]
        late = {node.id: node for node in silent if not _is(node, Verdict.SUSPECT)}
        for node in dead:
            late.pop(node.id, None)

        async def work(tx: Tx) -> list[str]:
            found = await nodes.suspect(tx.conn, list(late.values()), str(Verdict.SUSPECT), UNASKED, tx.now)
            for node_id in found:
                tx.hint(Channel.FLEET, node_id)
            return found

        if late and (suspected := await self.vigil.asked(self.db.run(work))):
            log.info("health_judged", kind="ffmpeg-node", nodes=len(suspected), verdict=Verdict.SUSPECT)
        return dead

    async def _judge_ffmpeg_node(self, node: SilentNode) -> None:
        """Silence counts from the last heartbeat, but not before anybody watched; until now, for probes take seconds
        where a machine hangs.
        """
        probes, evidence = await self._probe_again(node.url, enough=NO_REFUSAL)
        if node.last_heartbeat is None:
            await self._record("ffmpeg-node", node, NOT_CONNECTED, evidence)
            return
        now, counted_from = await self._look()
        verdict = self._verdict(node, now, counted_from, probes)
        await self._keep(node, verdict, f"its heartbeats have stopped; {evidence}")

    def _verdict(
        self, node: SilentNode, now: datetime, counted_from: datetime, probes: Sequence[Probe] = ()
    ) -> Verdict:
        silent_since = max(node.last_heartbeat or counted_from, counted_from)
        return judge((now - silent_since).total_seconds(), self.settings.heartbeat_timeout_s, probes)

    async def _keep(self, node: SilentNode, verdict: Verdict, evidence: str) -> None:
        if await self._record("ffmpeg-node", node, verdict, evidence) and verdict is Verdict.DEAD:
            await self.captures.node_lost(node.id, f"{verdict}: {evidence}")

    async def _judge_room_server(self, room: SilentNode) -> None:
        """A room server may speak by HTTP only: without a heartbeat ever, a probe that answers is health enough.

        One that may not be reached at all, behind its link, has a moment to open another before a refusal counts.
        """
        probes, evidence = await self._probe_again(room.url, enough={Probe.ANSWERED})
        now, counted_from = await self._look()
        if room.last_heartbeat is None:
            verdict = HEALTHY if Probe.ANSWERED in probes else judge(0.0, self.settings.room_server_timeout_s, probes)
        else:
            silence_s = (now - max(room.last_heartbeat, counted_from)).total_seconds()
            away_s = (now - max(room.last_heartbeat, room.unlinked_at or room.last_heartbeat)).total_seconds()
            counted = probes if away_s >= RECONNECT_S else ()
            verdict = judge(silence_s, self.settings.room_server_timeout_s, counted)
            evidence = f"its heartbeats have stopped; {evidence}"
        if not await self._record("room-server", room, verdict, evidence):
            return
        # one that answers is asked what it sends, and believed: it is not lost again each second
        if verdict is Verdict.DEAD and (room.is_healthy or Probe.ANSWERED not in probes):
            await room_server_lost(self.db, room.id, evidence)
        elif verdict == HEALTHY and not room.is_healthy:
            await room_server_back(self.db, room.id)

    async def _record(self, kind: NodeKind, node: SilentNode, verdict: str, evidence: str) -> bool:
        """Keep a verdict, and tell of a new one; False where the node has been heard meanwhile."""
        healthy = verdict == HEALTHY
        reason = None if healthy else f"{verdict}: {evidence}"
        news = node.is_healthy is not healthy or not (healthy or _is(node, verdict))

        async def work(tx: Tx) -> bool:
            if not await nodes.judge(tx.conn, kind, node, is_healthy=healthy, reason=reason):
                return False
            if news:
                await conduct.note(tx.conn, node.id, verdict, tx.now, {"evidence": evidence})
            if healthy is not node.is_healthy:
                tx.hint(Channel.FLEET, node.id)
            if healthy:
                tx.hint(Channel.DISPATCH)
            return True

        kept = await self.vigil.asked(self.db.run(work))
        if kept and news:
            log.info("health_judged", kind=kind, node_id=node.id, verdict=verdict, evidence=evidence)
        return kept

    async def _probe_again(self, url: str, *, enough: AbstractSet[Probe]) -> tuple[list[Probe], str]:
        """Up to `PROBES` probes, none after one of `enough`; what they came to, and the last in words."""
        probes: list[Probe] = []
        evidence = ""
        for number in range(PROBES):
            await asyncio.sleep(PROBE_PAUSE_S if number else 0)
            probe, evidence = await self._probe(url)
            probes.append(probe)
            if probe in enough:
                break
        return probes, evidence

    async def _probe(self, url: str) -> tuple[Probe, str]:
        """What came of it, and that in words."""
        target = f"{url.rstrip('/')}/health"
        try:
            await self.client.get(target, timeout=PROBE_TIMEOUT_S)
        except httpx2.ConnectError as error:
            unknown_name = "Name or service" in str(error) or "name resolution" in str(error)
            return Probe.UNCLEAR if unknown_name else Probe.REFUSED, f"{target} is unreachable: {error}"
        except (httpx2.HTTPError, httpx2.InvalidURL, OSError) as error:
            return Probe.UNCLEAR, f"{target} is unreachable: {error or type(error).__name__}"
        return Probe.ANSWERED, f"{target} answers"


def _probed_late(node: SilentNode) -> tuple[bool, bool]:
    """A probe decides where a link has closed, and only tells more where one is open, or nothing is left to decide."""
    return _is_settled(node), node.unlinked_at is None


def _is_settled(node: SilentNode) -> bool:
    """Whether it has never been heard, or is known to be dead."""
    return node.last_heartbeat is None or _is(node, Verdict.DEAD)


def _is(node: SilentNode, verdict: str) -> bool:
    return not node.is_healthy and (node.health_reason or "").startswith(verdict)
