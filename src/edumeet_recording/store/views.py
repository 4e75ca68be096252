"""What the API shows, read from PostgreSQL; nothing here writes.

`tenant` confines what is seen; None sees all. A row outside it is as if it were not there.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

import asyncpg

from edumeet_recording.domain.codecs import FileFormat, file_format
from edumeet_recording.domain.job import JobStatus
from edumeet_recording.domain.queueing import estimate_s
from edumeet_recording.store import metrics, queue
from edumeet_recording.store.db import Connection, db_now, load_queries
from edumeet_recording.store.jobs import options_of
from edumeet_recording.wire.views import (
    FFmpegNodeView,
    ForwardingPort,
    JobEvent,
    LiveCapture,
    Metrics,
    Node,
    Options,
    Progress,
    Queue,
    RecordedStream,
    Recording,
    RecordingFile,
    RecordingPart,
    RegionMetrics,
    RoomServerView,
    RtpForwarding,
    ScalingEvent,
)

_sql = load_queries("views")


@dataclass(frozen=True, slots=True)
class RecordingFilter:
    """Which recordings are asked for; None or empty means any. Times are of creation, `created_to` excluded."""

    statuses: tuple[JobStatus, ...] = ()
    room_server_id: str | None = None
    room_id: str | None = None
    peer_id: str | None = None
    region: str | None = None
    created_from: datetime | None = None
    created_to: datetime | None = None


@dataclass(frozen=True, slots=True)
class PageEnd:
    """The last recording of a page: the next one begins after it."""

    created_at: datetime
    job_id: str


@dataclass(frozen=True, slots=True)
class StoredRecording:
    """The file and the report of a recording; `file_key` None while there is no file."""

    job_id: str
    status: JobStatus
    format: FileFormat
    room_id: str
    peer_id: str
    began_at: datetime
    file_key: str | None
    file_bytes: int | None
    file_sha256: str | None
    report: dict[str, object] | None


async def recording(conn: Connection, job_id: str, tenant: str | None) -> Recording | None:
    """One recording."""
    found = await recordings(conn, [job_id], tenant)
    return found[0] if found else None


async def recordings(conn: Connection, job_ids: Sequence[str], tenant: str | None) -> list[Recording]:
    """Those of `job_ids` that exist, newest first."""
    rows = [row async for row in _sql.recordings_by_id(conn, ids=list(job_ids), tenant_id=tenant)]
    positions = await _positions(conn) if any(row["status"] == JobStatus.PENDING for row in rows) else {}
    return [_recording_of(row, positions.get(row["id"])) for row in rows]


async def _positions(conn: Connection) -> dict[str, tuple[int, float | None]]:
    """The place in the queue of every job that waits, and the seconds it may take."""
    now = await db_now(conn)
    ended, over_s = await queue.ended(conn, now), queue.LOOK_BACK.total_seconds()
    return {
        job.job_id: (position, estimate_s(position, ended, over_s))
        for position, job in enumerate(await queue.in_order(conn, now), start=1)
    }


async def page_of_recordings(
    conn: Connection, wanted: RecordingFilter, *, tenant: str | None, after: PageEnd | None, most: int
) -> tuple[list[Recording], PageEnd | None]:
    """At most `most` recordings, newest first, and where the next page begins, or None on the last."""
    rows = [
        row
        async for row in _sql.page_of_recordings(
            conn,
            tenant_id=tenant,
            statuses=[status.value for status in wanted.statuses] or None,
            room_server_id=wanted.room_server_id,
            room_id=wanted.room_id,
            peer_id=wanted.peer_id,
            region=wanted.region,
            created_from=wanted.created_from,
            created_to=wanted.created_to,
            before_at=after.created_at if after else None,
            before_id=after.job_id if after else None,
            most=most + 1,
        )
    ]
    page = rows[:most]
    end = PageEnd(page[-1]["created_at"], page[-1]["id"]) if len(rows) > most else None
    return await recordings(conn, [row["id"] for row in page], tenant), end


async def stored_recording(conn: Connection, job_id: str, tenant: str | None) -> StoredRecording | None:
    """Where the file and the report of a recording are."""
    row = await _sql.stored_recording(conn, id=job_id, tenant_id=tenant)
    if row is None:
        return None
    options = options_of(row["options"])
    return StoredRecording(
        job_id=row["id"],
        status=JobStatus(row["status"]),
        format=file_format(options.container, include_video=options.include_video),
        room_id=row["room_id"],
        peer_id=row["peer_id"],
        began_at=row["started_at"] or row["created_at"],
        file_key=row["file_key"],
        file_bytes=row["file_bytes"],
        file_sha256=row["file_sha256"],
        report=row["report"],
    )


async def events_of_job(conn: Connection, job_id: str, *, after: int, most: int) -> list[JobEvent]:
    """Events of one job with a number above `after`. The caller has checked that the job may be seen."""
    return [event_of(row) async for row in _sql.events_of_job(conn, job_id=job_id, after=after, most=most)]


async def node(conn: Connection, node_id: str) -> Node | None:
    """The registered room server or FFmpeg node of that id."""
    found = [*await room_servers(conn, node_id), *await ffmpeg_nodes(conn, [node_id])]
    return found[0] if found else None


async def room_servers(conn: Connection, server_id: str | None = None) -> list[RoomServerView]:
    """All registered room servers, or the one with the id `server_id`."""
    return [_room_server_of(row) async for row in _sql.room_servers(conn, id=server_id)]


async def ffmpeg_nodes(conn: Connection, node_ids: Sequence[str]) -> list[FFmpegNodeView]:
    """The registered FFmpeg nodes among `node_ids`."""
    return [_ffmpeg_node_of(row) async for row in _sql.ffmpeg_nodes(conn, ids=list(node_ids))]


async def metrics_now(conn: Connection) -> Metrics:
    """The present numbers, by the database's clock."""
    regions = await metrics.regional_numbers(conn)
    totals = {name: sum(numbers[name] for numbers in regions.values()) for name in metrics.COUNTS}
    return _metrics_of(await db_now(conn), totals, regions)


