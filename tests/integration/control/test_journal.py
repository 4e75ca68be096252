"""What a node journaled, applied in its order: thousands of chunks at once where a storage is back, each once."""

import pytest
from tests.integration.control.conftest import Service

from edumeet_recording.control import captures
from edumeet_recording.domain.job import JobStatus
from edumeet_recording.wire.node_link import CaptureDrained, CaptureReport, ChunkStored, JournalBody, JournalEntry
from edumeet_recording.wire.node_link import TapeChunk as Chunk

Row = tuple[str, int]


def chunk(capture_id: str, seq: int) -> ChunkStored:
    key = f"{capture_id}/{seq}"
    return ChunkStored(
        capture_id=capture_id, chunk=Chunk(seq=seq, key=key, bytes=10, sha256="0", records=3, first_ns=1, last_ns=2)
    )


async def journal(service: Service, node_id: str, *bodies: JournalBody) -> None:
    entries = [JournalEntry(seq=seq, body=body) for seq, body in enumerate(bodies, 1)]
    await service.captures.journal(node_id, tuple(entries))


async def stored(service: Service) -> set[Row]:
    return {(row["capture_id"], row["seq"]) for row in await service.pool.fetch("SELECT * FROM tape_chunks")}


@pytest.fixture
async def capture_id(service: Service) -> str:
    await service.room_server()
    await service.node()
    await service.start()
    return await service.receive()


async def test_chunks_that_waited_are_stored_by_few_transactions(
    service: Service, capture_id: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(captures, "CHUNKS_AT_ONCE", 3)
    await journal(service, "node-1", *(chunk(capture_id, seq) for seq in (0, 1, 2, 2, 3, 0, 4)))
    assert await stored(service) == {(capture_id, seq) for seq in range(5)}
    begun = await service.pool.fetchval("SELECT count(DISTINCT xmin::text) FROM tape_chunks")
    assert begun == 3


async def test_of_unknown_captures_and_of_other_nodes_nothing_is_stored(service: Service, capture_id: str) -> None:
    await service.node("node-2")
    await journal(service, "node-2", chunk(capture_id, 0), chunk("unknown", 0))
    assert await stored(service) == set()


async def test_what_lies_between_chunks_is_applied_between_them(service: Service, capture_id: str) -> None:
    """The drain ends the recording with the chunks before it; the one behind it is late media."""
    (job_id,) = [row["id"] for row in await service.pool.fetch("SELECT id FROM recording_jobs")]
    await service.commands.stop(job_id, None)
    report = CaptureReport(capture_id=capture_id, epoch=1, state="drained")
    drained = CaptureDrained(capture_id=capture_id, epoch=1, chunks=1, report=report)
    await journal(service, "node-1", chunk(capture_id, 0), drained, chunk(capture_id, 1))
    assert (await service.job(job_id)).status is JobStatus.PROCESSING
    assert await stored(service) == {(capture_id, 0), (capture_id, 1)}
    assert await service.pool.fetchval("SELECT late_media_at IS NOT NULL FROM recording_jobs")
