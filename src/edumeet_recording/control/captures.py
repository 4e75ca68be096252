"""What a node says of its captures, applied: ports open, first packet, drained, lost, chunks stored."""

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

import structlog

from edumeet_recording.config import OrchestratorSettings
from edumeet_recording.control.conduct import note_failure
from edumeet_recording.control.processing import finalize_done, finalize_failed
from edumeet_recording.control.room_servers import note_returned
from edumeet_recording.control.streams import note_changes
from edumeet_recording.control.transitions import capture_over, limits_of, signal
from edumeet_recording.domain.capture import LIVE, CaptureState
from edumeet_recording.domain.job import Job, JobSignal, Reason
from edumeet_recording.store import captures, forwardings, jobs
from edumeet_recording.store.captures import Capture
from edumeet_recording.store.transaction import Channel, Transactor, Tx
from edumeet_recording.wire.node_link import (
    CaptureDrained,
    CaptureReport,
    ChunkStored,
    FinalizeDone,
    FinalizeFailed,
    JournalEntry,
    Port,
)

log = structlog.get_logger()

LATE_BATCH = 100
"""Captures that are given up in a tick, which must end in time."""
CHUNKS_AT_ONCE = 200
"""Stored in one transaction."""
LOST_AT_ONCE = 32
"""Lost in one transaction: one for each, and the last recording of a node waits for all before it."""
FORGOTTEN = "the node had forgotten it, and began it anew at other ports"


