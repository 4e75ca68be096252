"""Recordings, nodes and events as tables for people."""

from collections.abc import Iterable, Mapping
from datetime import datetime

from rich.box import SIMPLE_HEAD
from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from edumeet_recording.domain.capture import CaptureRole
from edumeet_recording.domain.job import JobStatus
from edumeet_recording.wire.views import (
    FFmpegNodeView,
    JobEvent,
    Node,
    NodeEvent,
    Recording,
    RoomServerView,
    TenantView,
)

_STYLE = {
    JobStatus.COMPLETED: "green",
    JobStatus.FAILED: "red",
    JobStatus.CANCELLED: "dim",
    JobStatus.INTERRUPTED: "yellow",
    JobStatus.PENDING: "yellow",
}


def status_text(status: JobStatus) -> Text:
    """A status in its colour."""
    return Text(status.value, style=_STYLE.get(status, "cyan"))


def size(count: int | None) -> str:
    """Bytes as people read them, in powers of 1000."""
    if count is None:
        return ""
    value = float(count)
    for unit in ("B", "kB", "MB", "GB"):
        if value < 1000:
            return f"{value:.3g} {unit}" if value < 100 else f"{value:.0f} {unit}"
        value /= 1000
    return f"{value:.3g} TB"


def duration(seconds: float | None) -> str:
    """Seconds as h:mm:ss.s."""
    if seconds is None:
        return ""
    minutes, rest = divmod(round(seconds, 1), 60)
    hours, minutes = divmod(int(minutes), 60)
    return f"{hours}:{minutes:02}:{rest:04.1f}"


def recordings_table(recordings: Iterable[Recording]) -> Table:
    """A row for each recording."""
    shown = table("job", "status", "reason", "room", "peer", "created", "duration", "size")
    for each in recordings:
        shown.add_row(
            each.job_id,
            status_text(each.status),
            each.reason or "",
            Text(each.room_id),
            Text(each.peer_id),
            f"{each.created_at.astimezone():%m-%d %H:%M:%S}",
            duration(each.duration_s),
            size(each.file.bytes if each.file else None),
        )
    return shown


def recording_details(recording: Recording, events: Iterable[JobEvent] = ()) -> RenderableType:
    """All that matters of one recording, and what happened to it."""
    queue = recording.queue
    target = recording.rtp_forwarding
    ports = ", ".join(f"{port.kind} {port.port}" for port in target.ports) if target else ""
    details = _pairs(
        ("job", recording.job_id),
        ("status", status_text(recording.status)),
        ("reason", " — ".join(filter(None, (recording.reason, recording.reason_detail)))),
        ("in the queue", f"position {queue.position}" if queue else ""),
        ("peer", f"{recording.peer_id} in room {recording.room_id} of {recording.room_server_id}"),
        ("node", f"{recording.node_id} (epoch {recording.epoch})" if recording.node_id else ""),
        ("chosen for", recording.placement.why if recording.placement else ""),
        ("standby", ", ".join(each.node_id for each in recording.captures if each.role is CaptureRole.STANDBY)),
        ("sends to", f"{target.ip}: {ports}" if target else ""),
        ("format", " ".join(filter(None, (recording.options.format, recording.options.quality)))),
        ("started", time_of(recording.started_at)),
        ("ended", time_of(recording.ended_at)),
        ("duration", duration(recording.duration_s)),
        ("file", f"{size(recording.file.bytes)}, sha256 {recording.file.sha256}" if recording.file else ""),
        ("legal hold", "yes" if recording.legal_hold else ""),
        ("warnings", "; ".join(recording.warnings)),
    )
    streams = table("stream", "codec", "packets", "lost", "recovered", "jitter")
    for stream in recording.streams:
        stats = stream.stats
        numbers = (
            (str(stats.packets), str(stats.lost), str(stats.recovered), f"{stats.jitter_ms:.1f} ms")
            if stats
            else ("", "", "", "")
        )
        streams.add_row(stream.kind.value, stream.codec_name.value, *numbers)
    return Group(details, streams, *([events_table(events)] if events else []))


