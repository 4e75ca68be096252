"""A replica's commands on a real database, and short ways to say what a node or a caller says."""

from dataclasses import dataclass, replace

import pytest

from edumeet_recording.config import OrchestratorSettings
from edumeet_recording.control.captures import CaptureCommands
from edumeet_recording.control.commands import Commands
from edumeet_recording.control.desired import desired_of
from edumeet_recording.control.fleet import LiveFleet
from edumeet_recording.control.heartbeats import store_beats
from edumeet_recording.control.starts import Starts
from edumeet_recording.domain.capture import CaptureState
from edumeet_recording.domain.codecs import Codec, Container, Kind
from edumeet_recording.domain.job import Job
from edumeet_recording.domain.request import (
    FFmpegNodeRegistration,
    JobOptions,
    NewJob,
    RequestStream,
    RoomServerRegistration,
)
from edumeet_recording.store import jobs, nodes
from edumeet_recording.store.db import Pool
from edumeet_recording.store.notify import Notifier
from edumeet_recording.store.transaction import Transactor
from edumeet_recording.wire.node_link import (
    CaptureDrained,
    CaptureReport,
    ChunkStored,
    Desired,
    DesiredCapture,
    FinalizeDone,
    FinalizeFailed,
    JournalEntry,
    NodeLoad,
    Port,
    TapeChunk,
)

SETTINGS = OrchestratorSettings(_env_file=None, queue_limit=2)
AUDIO = RequestStream(0, Kind.AUDIO, Codec.OPUS, 111, 12345678, 5004, None, 48000, 2)
VIDEO = RequestStream(1, Kind.VIDEO, Codec.H264, 96, 87654321, 5006, None, 90000, None)
NEW = NewJob(
    tenant_id=None,
    room_server_id="room-server-1",
    room_id="room-123",
    peer_id="peer-456",
    peer_info={"displayName": "A peer"},
    rtp_streams=(AUDIO, VIDEO),
    options=JobOptions(Container.MP4),
    requester_info={},
    requested_by="tester",
    forwarding="client",
    priority=0,
    allow_parallel=False,
    allowed_regions=None,
    idempotency_key=None,
    request_sha256=b"1",
)


@dataclass
class Service:
    """The commands, and what a node would say, in short."""

    commands: Commands
    pool: Pool

    @property
    def fleet(self) -> LiveFleet:
        return self.commands.starts.fleet

    @property
    def captures(self) -> CaptureCommands:
        return self.commands.captures

    async def room_server(self, server_id: str = "room-server-1", region: str = "eu") -> None:
        await self.commands.register_room_server(
            RoomServerRegistration(server_id, "http://room-server:3443", region, 100, {}), None
        )

    async def node(
        self,
        node_id: str = "node-1",
        cores: float = 4,
        slots: int = 1,
        failure_domain: str | None = None,
        *,
        region: str = "eu",
        storages: tuple[str, ...] | None = None,
    ) -> None:
        """A registered node that has sent a heartbeat; `storages` None: the default one only."""
        specs: dict[str, object] = {"cpuCores": cores}
        new = FFmpegNodeRegistration(node_id, f"http://{node_id}:3000", region, specs, failure_domain, slots)
        await self.commands.register_ffmpeg_node(new, None)
        await self.commands.db.run(lambda tx: nodes.introduce(tx.conn, [node_id], storages, None))
        await store_beats(self.commands.db, {node_id: NodeLoad()}, [])

    async def start(self, **changes: object) -> str:
        return (await self.commands.start(replace(NEW, **changes))).job_id

    async def job(self, job_id: str) -> Job:
        job = await self.commands.db.run(lambda tx: jobs.locked(tx.conn, job_id))
        assert job is not None
        return job

    async def desired(self, node_id: str = "node-1") -> Desired:
        (desired,) = await desired_of(self.commands.db, [node_id])
        return desired

    async def events(self, job_id: str) -> list[str]:
        rows = await self.pool.fetch("SELECT seq, type FROM job_events WHERE job_id = $1 ORDER BY seq", job_id)
        assert [row["seq"] for row in rows] == list(range(1, len(rows) + 1)), "events are numbered without holes"
        return [row["type"] for row in rows]

    async def _capture(self, node_id: str, only: str | None) -> DesiredCapture:
        wanted = (await self.desired(node_id)).captures
        (capture,) = [each for each in wanted if only in {None, each.capture_id}]
        return capture

    async def prepare(self, node_id: str = "node-1", only: str | None = None) -> str:
        """The node opens ports for its only capture, or for this one; the capture's id."""
        capture = await self._capture(node_id, only)
        report = CaptureReport(
            capture_id=capture.capture_id,
            epoch=capture.epoch,
            state=CaptureState.PREPARED,
            ip="127.0.0.1",
            ports=tuple(
                Port(index=stream.index, port=40000 + 2 * stream.index, rtcp_port=40001 + 2 * stream.index)
                for stream in capture.streams
            ),
        )
        await self.captures.report(node_id, report)
        return capture.capture_id

    async def receive(self, node_id: str = "node-1", only: str | None = None) -> str:
        """The node prepares its only capture, or this one, and gets the first packet."""
        capture_id = await self.prepare(node_id, only)
        capture = await self._capture(node_id, only)
        report = CaptureReport(
            capture_id=capture_id, epoch=capture.epoch, state=CaptureState.RECEIVING, first_packet_at=1.0
        )
        await self.captures.report(node_id, report)
        return capture_id

    async def ship(self, capture_id: str, node_id: str = "node-1", seq: int = 0) -> None:
        chunk = TapeChunk(seq=seq, key=f"{capture_id}/{seq}", bytes=10, sha256="0", records=3, first_ns=1, last_ns=2)
        await self.journal(node_id, ChunkStored(capture_id=capture_id, chunk=chunk))

    async def drain(self, capture_id: str, node_id: str = "node-1") -> None:
        report = CaptureReport(capture_id=capture_id, epoch=1, state=CaptureState.DRAINED)
        await self.journal(node_id, CaptureDrained(capture_id=capture_id, epoch=1, chunks=1, report=report))

    async def journal(self, node_id: str, body: ChunkStored | CaptureDrained | FinalizeDone | FinalizeFailed) -> None:
        await self.captures.journal(node_id, (JournalEntry(seq=1, body=body),))


def service_of(db_pool: Pool, settings: OrchestratorSettings) -> Service:
    """A replica without loops: tests tick what they need."""
    db = Transactor(db_pool, Notifier("unused"))
    captures = CaptureCommands(db, settings)
    starts = Starts(db, settings, LiveFleet(db, settings.placement_strategy))
    return Service(Commands(db, settings, captures, starts), db_pool)


@pytest.fixture
def service(db_pool: Pool) -> Service:
    """A replica with the settings that most tests have."""
    return service_of(db_pool, SETTINGS)