@dataclass(frozen=True, slots=True)
class CaptureCommands:
    """Applies reports and journal entries of nodes; every one of them may come twice."""

    db: Transactor
    settings: OrchestratorSettings

    async def report(self, node_id: str, report: CaptureReport) -> None:
        """Apply one report; one of another node, of an old epoch or of an ended capture changes nothing."""

        async def work(tx: Tx) -> None:
            found = await jobs.locked_with(tx.conn, report.capture_id)
            if found is None:
                log.warning("unknown_capture_reported", node_id=node_id, capture_id=report.capture_id)
                return
            capture, job = found
            if capture.node_id != node_id or capture.state not in LIVE:
                return
            if report.error is not None:
                await self._over(tx, found, CaptureState.LOST, Reason.NODE_REFUSED, report.error)
                return
            if report.ports and capture.ports and report.ports != tuple(map(Port.model_validate, capture.ports)):
                await self._over(tx, found, CaptureState.LOST, Reason.NODE_LOST, FORGOTTEN)
                return
            if report.ports and capture.state is CaptureState.ASSIGNED:
                job = await self._prepared(tx, capture, job, report)
            if report.first_packet_at is not None:
                at = datetime.fromtimestamp(report.first_packet_at, UTC)
                await self._receiving(tx, capture, job, min(at, tx.now))
            await note_changes(tx, capture, report)

        await self.db.run(work)

    async def _prepared(self, tx: Tx, capture: Capture, job: Job | None, report: CaptureReport) -> Job | None:
        """The ports are open; the job, as it is then."""
        if await captures.prepare(tx.conn, capture.node_id, report, tx.now) is None or job is None:
            return job
        if job.forwarding == "room-server":
            tx.hint(Channel.FORWARDING)
            return job
        if await forwardings.forward(tx.conn, capture.id, capture.streams) is None:
            return job  # it does not want the capture any more, and may be over
        ports = [port.model_dump(by_alias=True) for port in report.ports]
        data = {"epoch": capture.epoch, "nodeId": capture.node_id, "ip": report.ip, "ports": ports}
        await jobs.note(tx.conn, job.id, event="rtp_forwarding", now=tx.now, data=data)
        tx.hint(Channel.EVENTS)
        return await jobs.locked(tx.conn, job.id)

    async def _receiving(self, tx: Tx, capture: Capture, job: Job | None, first_packet_at: datetime) -> None:
        if await captures.receive(tx.conn, capture.node_id, capture.id, first_packet_at) is None:
            return
        for node_id in await captures.relieve(tx.conn, capture):
            tx.hint(Channel.NODE, node_id)
            tx.hint(Channel.FORWARDING)
        if job is not None:
            data = {"captureId": capture.id, "nodeId": capture.node_id, "epoch": capture.epoch}
            limits = limits_of(self.settings)
            await signal(tx, limits, job, JobSignal.MEDIA, data=data, at=first_packet_at, attempts=0)
            await note_returned(tx, job)

    async def lost(self, capture_id: str, reason: Reason, detail: str) -> None:
        """A capture that will not come back; its job is placed again, or finalized."""

        async def work(tx: Tx) -> None:
            found = await jobs.locked_with(tx.conn, capture_id)
            if found is not None:
                await self._over(tx, found, CaptureState.LOST, reason, detail)

        await self.db.run(work)

    async def _over(
        self, tx: Tx, found: tuple[Capture, Job | None], state: CaptureState, reason: Reason, detail: str
    ) -> None:
        """A capture, read with its job, ended by its node's fault, where that still wanted it."""
        capture, job = found
        if await capture_over(tx, limits_of(self.settings), capture, state, reason=reason, detail=detail, job=job):
            await note_failure(tx, self.settings, capture.node_id, detail)

    async def node_lost(self, node_id: str, detail: str) -> None:
        """Every capture of a node is lost."""
        found = [each.job_id for each in await self.db.read(lambda tx: captures.live_of_node(tx.conn, node_id))]
        for first in range(0, len(found), LOST_AT_ONCE):

            async def work(tx: Tx, first: int = first) -> None:
                await self._lost_together(tx, node_id, found[first : first + LOST_AT_ONCE], detail)

            await self.db.run(work)

    async def _lost_together(self, tx: Tx, node_id: str, job_ids: list[str], detail: str) -> None:
        """What a node had of some jobs is lost."""
        locked = {job.id: job for job in await jobs.locked_together(tx.conn, job_ids)}
        unchanged = dict(locked)
        limits, said, failed = limits_of(self.settings), f"node {node_id}: {detail}", False
        for capture in await captures.live_of_node(tx.conn, node_id):
            if capture.job_id in locked:
                failed |= await capture_over(
                    tx,
                    limits,
                    capture,
                    CaptureState.LOST,
                    reason=Reason.NODE_LOST,
                    detail=said,
                    job=unchanged.pop(capture.job_id, None),
                )
        if failed:
            await note_failure(tx, self.settings, node_id, said)

    async def journal(self, node_id: str, entries: tuple[JournalEntry, ...]) -> None:
        """Apply journal entries in order; when this returns they are in the database and may be acknowledged."""
        stored: list[ChunkStored] = []
        for entry in entries:
            if isinstance(entry.body, ChunkStored):
                stored.append(entry.body)
                continue
            await self._chunks_stored(node_id, stored)
            stored = []
            match entry.body:
                case CaptureDrained() as drained:
                    await self._drained(node_id, drained)
                case FinalizeDone() as done:
                    await finalize_done(self.db, self.settings, node_id, done)
                case FinalizeFailed() as failed:
                    await finalize_failed(self.db, self.settings, node_id, failed)
        await self._chunks_stored(node_id, stored)

    async def _chunks_stored(self, node_id: str, stored: list[ChunkStored]) -> None:
        """Many at a time: thousands wait where the storage was away."""
        for first in range(0, len(stored), CHUNKS_AT_ONCE):

            async def work(tx: Tx, first: int = first) -> None:
                some = stored[first : first + CHUNKS_AT_ONCE]
                for job_id in await captures.insert_chunks(tx.conn, node_id, some, tx.now):
                    await jobs.mark_late_media(tx.conn, job_id, tx.now)

            await self.db.run(work)

    async def _drained(self, node_id: str, drained: CaptureDrained) -> None:
        async def work(tx: Tx) -> None:
            found = await jobs.locked_with(tx.conn, drained.capture_id)
            if found is None or found[0].node_id != node_id:
                return
            detail = f"node {node_id} ended the capture by itself"
            await self._over(tx, found, CaptureState.DRAINED, Reason.NODE_LOST, detail)

        await self.db.run(work)

    async def late_tick(self) -> None:
        """Captures whose node did not open ports in time are lost."""
        timeout_s = self.settings.prepare_timeout_s
        late = await self.db.read(lambda tx: captures.late(tx.conn, tx.now - timedelta(seconds=timeout_s), LATE_BATCH))
        for capture in late:
            detail = f"node {capture.node_id} did not open ports within {timeout_s:g} s"
            await self.lost(capture.id, Reason.NODE_UNREACHABLE, detail)
