"""What a caller asks for, checked: the values a recording starts from."""

from dataclasses import dataclass
from typing import Literal

from edumeet_recording.domain.codecs import Codec, Container, CopyPolicy, Kind, Quality

Forwarding = Literal["room-server", "client"]


@dataclass(frozen=True, slots=True)
class SrtpParameters:
    """What a sender encrypts with; `key_base64` is master key and salt joined (RFC 4568 §6.1)."""

    suite: str
    key_base64: str


@dataclass(frozen=True, slots=True)
class RequestStream:
    """One RTP stream to record, as the caller names it; `port` is the sender's own."""

    index: int
    kind: Kind
    codec: Codec
    payload_type: int
    ssrc: int | None
    port: int | None
    rtcp_port: int | None
    clock_rate: int
    channels: int | None
    srtp: SrtpParameters | None = None


@dataclass(frozen=True, slots=True)
class JobOptions:
    """What the file shall be. `quality` None is medium where a transcode is needed, `max_duration_s` None the service's
    limit; `ffmpeg_args` have passed `media.ffmpeg_options.check_options`; `redundancy`: nodes that record it at once.
    """

    container: Container
    quality: Quality | None = None
    include_audio: bool = True
    include_video: bool = True
    max_duration_s: float | None = None
    copy: CopyPolicy = CopyPolicy.PREFER
    thumbnails: bool = True
    ffmpeg_args: tuple[str, ...] = ()
    redundancy: int = 1


@dataclass(frozen=True, slots=True)
class NewJob:
    """A recording that was asked for and is not stored yet.

    `request_sha256` is the digest of the request's body: the same idempotency key with another body is refused.
    """

    tenant_id: str | None
    room_server_id: str
    room_id: str
    peer_id: str
    peer_info: dict[str, object]
    rtp_streams: tuple[RequestStream, ...]
    options: JobOptions
    requester_info: dict[str, object]
    requested_by: str | None
    forwarding: Forwarding
    priority: int
    allow_parallel: bool
    allowed_regions: tuple[str, ...] | None
    idempotency_key: str | None
    request_sha256: bytes


@dataclass(frozen=True, slots=True)
class RoomServerRegistration:
    """A room server that introduces itself. `capacity`: peers it can serve."""

    server_id: str
    url: str
    region: str
    capacity: int
    specs: dict[str, object]


@dataclass(frozen=True, slots=True)
class FFmpegNodeRegistration:
    """An FFmpeg node that introduces itself; without `node_id` one is derived from the URL.

    `specs`: cpuCores, ram (bytes), hasGPU, diskSpace (bytes).
    """

    node_id: str | None
    url: str
    region: str
    specs: dict[str, object]
    failure_domain: str | None = None
    processing_slots: int = 1
    version: str | None = None


@dataclass(frozen=True, slots=True)
class Registered:
    """The answer to a registration; `token` is good for this node only and shown once."""

    node_id: str
    token: str
    created: bool


@dataclass(frozen=True, slots=True)
class StartOutcome:
    """`created` is False where the idempotency key named a job that exists."""

    job_id: str
    created: bool