def events_table(events: Iterable[JobEvent]) -> Table:
    """A row for each event."""
    shown = table("#", "at", "event", "status", "")
    for each in events:
        at = f"{each.at:%H:%M:%S.%f}"[:-3]
        shown.add_row(str(each.seq), at, each.type, status_text(each.status), Text(told(each.data)))
    return shown


def told(data: Mapping[str, object]) -> str:
    """An event's data in words: what is a list or an object there is for programs."""
    return ", ".join(
        f"{name} {value}" for name, value in data.items() if value != "" and isinstance(value, str | int | float)
    )


def nodes_table(nodes: Iterable[Node]) -> Table:
    """A row for each room server and FFmpeg node."""
    shown = table("id", "kind", "region", "health", "load", "last heartbeat")
    for each in nodes:
        shown.add_row(each.id, each.kind, each.region, _health(each), _load(each), time_of(each.last_heartbeat))
    return shown


def node_details(node: Node, events: Iterable[NodeEvent] = ()) -> RenderableType:
    """All that matters of one node, and what happened to it."""
    specs = ", ".join(f"{name} {value}" for name, value in node.specs.items())
    details = _pairs(
        ("id", node.id),
        ("kind", node.kind),
        ("url", node.url),
        ("region", node.region),
        ("health", _health(node)),
        ("load", _load(node)),
        ("specs", specs),
        ("dies with", node.failure_domain or "" if isinstance(node, FFmpegNodeView) else ""),
        ("version", node.version or "" if isinstance(node, FFmpegNodeView) else ""),
        ("registered", time_of(node.registered_at)),
        ("last heartbeat", time_of(node.last_heartbeat)),
    )
    history = table("at", "event", "")
    for each in events:
        history.add_row(f"{each.at:%Y-%m-%d %H:%M:%S}", each.type, Text(told(each.data)))
    return Group(details, history) if history.row_count else details


def tenants_table(tenants: Iterable[TenantView]) -> Table:
    """A row for each tenant with limits."""
    rows = table("id", "regions", "recordings", "queued", "share")
    for each in tenants:
        regions = "any" if each.allowed_regions is None else ", ".join(each.allowed_regions) or "none"
        most = (each.max_active_recordings, each.max_queued_recordings)
        limits = ("any number" if number is None else str(number) for number in most)
        rows.add_row(each.id, regions, *limits, str(each.share))
    return rows


def settings_table(rows: Iterable[tuple[str, str, str, str]]) -> Table:
    """A row for each setting: section, variable, value, origin."""
    shown = table("for", "variable", "value", "from")
    for section, variable, value, origin in rows:
        shown.add_row(section, variable, Text(value), origin, style="" if origin == "default" else "bold")
    return shown


def _health(node: Node) -> Text:
    if not node.is_healthy:
        return Text(node.health_reason or "unhealthy", style="red")
    if isinstance(node, FFmpegNodeView) and node.is_draining:
        return Text("draining", style="yellow")
    if isinstance(node, FFmpegNodeView) and node.health_reason:
        return Text(node.health_reason, style="yellow")
    return Text("healthy", style="green")


def _load(node: Node) -> str:
    if isinstance(node, RoomServerView):
        return f"{node.rooms} rooms, {node.peers} peers"
    return f"{node.captures} captures, {node.load_mcpu} of {node.capacity_mcpu} mCPU"


def table(*columns: str) -> Table:
    """An empty table whose first column is an id, to be copied."""
    empty = Table(box=SIMPLE_HEAD, pad_edge=False, padding=(0, 1, 0, 0))
    for number, column in enumerate(columns):
        empty.add_column(column, overflow="fold", no_wrap=not number)
    return empty


def _pairs(*pairs: tuple[str, str | Text]) -> Table:
    """What there is of `pairs`, one below the other."""
    grid = Table.grid(padding=(0, 2))
    grid.add_column(style="dim")
    grid.add_column(overflow="fold")
    for name, value in pairs:
        if value:
            grid.add_row(name, value if isinstance(value, Text) else Text(value))
    return grid


def time_of(at: datetime | None) -> str:
    """A time on this machine's clock; empty for none."""
    return f"{at.astimezone():%Y-%m-%d %H:%M:%S}" if at else ""