async def metrics_between(conn: Connection, since: datetime, until: datetime, *, most: int) -> list[Metrics]:
    """The newest `most` rows of the history in the interval, oldest first."""
    rows = [row async for row in _sql.metrics_between(conn, since=since, until=until, most=most)]
    return [_metrics_of(row["timestamp"], dict(row), row["regional_metrics"]) for row in reversed(rows)]


async def metrics_in_steps(
    conn: Connection, since: datetime, until: datetime, *, step: timedelta, aggregate: str
) -> list[Metrics]:
    """The history in steps, oldest first; each has its beginning as timestamp."""
    steps = await metrics.in_steps(conn, since, until, step, aggregate)
    return [_metrics_of(at, totals, regions) for at, totals, regions in steps]


async def scaling_events_after(conn: Connection, after: int, *, most: int) -> list[ScalingEvent]:
    """Decisions and alerts of the autoscaler with an id above `after`."""
    rows = _sql.scaling_events_after(conn, after=after, most=most)
    return [ScalingEvent(**dict(row)) async for row in rows]


async def last_scaling_event_id(conn: Connection) -> int:
    """The highest id of a scaling event, 0 where there is none."""
    return await _sql.last_scaling_event_id(conn)


def event_of(row: asyncpg.Record) -> JobEvent:
    """The event of a row of `job_events`."""
    return JobEvent(
        id=row["id"],
        job_id=row["job_id"],
        seq=row["seq"],
        at=row["at"],
        type=row["type"],
        status=JobStatus(row["status"]),
        data=row["data"],
    )


def _recording_of(row: asyncpg.Record, place: tuple[int, float | None] | None) -> Recording:
    stats: dict[str, Any] = row["stats"] or {}
    return Recording(
        job_id=row["id"],
        tenant_id=row["tenant_id"],
        status=JobStatus(row["status"]),
        reason=row["reason"],
        reason_detail=row["reason_detail"],
        queue=None if place is None else _queue_of(row, *place),
        room_server_id=row["room_server_id"],
        room_id=row["room_id"],
        peer_id=row["peer_id"],
        peer_info=row["peer_info"],
        requester_info=row["requester_info"],
        requested_by=row["requested_by"],
        node_id=row["ffmpeg_node_id"],
        region=row["region"],
        allowed_regions=row["allowed_regions"],
        placement=row["placement"],
        epoch=row["epoch"],
        priority=row["priority"],
        options=_options_of(row["options"]),
        forwarding=row["forwarding"],
        rtp_forwarding=_forwarding_of(row),
        streams=_streams_of(row["capture_streams"], row["rtp_streams"], stats),
        foreign_packets=stats.get("foreign") or {},
        captures=tuple(LiveCapture(**capture) for capture in row["captures"] or ()),
        created_at=row["created_at"],
        started_at=row["started_at"],
        stopped_at=row["stopped_at"],
        ended_at=row["ended_at"],
        duration_s=row["duration_s"],
        progress=_progress_of(row),
        file=_file_of(row),
        warnings=tuple(row["warnings"]),
        legal_hold=row["legal_hold"],
    )


