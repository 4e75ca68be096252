"""Messages between an FFmpeg node and an orchestrator: desired state down, observed state up.

The node opens `WS /api/nodes/ffmpeg-nodes/{id}/link` and sends `hello`, then a `heartbeat` a second, a `report`
whenever a capture changes, and `journal` entries that it repeats until they are acknowledged. The orchestrator sends
`desired`, always whole: a capture that is not in it any more is to be drained and shipped. Without a link the node
posts a `HeartbeatPost` and gets a `HeartbeatAnswer`. Times are epoch seconds by the node's clock.
"""

from typing import Annotated, Literal

from pydantic import Field, TypeAdapter

from edumeet_recording.domain.capture import CaptureRole, CaptureState, StreamState
from edumeet_recording.domain.codecs import Codec, Container, CopyPolicy, Kind, Quality
from edumeet_recording.wire.base import EpochSeconds, Int32, Int64, Message

PROTOCOL = 1


class SrtpKey(Message):
    """What the sender encrypts with. `key_base64` is master key and salt joined (RFC 4568 §6.1)."""

    suite: Literal["AES_CM_128_HMAC_SHA1_80", "AES_CM_128_HMAC_SHA1_32", "AEAD_AES_128_GCM", "AEAD_AES_256_GCM"]
    key_base64: str


class Stream(Message):
    """One RTP stream as it will be seen at the node's port.

    `ssrc` None: the first SSRC that comes with the right payload type is taken. `source_ip` None: any sender.
    `index` is the stream's number in the capture and on the tape. `srtp_ours`: what the node encrypts its feedback
    with; the sender was told it when it was told where to send.
    """

    index: int
    kind: Kind
    codec: Codec
    payload_type: int
    ssrc: int | None = None
    clock_rate: int
    channels: int | None = None
    rtx_payload_type: int | None = None
    rtx_ssrc: int | None = None
    source_ip: str | None = None
    source_port: int | None = None
    srtp: SrtpKey | None = None
    srtp_ours: SrtpKey | None = None


class Port(Message):
    """Where the node listens for stream `index`: RTP (and muxed RTCP) on `port`, separate RTCP on `rtcp_port`."""

    index: int
    port: int
    rtcp_port: int


class DesiredCapture(Message):
    """A capture the node should have. `confirmed`: the streams' SSRCs and payload types are what will really be sent.

    Until then everything that looks like RTP is held for a moment, bounded, and sorted when confirmed.
    """

    capture_id: str
    job_id: str
    epoch: int
    role: CaptureRole = CaptureRole.PRIMARY
    tape_prefix: str
    confirmed: bool = False
    streams: tuple[Stream, ...]


class TapeChunk(Message):
    """A stored chunk of tape. `first_ns`/`last_ns`: arrival times of its first and last record (epoch, nanoseconds)."""

    seq: Int32
    key: str
    bytes: Int64
    sha256: str
    records: Int32 = 0
    first_ns: Int64 | None = None
    last_ns: Int64 | None = None


class TaskCapture(Message):
    """One capture of a job that is to be finalized, with all its stored chunks in order."""

    capture_id: str
    node_id: str
    epoch: int
    role: CaptureRole
    streams: tuple[Stream, ...]
    chunks: tuple[TapeChunk, ...]


class OutputOptions(Message):
    """What the file shall be."""

    container: Container
    quality: Quality | None = None
    include_audio: bool = True
    include_video: bool = True
    copy_policy: CopyPolicy = CopyPolicy.PREFER
    thumbnails: bool = True
    ffmpeg_args: tuple[str, ...] = ()


class FinalizeTask(Message):
    """Make the file of a job.

    The outputs are `{output_prefix}/{file_stem}.{format}`, `…/report.json`, and beside them what the report lists.
    `cut_short`: no node is known to have recorded until `stopped_at`.
    """

    job_id: str
    attempt: int
    output_prefix: str
    file_stem: str
    output: OutputOptions
    captures: tuple[TaskCapture, ...]
    stopped_at: EpochSeconds | None = None
    cut_short: bool = False


class StreamStats(Message):
    """Live numbers of one stream. `jitter_ms` by RFC 3550 §6.4.1; `lost` is what never came, asked again or not.

    `recovered`: came because they were asked for again; `bitrate_bps`: of the last second; `key_frame_overdue`: the
    picture is broken until a key frame comes, and who sends does not hear that by RTCP.
    """

    index: int
    packets: int = 0
    bytes: int = 0
    lost: int = 0
    reordered: int = 0
    recovered: int = 0
    jitter_ms: float = 0.0
    key_frames: int = 0
    last_packet_at: EpochSeconds | None = None
    state: StreamState = StreamState.WAITING
    bitrate_bps: Int64 = 0
    key_frame_overdue: bool = False


class CaptureReport(Message):
    """What the node says of one capture.

    `foreign` counts refused datagrams by cause (`source`, `ssrc`, `payload_type`, `garbage`, `srtp_auth`, …).
    """

    capture_id: str
    epoch: Int32
    state: CaptureState
    ip: str | None = None
    ports: tuple[Port, ...] = ()
    first_packet_at: EpochSeconds | None = None
    streams: tuple[StreamStats, ...] = ()
    foreign: dict[str, int] = Field(default_factory=dict)
    unshipped_chunks: int = 0
    error: str | None = None


class FinalizeProgress(Message):
    """A finalization that runs on the node; `fraction` from 0 to 1."""

    job_id: str
    attempt: Int32
    phase: str
    fraction: Annotated[float, Field(ge=0, le=1)] = 0.0


