"""Request bodies and queries of the REST API: strict types, a bound for every field, unknown fields refused.

What one field can tell is checked here; rules that span fields are in `api/new_recording.py`.
"""

import json
from datetime import UTC, datetime
from typing import Annotated, Literal, TypeVar
from urllib.parse import urlsplit

from pydantic import (
    AfterValidator,
    AwareDatetime,
    BeforeValidator,
    Field,
    IPvAnyAddress,
    ValidationInfo,
    field_validator,
)

from edumeet_recording.domain.codecs import CLOCK_RATE_HZ, Codec, Container, CopyPolicy, Kind, Quality, kind_of
from edumeet_recording.domain.job import JobStatus
from edumeet_recording.domain.request import Forwarding
from edumeet_recording.domain.srtp import KEY_BYTES, is_key
from edumeet_recording.media.ffmpeg_options import MAX_ARGS, MAX_VALUE_CHARS
from edumeet_recording.wire.base import Body, Message

NO_CONTROLS = r"^[^\u0000-\u001f\u007f-\u009f\u2028\u2029]*$"
"""Neither C0, C1, DEL nor Unicode's line separators: what would break a log line, a header or PostgreSQL (NUL)."""

IDENTIFIER = r"^[A-Za-z0-9_][A-Za-z0-9._:@-]{0,127}$"
"""Safe as a path segment: `.` and `..` are not identifiers."""