def _queue_of(row: asyncpg.Record, position: int, estimated_wait_s: float | None) -> Queue | None:
    """Interrupted recordings wait too, but for their next node."""
    if row["status"] != JobStatus.PENDING:
        return None
    return Queue(
        position=position,
        estimated_wait_s=estimated_wait_s,
        not_before=row["not_before"],
        deadline=row["deadline"],
    )


def _options_of(kept: dict[str, Any]) -> Options:
    options = options_of(kept)
    return Options(
        quality=options.quality,
        format=options.container,
        include_audio=options.include_audio,
        include_video=options.include_video,
        max_duration=options.max_duration_s,
        copy_policy=options.copy,
        thumbnails=options.thumbnails,
        custom_ffmpeg_args=options.ffmpeg_args,
        redundancy=options.redundancy,
    )


def _progress_of(row: asyncpg.Record) -> Progress | None:
    if row["status"] != JobStatus.PROCESSING or row["processing_phase"] is None:
        return None
    return Progress(phase=row["processing_phase"], fraction=row["processing_fraction"] or 0.0)


def _file_of(row: asyncpg.Record) -> RecordingFile | None:
    if row["file_key"] is None:
        return None
    path, options = f"/api/recordings/{row['id']}", options_of(row["options"])
    urls = {asset["kind"]: f"{path}/assets/{asset['name']}" for asset in row["assets"] or ()}
    return RecordingFile(
        bytes=row["file_bytes"],
        sha256=row["file_sha256"],
        version=row["file_version"],
        container=options.container,
        format=file_format(options.container, include_video=options.include_video),
        url=f"{path}/download",
        report_url=f"{path}/report",
        poster_url=urls.get("poster"),
        waveform_url=urls.get("waveform"),
        parts=tuple(_part_of(part, number, path) for number, part in enumerate(row["parts"] or ())),
    )


def _part_of(part: dict[str, Any], number: int, path: str) -> RecordingPart:
    """The first part is the file itself."""
    return RecordingPart(
        start_s=part["startS"],
        duration_s=part["durationS"],
        width=part["width"],
        height=part["height"],
        bytes=part["bytes"],
        sha256=part["sha256"],
        url=f"{path}/assets/{part['name']}" if number else f"{path}/download",
    )


def _forwarding_of(row: asyncpg.Record) -> RtpForwarding | None:
    if not row["listens"] or row["ip"] is None:
        return None
    kinds = {stream["index"]: stream["kind"] for stream in row["rtp_streams"]}
    keys = {stream["index"]: stream.get("srtpOurs") for stream in row["capture_streams"]}
    ports = tuple(
        ForwardingPort(
            index=port["index"],
            kind=kinds[port["index"]],
            port=port["port"],
            rtcp_port=port["rtcpPort"],
            srtp=keys[port["index"]],
        )
        for port in row["ports"]
        if port["index"] in kinds
    )
    return RtpForwarding(epoch=row["capture_epoch"], ip=row["ip"], ports=ports)


def _streams_of(
    sent: list[dict[str, Any]] | None, requested: list[dict[str, Any]], stats: dict[str, Any]
) -> tuple[RecordedStream, ...]:
    """Streams as they are really sent where that is known, else as requested; never their SRTP keys."""
    measured = {stream["index"]: stream for stream in stats.get("streams") or ()}
    known = {stream["index"]: stream for stream in sent or ()}
    return tuple(
        RecordedStream(
            index=stream["index"],
            kind=stream["kind"],
            codec_name=stream["codec"],
            payload_type=known.get(stream["index"], {}).get("payloadType", stream["payload_type"]),
            ssrc=known.get(stream["index"], {}).get("ssrc", stream["ssrc"]),
            clock_rate=stream["clock_rate"],
            channels=stream["channels"],
            stats=measured.get(stream["index"]),
        )
        for stream in requested
    )


def _room_server_of(row: asyncpg.Record) -> RoomServerView:
    fields = dict(row)
    return RoomServerView(is_linked=fields.pop("linked_replica") is not None, **fields)


def _ffmpeg_node_of(row: asyncpg.Record) -> FFmpegNodeView:
    fields = dict(row)
    return FFmpegNodeView(is_linked=fields.pop("linked_replica") is not None, **fields)


def _metrics_of(timestamp: datetime, totals: dict[str, Any], regions: dict[str, dict[str, int]]) -> Metrics:
    return Metrics(
        timestamp=timestamp,
        regional_metrics={region: RegionMetrics(**numbers) for region, numbers in regions.items()},
        **{name: totals[name] for name in metrics.COUNTS},
    )
