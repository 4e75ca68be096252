"""What the REST API answers. Times are RFC 3339 in UTC, durations seconds, sizes bytes; null is what does not apply."""

from datetime import datetime
from typing import Annotated, Literal

from pydantic import Field

from edumeet_recording.domain.capture import CaptureRole, CaptureState
from edumeet_recording.domain.codecs import Codec, Container, CopyPolicy, FileFormat, Kind, Quality
from edumeet_recording.domain.job import JobStatus
from edumeet_recording.domain.request import Forwarding
from edumeet_recording.wire.base import View
from edumeet_recording.wire.node_link import SrtpKey, StreamStats


class FieldError(View):
    """One thing that is wrong with the request; `field` is a path such as `rtpStreams.0.port`."""

    field: str
    reason: str


class Problem(View):
    """An error (RFC 9457). `code` is a stable word a program can switch on."""

    type: str
    title: str
    status: int
    detail: str
    instance: str
    code: str
    errors: tuple[FieldError, ...] = ()


class Queue(View):
    """Where a pending job stands: `position` 1 is placed next, not before `notBefore`; it fails after `deadline`.

    `estimatedWaitS` as fast as the queue moved in the last minutes, null while nothing has ended.
    """

    position: int
    estimated_wait_s: float | None = None
    not_before: datetime | None = None
    deadline: datetime | None = None


class Alternative(View):
    """A node that could have had it, further down the order."""

    node_id: str
    why: str


class PlacementDecision(View):
    """Why a capture is on its node: of `considered` nodes, those that were `refused`, by reason, and the next best."""

    node_id: str
    strategy: str
    why: str
    considered: int
    alternatives: tuple[Alternative, ...]
    refused: dict[str, int]


class RecordedStream(View):
    """A stream of the recording with its live numbers, where a capture reports them."""

    index: int
    kind: Kind
    codec_name: Codec
    payload_type: int
    ssrc: int | None = None
    clock_rate: int
    channels: int | None = None
    stats: StreamStats | None = None


class ForwardingPort(View):
    """Where stream `index` is to be sent: RTP (and muxed RTCP) to `port`, separate RTCP to `rtcpPort`.

    `srtp`: the key of the RTCP that comes back, where the stream is encrypted.
    """

    index: int
    kind: Kind
    port: int
    rtcp_port: int
    srtp: SrtpKey | None = None


class RtpForwarding(View):
    """The node that receives the recording's RTP; a higher `epoch` replaces a lower one."""

    epoch: int
    ip: str
    ports: tuple[ForwardingPort, ...]


class Options(View):
    """What the file shall be, with the defaults filled in."""

    quality: Quality | None = None
    format: Container
    include_audio: bool
    include_video: bool
    max_duration: float | None = None
    copy_policy: Annotated[CopyPolicy, Field(alias="copy")] = CopyPolicy.PREFER
    thumbnails: bool = True
    custom_ffmpeg_args: Annotated[tuple[str, ...], Field(alias="customFFmpegArgs")] = ()
    redundancy: int = 1


class LiveCapture(View):
    """A node that records the peer now, or is about to; one that is `leaving` does so until its successor receives."""

    role: CaptureRole
    node_id: str
    epoch: int
    state: CaptureState
    leaving: bool


class RecordingPart(View):
    """A part of a recording whose picture changed its size, which was to be copied; `startS` in the recording."""

    start_s: float
    duration_s: float
    width: int
    height: int
    bytes: int
    sha256: str
    url: str


class RecordingFile(View):
    """The finished file; all URLs are paths of this API.

    `format` is its extension; `version` rises when it is made anew, because media came late or by `retry`. Where there
    are `parts`, the file is the first of them.
    """

    bytes: int
    sha256: str
    container: Container
    format: FileFormat
    version: int = 1
    url: str
    report_url: str
    poster_url: str | None = None
    waveform_url: str | None = None
    parts: tuple[RecordingPart, ...] = ()


class Progress(View):
    """How far finalizing is; `fraction` from 0 to 1."""

    phase: str
    fraction: float


class Recording(View):
    """A recording job. `reason` is a stable word, `reasonDetail` a sentence."""

    job_id: str
    tenant_id: str | None = None
    status: JobStatus
    reason: str | None = None
    reason_detail: str | None = None
    queue: Queue | None = None
    room_server_id: str
    room_id: str
    peer_id: str
    peer_info: dict[str, object]
    requester_info: dict[str, object]
    requested_by: str | None = None
    node_id: str | None = None
    region: str
    allowed_regions: tuple[str, ...] | None = None
    placement: PlacementDecision | None = None
    epoch: int
    priority: int
    options: Options
    forwarding: Forwarding
    rtp_forwarding: RtpForwarding | None = None
    streams: tuple[RecordedStream, ...]
    foreign_packets: dict[str, int]
    captures: tuple[LiveCapture, ...] = ()
    created_at: datetime
    started_at: datetime | None = None
    stopped_at: datetime | None = None
    ended_at: datetime | None = None
    duration_s: float | None = None
    progress: Progress | None = None
    file: RecordingFile | None = None
    warnings: tuple[str, ...] = ()
    legal_hold: bool = False