class NodeLoad(Message):
    """Measured load of the node; percentages of the whole machine.

    `leaving`: its captures are to be moved, for its process is asked to end, or cannot write. `refusal`: why it takes
    no new ones. `warning`: what somebody should look at. `sheds`: it has too much to do, and some are to be moved away.
    `capacity_mcpu`, `capacity_bytes_per_s`: what it has learned that it can take, by price; None: not measured.
    """

    cpu_percent: float = 0.0
    memory_bytes: int = 0
    disk_free_bytes: int = 0
    disk_used_percent: float = 0.0
    network_in_bytes_per_s: float = 0.0
    network_out_bytes_per_s: float = 0.0
    disk_written_bytes_per_s: float = 0.0
    captures: int = 0
    finalizing: int = 0
    spool_bytes: int = 0
    accepts_captures: bool = True
    refusal: str | None = None
    warning: str | None = None
    leaving: bool = False
    sheds: bool = False
    capacity_mcpu: Int32 | None = None
    capacity_bytes_per_s: Int64 | None = None


class FinalizedStream(Message):
    """A stream of the finished file."""

    kind: Kind
    codec: str
    width: int | None = None
    height: int | None = None
    channels: int | None = None
    duration_s: float


class ChunkStored(Message):
    """A chunk is in the object store, and was verified there."""

    type: Literal["chunk_stored"] = "chunk_stored"
    capture_id: str
    chunk: TapeChunk


class CaptureDrained(Message):
    """The capture is over on this node and all it had is in the object store. `chunks` is how many there are."""

    type: Literal["capture_drained"] = "capture_drained"
    capture_id: str
    epoch: Int32
    chunks: Int32
    report: CaptureReport


class FinalizeDone(Message):
    """The file and its report are stored. `started_at`, `ended_at`: first and last media, epoch seconds."""

    type: Literal["finalize_done"] = "finalize_done"
    job_id: str
    attempt: Int32
    file_key: str
    report_key: str
    bytes: Int64
    sha256: str
    duration_s: float
    started_at: EpochSeconds
    ended_at: EpochSeconds
    streams: tuple[FinalizedStream, ...]
    warnings: tuple[str, ...] = ()
    report: dict[str, object] = Field(default_factory=dict)


class FinalizeFailed(Message):
    """The attempt failed. `no_media`: nothing is on the tape. `retryable`: another attempt may succeed.

    `unavailable`: the storage was away, or the disk full, which is no fault of this job's. `finalizer_lost`: the node
    ended in the midst of it.
    """

    type: Literal["finalize_failed"] = "finalize_failed"
    job_id: str
    attempt: Int32
    error: str
    no_media: bool = False
    retryable: bool = True
    unavailable: bool = False
    finalizer_lost: bool = False


JournalBody = Annotated[ChunkStored | CaptureDrained | FinalizeDone | FinalizeFailed, Field(discriminator="type")]


class JournalEntry(Message):
    """A fact that must not be lost: on the node's disk under `seq` until acknowledged; it may be applied twice."""

    seq: Int64
    body: JournalBody


class Hello(Message):
    """First message of a link. `storages`: names of those the node can write to, the default one's is empty; None: of a
    release that knows that one only. `codecs` None: all that were known then.
    """

    type: Literal["hello"] = "hello"
    node_id: str
    version: str
    protocol: int = PROTOCOL
    storages: tuple[str, ...] | None = None
    codecs: tuple[str, ...] | None = None


class Heartbeat(Message):
    """Once a second: the whole observed state."""

    type: Literal["heartbeat"] = "heartbeat"
    load: NodeLoad
    captures: tuple[CaptureReport, ...] = ()
    finalizing: tuple[FinalizeProgress, ...] = ()


class Report(Message):
    """At once when captures change; only the changed ones."""

    type: Literal["report"] = "report"
    captures: tuple[CaptureReport, ...]


class Journal(Message):
    """Entries not yet acknowledged, in order."""

    type: Literal["journal"] = "journal"
    entries: tuple[JournalEntry, ...]


class Desired(Message):
    """The whole of what the node should have and do; a higher `revision` replaces a lower one."""

    type: Literal["desired"] = "desired"
    revision: int
    captures: tuple[DesiredCapture, ...] = ()
    finalize: tuple[FinalizeTask, ...] = ()


class Ack(Message):
    """Journal entries up to and with `up_to` are in the database."""

    type: Literal["ack"] = "ack"
    up_to: int


class RequestKeyFrame(Message):
    """Ask the sender for a key frame (PLI) on every video stream of the capture."""

    type: Literal["request_key_frame"] = "request_key_frame"
    capture_id: str


class Goaway(Message):
    """The orchestrator is going down: connect again, to any replica."""

    type: Literal["goaway"] = "goaway"
    reason: str


NodeMessage = Annotated[Hello | Heartbeat | Report | Journal, Field(discriminator="type")]
OrchestratorMessage = Annotated[Desired | Ack | RequestKeyFrame | Goaway, Field(discriminator="type")]

NODE_MESSAGE: TypeAdapter[NodeMessage] = TypeAdapter(NodeMessage)
ORCHESTRATOR_MESSAGE: TypeAdapter[OrchestratorMessage] = TypeAdapter(OrchestratorMessage)


class HeartbeatPost(Message):
    """`POST /api/nodes/ffmpeg-nodes/heartbeat`: a node without a link says all it has to say."""

    node_id: str
    load: NodeLoad = NodeLoad()
    captures: tuple[CaptureReport, ...] = ()
    finalizing: tuple[FinalizeProgress, ...] = ()
    journal: tuple[JournalEntry, ...] = ()


class HeartbeatAnswer(Message):
    """What the orchestrator answers to a posted heartbeat."""

    desired: Desired
    ack: int
