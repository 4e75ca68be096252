"""What does not fit together is found, mended where it can be, and told of once."""

from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest
from prometheus_client import REGISTRY
from tests.integration.control.conftest import SETTINGS, Service
from tests.integration.control.test_finalizations import done, recorded

from edumeet_recording.config import OrchestratorSettings
from edumeet_recording.control.dispatch import dispatch_tick
from edumeet_recording.control.processing import assign_tick
from edumeet_recording.control.reconcile import SETTLED_S, STOCK_AFTER_S, orphans_tick, reconcile_tick, stock_tick
from edumeet_recording.domain.capture import CaptureState
from edumeet_recording.domain.job import JobStatus
from edumeet_recording.storage.regional import RegionalStore
from edumeet_recording.wire.node_link import CaptureReport, Port


def counted(finding: str) -> float:
    return REGISTRY.get_sample_value("edumeet_recording_findings_total", {"finding": finding}) or 0.0


async def later(service: Service, seconds: float) -> None:
    await service.pool.execute(
        "UPDATE recording_jobs SET updated_at = updated_at - $1::interval, ended_at = ended_at - $1::interval",
        timedelta(seconds=seconds),
    )
    await service.pool.execute(
        "UPDATE captures SET created_at = created_at - $1::interval, last_packet_at = NULL", timedelta(seconds=seconds)
    )


async def tick(service: Service) -> None:
    await reconcile_tick(service.commands.db, SETTINGS)


async def findings(service: Service, job_id: str) -> list[str]:
    rows = await service.pool.fetch(
        "SELECT data FROM job_events WHERE job_id = $1 AND type = 'reconciled' ORDER BY seq", job_id
    )
    return [row["data"]["finding"] for row in rows]


async def recording(service: Service) -> str:
    await service.room_server()
    await service.node()
    job_id = await service.start()
    await service.receive()
    return job_id


async def test_nothing_is_found_where_all_is_well(service: Service) -> None:
    job_id = await recording(service)
    await later(service, 100_000)
    await tick(service)
    assert await findings(service, job_id) == []
    assert (await service.job(job_id)).status is JobStatus.RECORDING


async def test_a_capture_of_an_ended_job_is_drained(service: Service) -> None:
    job_id = await recording(service)
    await service.pool.execute("UPDATE recording_jobs SET status = 'cancelled', ended_at = clock_timestamp()")
    before = counted("capture_without_job")
    await tick(service)
    await tick(service)
    assert (await service.desired()).captures == ()
    assert await findings(service, job_id) == ["capture_without_job"]
    assert counted("capture_without_job") == before + 1


async def test_a_capture_that_its_node_never_ends_gives_its_capacity_back(service: Service) -> None:
    job_id = await recording(service)
    await service.commands.cancel(job_id, None)
    await tick(service)
    assert await service.pool.fetchval("SELECT load_mcpu FROM ffmpeg_nodes") > 0, "its node has its time"
    await later(service, SETTINGS.drain_deadline_s + 1)
    await tick(service)
    assert await service.pool.fetchval("SELECT load_mcpu FROM ffmpeg_nodes") == 0
    assert await findings(service, job_id) == ["capture_never_ended"]


async def test_a_recording_that_nothing_records_is_placed_again(service: Service) -> None:
    job_id = await recording(service)
    await service.pool.execute("DELETE FROM captures")
    await tick(service)
    assert (await service.job(job_id)).status is JobStatus.RECORDING, "it may be on its way"
    await later(service, SETTLED_S + 1)
    await tick(service)
    assert (await service.job(job_id)).status is JobStatus.INTERRUPTED
    assert await findings(service, job_id) == ["job_without_capture"]
    await dispatch_tick(service.commands.db, SETTINGS, service.fleet)
    assert len((await service.desired()).captures) == 1


async def test_promised_capacity_is_what_captures_cost(service: Service) -> None:
    await recording(service)
    right = await service.pool.fetchval("SELECT load_mcpu FROM ffmpeg_nodes")
    await service.pool.execute("UPDATE ffmpeg_nodes SET load_mcpu = load_mcpu + 100")
    await tick(service)
    assert await service.pool.fetchval("SELECT load_mcpu FROM ffmpeg_nodes") == right
    told = await service.pool.fetchrow("SELECT type, data FROM node_events WHERE type = 'load_corrected'")
    assert told is not None
    assert told["data"] == {"loadMcpuBefore": right + 100, "loadMcpu": right}