Identifier = Annotated[str, Field(strict=True, pattern=IDENTIFIER)]
Region = Annotated[str, Field(strict=True, pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$")]
RegionPatterns = Annotated[
    tuple[Annotated[str, Field(strict=True, pattern=r"^([A-Za-z0-9][A-Za-z0-9._-]{0,63}\*?|\*)$")], ...],
    Field(max_length=64, description="Regions, by name or by the beginning of one with * behind it."),
]
Name = Annotated[str, Field(strict=True, min_length=1, max_length=200, pattern=NO_CONTROLS)]
ShortText = Annotated[str, Field(strict=True, max_length=200, pattern=NO_CONTROLS)]
Port = Annotated[int, Field(strict=True, ge=1, le=65535)]
Flag = Annotated[bool, Field(strict=True)]
Milliseconds = Annotated[
    int, Field(strict=True, ge=0, lt=4102444800000, description="Epoch milliseconds, before 2100.")
]


def _is_one(value: object) -> bool:
    return value == 1


def _is_none(value: object) -> bool:
    return value is None


def _lower(value: object) -> object:
    return value.lower() if isinstance(value, str) else value


def _http_url(url: str) -> str:
    """`url` where it is an absolute http(s) URL without credentials, query or fragment; else ValueError."""
    parts = urlsplit(url)
    if parts.scheme not in {"http", "https"} or not parts.hostname:
        raise ValueError("must be an http:// or https:// URL with a host")
    if parts.username is not None or parts.password is not None:
        raise ValueError("must not carry credentials")
    if parts.query or parts.fragment or any(character.isspace() or character == "\\" for character in url):
        raise ValueError("must not have a query, a fragment, spaces or backslashes")
    if parts.port == 0:
        raise ValueError("port 0 cannot be reached")
    return url


def _whole(value: float) -> float:
    return int(value) if value.is_integer() else value


def _of_our_time(at: datetime) -> datetime:
    """`at` in UTC where it is one PostgreSQL can compare; else ValueError."""
    if not 1970 <= at.year < 2100:
        raise ValueError("must be between 1970 and 2100")
    return at.astimezone(UTC)


Instant = Annotated[AwareDatetime, AfterValidator(_of_our_time)]
AnyMessage = TypeVar("AnyMessage", bound=Message)


def storable(message: AnyMessage) -> AnyMessage:
    """A message of our own processes, tolerant by design, where PostgreSQL can keep it; else ValueError."""
    # a lone surrogate does not encode, which is a ValueError too
    text = json.dumps(message.model_dump(), default=str, allow_nan=False, ensure_ascii=False).encode()
    if b"\\u0000" in text:
        raise ValueError("must not hold NUL characters")
    return message


HttpUrl = Annotated[
    str, Field(strict=True, min_length=8, max_length=2048, pattern=NO_CONTROLS), AfterValidator(_http_url)
]
Cores = Annotated[float, Field(strict=True, gt=0, le=4096, allow_inf_nan=False), AfterValidator(_whole)]
Bytes = Annotated[int, Field(strict=True, ge=0, le=2**60)]


class Srtp(Body):
    """What the sender encrypts a stream with. `keyBase64`: master key and salt joined (RFC 4568 §6.1)."""

    suite: Literal["AES_CM_128_HMAC_SHA1_80", "AES_CM_128_HMAC_SHA1_32", "AEAD_AES_128_GCM", "AEAD_AES_256_GCM"]
    key_base64: Annotated[str, Field(strict=True, max_length=60)]

    @field_validator("key_base64")
    @classmethod
    def _of_the_suite(cls, key_base64: str, info: ValidationInfo) -> str:
        suite = info.data.get("suite")
        if suite is not None and not is_key(suite, key_base64):
            raise ValueError(f"{suite} takes {KEY_BYTES[suite]} bytes of key and salt, in base64")
        return key_base64


class RtpStream(Body):
    """One RTP stream of the peer. `port`, `rtcpPort`: the sender's own; `srtp`: where the caller's sender encrypts it.

    `clockRate` in Hz defaults to the codec's (RFC 3551 §6, RFC 7587 §4.1).
    """

    kind: Kind
    codec_name: Annotated[Codec, BeforeValidator(_lower)]
    payload_type: Annotated[int, Field(strict=True, ge=0, le=127)]
    ssrc: Annotated[int, Field(strict=True, ge=1, le=2**32 - 1)] | None = None
    port: Port | None = None
    rtcp_port: Port | None = None
    clock_rate: Annotated[int, Field(strict=True, ge=1, le=2**31 - 1)] | None = None
    channels: Annotated[int, Field(strict=True, ge=1, le=2)] | None = None
    srtp: Srtp | None = None

    @field_validator("codec_name")
    @classmethod
    def _of_the_kind(cls, codec: Codec, info: ValidationInfo) -> Codec:
        kind = info.data.get("kind")
        if kind is not None and kind_of(codec) is not kind:
            raise ValueError(f"{codec} is not {'an' if kind is Kind.AUDIO else 'a'} {kind} codec")
        return codec

    @field_validator("clock_rate")
    @classmethod
    def _of_the_codec(cls, clock_rate: int | None, info: ValidationInfo) -> int | None:
        codec = info.data.get("codec_name")
        if clock_rate is not None and codec is not None and clock_rate != CLOCK_RATE_HZ[codec]:
            raise ValueError(f"{codec} runs at {CLOCK_RATE_HZ[codec]} Hz")
        return clock_rate

    @field_validator("channels")
    @classmethod
    def _only_of_audio(cls, channels: int | None, info: ValidationInfo) -> int | None:
        if channels is not None and info.data.get("kind") is Kind.VIDEO:
            raise ValueError("video has no channels")
        return channels


class PeerInfo(Body):
    """Who is recorded, for the file's report; nothing is decided by it. `joinTime` in epoch milliseconds."""

    peer_id: Name
    display_name: ShortText | None = None
    is_authenticated: Flag | None = None
    roles: Annotated[tuple[ShortText, ...], Field(max_length=32)] = ()
    join_time: Milliseconds | None = None


class RecordingOptions(Body):
    """What the file shall be. `maxDuration` in seconds.

    Frames are kept as they came wherever the format takes their codec; `quality` says what is made of them where not.
    """

    quality: Annotated[
        Quality | None,
        Field(
            description="What video is encoded to where it is not copied, medium unless said; never larger than sent. "
            "low: up to 360 lines and 800 kbit/s (x264 superfast crf 28), audio 48 kbit/s, at most 0.4 GB an hour. "
            "medium: up to 720 lines and 2500 kbit/s (veryfast crf 23), audio 96 kbit/s, at most 1.2 GB. "
            "high: up to 1080 lines and 6000 kbit/s (fast crf 20), audio 128 kbit/s, at most 2.8 GB."
        ),
    ] = None
    format: Annotated[
        Container, Field(description="Without video the file is m4a for mp4, ogg for webm, mka for mkv.")
    ] = Container.MP4
    include_audio: Flag = True
    include_video: Flag = True
    max_duration: Annotated[float, Field(strict=True, ge=1, le=7 * 86400, allow_inf_nan=False)] | None = None
    copy_policy: Annotated[
        CopyPolicy,
        Field(
            alias="copy",
            description="require: frames are kept as they came, or the request is refused; where the picture changes "
            "its size the file is cut into parts. prefer: kept where the format takes the codec, also with a quality "
            "named. never: encoded anew, all of them.",
        ),
    ] = CopyPolicy.PREFER
    thumbnails: Annotated[
        Flag, Field(description="Also make a poster, a picture a minute, and a waveform of the sound.")
    ] = True
    custom_ffmpeg_args: Annotated[
        tuple[Annotated[str, Field(strict=True, max_length=MAX_VALUE_CHARS, pattern=NO_CONTROLS)], ...],
        Field(
            alias="customFFmpegArgs",
            max_length=MAX_ARGS,
            description='Output options for FFmpeg, of an allow-list, such as ["-crf", "20"]; video is encoded anew.',
        ),
    ] = ()
    redundancy: Annotated[
        int,
        Field(
            strict=True,
            ge=1,
            le=2,
            exclude_if=_is_one,
            description="2: two FFmpeg nodes of different failure domains record at once. What one misses the other "
            "has. It costs twice the capacity. Where only one node is to be had, the recording begins with that one.",
        ),
    ] = 1


class RequesterInfo(Body):
    """Where the request came from, as the caller knows it. `timestamp` in epoch milliseconds."""

    ip: IPvAnyAddress | None = None
    timestamp: Milliseconds | None = None

    @field_validator("ip", mode="before")
    @classmethod
    def _written_out(cls, value: object) -> object:
        # ipaddress also takes integers and packed bytes: 5 is not an address anybody means
        if value is not None and not isinstance(value, str):
            raise ValueError("must be an IP address in text form")
        return value


class StartRecording(Body):
    """`POST /api/recordings/start`.

    `forwarding`: who makes the RTP flow. `room-server`: we ask the room server; `client`: the caller reads the target
    from the answer's `rtpForwarding` and sends there itself. `priority` 9 leaves the queue first.
    `allowedRegions`: where tape and file may be, and the nodes that have them in hand; of those its tenant may use.
    """

    # A field that is younger than 0.1.0 is left out where it asks for nothing: releases that are mixed must agree on
    # what the same request is, or a retry with its Idempotency-Key is refused.

    room_server_id: Identifier
    room_id: Name
    peer_id: Name
    peer_info: PeerInfo | None = None
    rtp_streams: Annotated[tuple[RtpStream, ...], Field(min_length=1, max_length=16)]
    options: RecordingOptions = RecordingOptions()
    requester_info: RequesterInfo = RequesterInfo()
    forwarding: Forwarding = "room-server"
    priority: Annotated[int, Field(strict=True, ge=0, le=9)] = 0
    allow_parallel: Flag = False
    allowed_regions: Annotated[RegionPatterns | None, Field(exclude_if=_is_none)] = None


class RoomServerSpecs(Body):
    """The room server's machine; `ram` and `diskSpace` in bytes."""

    cpu_cores: Cores | None = None
    ram: Bytes | None = None
    has_gpu: Annotated[Flag | None, Field(alias="hasGPU")] = None
    disk_space: Bytes | None = None


class FFmpegNodeSpecs(Body):
    """The node's machine: its capacity follows from `cpuCores`; `ram` and `diskSpace` in bytes."""

    cpu_cores: Cores
    ram: Bytes
    has_gpu: Annotated[Flag | None, Field(alias="hasGPU")] = None
    disk_space: Bytes | None = None


class NodeFailureDomain(Body):
    """What a node dies together with; levels that nobody names are not told apart."""

    zone: Identifier | None = None
    rack: Identifier | None = None
    host: Identifier | None = None


def _host_alone(value: object) -> object:
    """Nodes of release 0.1.0 name one thing, in plain text."""
    return {"host": value} if isinstance(value, str) else value


class RegisterRoomServer(Body):
    """`POST /api/nodes/room-servers/register`. `capacity`: peers it can serve."""

    server_id: Identifier
    url: HttpUrl
    region: Region
    capacity: Annotated[int, Field(strict=True, ge=1, le=1_000_000)]
    specs: RoomServerSpecs = RoomServerSpecs()


class RegisterFFmpegNode(Body):
    """`POST /api/nodes/ffmpeg-nodes/register`. Without `nodeId` one is derived from the URL.

    `failureDomain`: the two captures of a recording with `redundancy` 2 differ in the widest level that both nodes
    name; a node that names none is a host of its own.
    """

    url: HttpUrl
    region: Region
    specs: FFmpegNodeSpecs
    node_id: Identifier | None = None
    failure_domain: Annotated[NodeFailureDomain | None, BeforeValidator(_host_alone)] = None
    processing_slots: Annotated[int, Field(strict=True, ge=0, le=256)] = 1
    version: Annotated[str, Field(strict=True, min_length=1, max_length=64, pattern=NO_CONTROLS)] | None = None


class RecordingsQuery(Body):
    """`GET /api/recordings`. `from` and `to` bound the time of creation, `to` excluded; `cursor` continues a page."""

    status: Annotated[tuple[JobStatus, ...], Field(max_length=len(JobStatus))] = ()
    room_server_id: Identifier | None = None
    room_id: Name | None = None
    peer_id: Name | None = None
    region: Region | None = None
    created_from: Annotated[Instant | None, Field(alias="from")] = None
    created_to: Annotated[Instant | None, Field(alias="to")] = None
    cursor: Annotated[str, Field(min_length=1, max_length=512)] | None = None
    limit: Annotated[int, Field(ge=1, le=200)] = 50


class TenantLimits(Body):
    """`PUT /api/tenants/{tenantId}`; what is left out has no limit.

    `allowedRegions`: the only ones in which nodes and storages get anything of the tenant's recordings, from the next
    start on. `share`: of the fleet while recordings wait, against the other tenants, who have 1.
    """

    allowed_regions: RegionPatterns | None = None
    max_active_recordings: Annotated[int, Field(strict=True, ge=0, lt=2**31)] | None = None
    max_queued_recordings: Annotated[int, Field(strict=True, ge=0, lt=2**31)] | None = None
    share: Annotated[int, Field(strict=True, ge=1, le=1000)] = 1


class EventsQuery(Body):
    """`GET /api/recordings/{jobId}/events`: those after event number `after`."""

    after: Annotated[int, Field(ge=0, lt=2**31)] = 0
    limit: Annotated[int, Field(ge=1, le=1000)] = 200


class MetricsQuery(Body):
    """`GET /api/metrics/history`: the last hour unless `from` says otherwise; a limit keeps the newest.

    With `step`, in seconds, the rows of each step are made one by `agg`: avg (unless said), min, max, or last.
    """

    since: Annotated[Instant | None, Field(alias="from")] = None
    until: Annotated[Instant | None, Field(alias="to")] = None
    step: Annotated[int | None, Field(ge=1, le=31 * 86400)] = None
    agg: Literal["avg", "min", "max", "last"] | None = None
    limit: Annotated[int, Field(ge=1, le=10_000)] = 1000
