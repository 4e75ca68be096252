"""The real commands and loops of two replicas on a real database, by a clock that stands still unless it is moved."""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from functools import partial

import httpx2
from tests.integration.control.conftest import NEW

from edumeet_recording.config import OrchestratorSettings
from edumeet_recording.control.captures import CaptureCommands
from edumeet_recording.control.commands import Commands
from edumeet_recording.control.deadlines import DeadlineLoop
from edumeet_recording.control.desired import desired_of
from edumeet_recording.control.dispatch import drain_tick
from edumeet_recording.control.fleet import LiveFleet
from edumeet_recording.control.health import HealthLoop
from edumeet_recording.control.node_links import apply_heartbeat
from edumeet_recording.control.processing import assign_tick, late_media_tick
from edumeet_recording.control.redundancy import standby_tick
from edumeet_recording.control.starts import Starts
from edumeet_recording.control.takeover import takeover_tick
from edumeet_recording.domain.request import FFmpegNodeRegistration, RoomServerRegistration
from edumeet_recording.store import nodes
from edumeet_recording.store.db import Connection, Pool
from edumeet_recording.store.notify import Notifier
from edumeet_recording.store.transaction import Transactor
from edumeet_recording.wire.node_link import Ack, Desired, Heartbeat, Hello, Journal, NodeMessage, Report

SETTINGS = OrchestratorSettings(_env_file=None)
BEGIN = datetime(2027, 1, 1, tzinfo=UTC)
LEADER = 0


@dataclass
class Clock:
    """The database's, as the replicas are told."""

    now: datetime = BEGIN

    def advance(self, seconds: float) -> None:
        self.now += timedelta(seconds=seconds)


class ClockedTransactor(Transactor):
    """Transactions by our clock."""

    def __init__(self, pool: Pool, clock: Clock) -> None:
        super().__init__(pool, Notifier("unused"))
        self._clock = clock

    async def _now(self, _conn: Connection) -> datetime:
        return self._clock.now


@dataclass
class SimulatedService:
    """Two replicas; the first one leads. `answers`: whether a node's /health can be reached."""

    pool: Pool
    answers: Callable[[str], bool]
    clock: Clock = field(default_factory=Clock)
    replicas: list[Commands] = field(default_factory=list[Commands])
    ticks: dict[str, Callable[[], Awaitable[None]]] = field(default_factory=dict[str, Callable[[], Awaitable[None]]])

    def __post_init__(self) -> None:
        for _ in range(2):
            db = ClockedTransactor(self.pool, self.clock)
            fleet = LiveFleet(db, SETTINGS.placement_strategy)
            self.replicas.append(Commands(db, SETTINGS, CaptureCommands(db, SETTINGS), Starts(db, SETTINGS, fleet)))
        leader = self.replicas[LEADER]
        client = httpx2.AsyncClient(transport=httpx2.MockTransport(self._probed))
        self.ticks = {
            "dispatch": partial(takeover_tick, leader.db, SETTINGS, leader.starts.fleet),
            "standby": partial(standby_tick, leader.db, SETTINGS, leader.starts.fleet),
            "drain": partial(drain_tick, leader.db, SETTINGS, leader.starts.fleet),
            "processing": partial(assign_tick, leader.db, SETTINGS),
            "late_media": partial(late_media_tick, leader.db, SETTINGS),
            "deadlines": DeadlineLoop(leader.db, SETTINGS).tick,
            "late_captures": leader.captures.late_tick,
            "health": HealthLoop(leader.db, SETTINGS, leader.captures, client).tick,
        }

    def _probed(self, request: httpx2.Request) -> httpx2.Response:
        if not self.answers(request.url.host):
            raise httpx2.ConnectError("nobody listens")
        return httpx2.Response(200)

    async def begin(self, node_ids: list[str]) -> None:
        """A room server and nodes, each of which dies alone."""
        commands = self.replicas[LEADER]
        await commands.register_room_server(
            RoomServerRegistration("room-server-1", "http://room-server:3443", "eu", 100, {}), None
        )
        for node_id in node_ids:
            new = FFmpegNodeRegistration(node_id, f"http://{node_id}", "eu", {"cpuCores": 4}, node_id, 1)
            await commands.register_ffmpeg_node(new, None)

    async def start(self, replica: int, redundancy: int) -> str:
        """The id of a new job."""
        new = replace(NEW, allow_parallel=True, options=replace(NEW.options, redundancy=redundancy))
        return (await self.replicas[replica].start(new)).job_id

    async def desired(self, node_id: str, replica: int) -> Desired:
        (desired,) = await desired_of(self.replicas[replica].db, [node_id])
        return desired

    async def hear(self, node_id: str, message: NodeMessage, replica: int) -> Ack | Desired | None:
        """Apply what a node says; the answer, where there is one."""
        commands = self.replicas[replica].captures
        match message:
            case Hello():
                await commands.db.run(lambda tx: nodes.link(tx.conn, "ffmpeg-node", [node_id], f"replica-{replica}"))
                return await self.desired(node_id, replica)
            case Heartbeat():
                await apply_heartbeat(commands, node_id, message)
            case Report():
                for report in message.captures:
                    await commands.report(node_id, report)
            case Journal(entries=entries):
                await commands.journal(node_id, entries)
                return Ack(up_to=entries[-1].seq)
        return None