async def test_a_capture_that_its_node_has_begun_anew_is_followed(service: Service) -> None:
    job_id = await recording(service)
    (capture,) = (await service.desired()).captures
    forgotten = CaptureReport(
        capture_id=capture.capture_id,
        epoch=1,
        state=CaptureState.PREPARED,
        ip="127.0.0.1",
        ports=tuple(Port(index=each.index, port=50000, rtcp_port=50001) for each in capture.streams),
    )
    await service.captures.report("node-1", forgotten)
    assert (await service.job(job_id)).status is JobStatus.INTERRUPTED
    await service.captures.report("node-1", forgotten.model_copy(update={"capture_id": "unknown"}))


@pytest.fixture
def storage(tmp_path: Path) -> RegionalStore:
    settings = OrchestratorSettings.model_validate({"storage_url": (tmp_path / "storage").as_uri()})
    return RegionalStore.open(settings)


async def completed(service: Service) -> str:
    job_id = await recorded(service)
    await assign_tick(service.commands.db, SETTINGS)
    await service.journal("node-1", done(job_id))
    await later(service, STOCK_AFTER_S + 1)
    return job_id


async def test_stock_is_taken_once_and_only_leftovers_are_deleted(service: Service, storage: RegionalStore) -> None:
    job_id = await completed(service)
    capture_id = await service.pool.fetchval("SELECT id FROM captures")
    await service.pool.execute("UPDATE recording_jobs SET processing_attempt = 2")
    kept = (f"recordings/{job_id}/1/recording.mp4", f"recordings/{job_id}/3/recording.mp4", f"tapes/{job_id}/x/0")
    for key in (*kept, f"recordings/{job_id}/2/recording.mp4"):
        await storage.put_bytes(key, b"1")
    for _ in range(2):
        await stock_tick(service.commands.db, storage)
    assert await findings(service, job_id) == ["tape_missing", "tape_without_row", "leftovers_of_attempts"]
    stored = [*await storage.list_everywhere("recordings"), *await storage.list_everywhere("tapes")]
    assert {info.key for info in stored} == set(kept)
    told = await service.pool.fetchval("SELECT data FROM job_events WHERE type = 'reconciled' ORDER BY seq LIMIT 1")
    assert (told["count"], told["keys"]) == (1, [f"{capture_id}/0"])


async def test_a_file_that_is_gone_is_told_of(service: Service, storage: RegionalStore) -> None:
    job_id = await completed(service)
    capture_id = await service.pool.fetchval("SELECT id FROM captures")
    await storage.put_bytes(f"{capture_id}/0", b"1")
    await stock_tick(service.commands.db, storage)
    assert "file_missing" in await findings(service, job_id)


@pytest.mark.parametrize(("keep_s", "left"), [(0.0, {"theirs"}), (1e9, {"theirs"}), (1e-6, set[str]())])
async def test_objects_of_nobody_are_deleted_only_where_asked_for(
    service: Service, storage: RegionalStore, keep_s: float, left: set[str]
) -> None:
    job_id = await completed(service)
    await storage.put_bytes(f"tapes/{job_id}/c/0", b"1")
    await storage.put_bytes("tapes/theirs/c/0", b"1")
    settings = SETTINGS.model_copy(update={"orphan_retention_s": keep_s})
    before = counted("objects_without_job")
    await orphans_tick(service.commands.db, settings, storage)
    assert await storage.folders_everywhere("tapes") - {job_id} == left
    assert job_id in await storage.folders_everywhere("tapes")
    assert counted("objects_without_job") == before + 1


async def test_who_leads_no_more_deletes_nothing(service: Service, storage: RegionalStore) -> None:
    await storage.put_bytes("tapes/theirs/c/0", b"1")

    async def refuse(_conn: object) -> None:
        raise RuntimeError("another replica leads now")

    led = replace(service.commands.db, guard=refuse)
    settings = SETTINGS.model_copy(update={"orphan_retention_s": 1e-6})
    with pytest.raises(RuntimeError, match="another replica"):
        await orphans_tick(led, settings, storage)
    assert await storage.folders_everywhere("tapes") == {"theirs"}