class RecordingPage(View):
    """Recordings, newest first; `nextCursor` is null on the last page."""

    items: tuple[Recording, ...]
    next_cursor: str | None = None


class TenantView(View):
    """A tenant's limits; null is no limit."""

    id: str
    allowed_regions: tuple[str, ...] | None = None
    max_active_recordings: int | None = None
    max_queued_recordings: int | None = None
    share: int


class TenantList(View):
    """Tenants that have limits."""

    items: tuple[TenantView, ...]


class JobEvent(View):
    """Something that happened to a job. `id` orders all jobs' events, `seq` counts 1, 2, 3 … within the job."""

    id: int
    job_id: str
    seq: int
    at: datetime
    type: str
    status: JobStatus
    data: dict[str, object]


class JobEventPage(View):
    """Events of one job in order; ask on with `after=nextAfter`, null on the last page."""

    items: tuple[JobEvent, ...]
    next_after: int | None = None


class RoomServerView(View):
    """A registered room server."""

    kind: Literal["room-server"] = "room-server"
    id: str
    url: str
    region: str
    is_healthy: bool
    health_reason: str | None = None
    is_linked: bool
    capacity: int
    rooms: int
    peers: int
    specs: dict[str, object]
    registered_at: datetime
    last_heartbeat: datetime | None = None


class FFmpegNodeView(View):
    """A registered FFmpeg node; `capacityMcpu` and `loadMcpu` in milli-cores, `load` as measured in the last seconds.

    `quarantinedUntil`: it kept failing recordings, and until then gets new ones only where nobody else can take them.
    """

    kind: Literal["ffmpeg-node"] = "ffmpeg-node"
    id: str
    url: str
    region: str
    is_healthy: bool
    health_reason: str | None = None
    is_linked: bool
    is_draining: bool
    accepts_captures: bool
    quarantined_until: datetime | None = None
    capacity_mcpu: int
    load_mcpu: int
    captures: int
    processing_slots: int
    failure_domain: str | None = None
    version: str | None = None
    specs: dict[str, object]
    load: dict[str, object]
    registered_at: datetime
    last_heartbeat: datetime | None = None


Node = Annotated[RoomServerView | FFmpegNodeView, Field(discriminator="kind")]


class NodeList(View):
    """All registered nodes."""

    items: tuple[Node, ...]


class NodeEvent(View):
    """Something that happened to an FFmpeg node or room server, with its evidence."""

    id: int
    node_id: str
    type: str
    at: datetime
    data: dict[str, object]


class NodeEventList(View):
    """Events of one node, newest first."""

    items: tuple[NodeEvent, ...]


class RegisteredNode(View):
    """Answer to a registration. `token` is good for this node only, and is not shown again."""

    node_id: str
    token: str
    created: bool


class RegionMetrics(View):
    """The share of one region. `demand`: the price of its recordings that run or wait, in milli-cores.

    `finalizing`: recordings whose file is being made, or waits for that.
    """

    total_room_servers: int
    healthy_room_servers: int
    total_ffmpeg_nodes: int
    healthy_ffmpeg_nodes: int
    active_recordings: int
    total_capacity: int
    current_load: int
    queue_length: int
    # rows of the history that an older release wrote lack these
    demand: int = 0
    finalizing: int = 0
    rooms: int = 0
    peers: int = 0


class Metrics(View):
    """The system at one moment. `totalCapacity` and `currentLoad` in milli-cores of healthy FFmpeg nodes."""

    timestamp: datetime
    total_room_servers: int
    healthy_room_servers: int
    total_ffmpeg_nodes: int
    healthy_ffmpeg_nodes: int
    active_recordings: int
    total_capacity: int
    current_load: int
    queue_length: int
    regional_metrics: dict[str, RegionMetrics]


class MetricsHistory(View):
    """Rows of `system_metrics`, oldest first."""

    items: tuple[Metrics, ...]


class ScalingEvent(View):
    """A decision or alert of the autoscaler."""

    id: int
    at: datetime
    region: str
    action: str
    reason: str
    data: dict[str, object]


class Liveness(View):
    """The process answers."""

    status: Literal["ok"] = "ok"
    version: str


class Readiness(View):
    """What the service needs; `missing` maps each thing that is away to why. `leads`: this replica runs the loops."""

    status: Literal["ready", "not_ready"]
    missing: dict[str, str]
    leads: bool = False
