"""Messages between a node's agent and its capture workers: one JSON object a packet of a SOCK_SEQPACKET pair.

Plain dataclasses and json, for a worker's memory counts per recording and pydantic alone would double it. Unknown
fields are ignored, so that a worker may outlive the release that started it.
"""

import json
from dataclasses import dataclass, fields, is_dataclass
from functools import cache
from types import MappingProxyType
from typing import Any, cast, get_args

PROTOCOL = 1
"""Another number: its captures can be read, drained and shipped, but no capture is given to such a worker."""
MAX_MESSAGE_BYTES = 65536
MAX_FDS = 250
"""The kernel passes at most 253 descriptors with a message (SCM_MAX_FD)."""
SuiteAndKey = tuple[str, str]


@dataclass(frozen=True, slots=True)
class StreamSpec:
    """One stream as it will come: `wire.node_link.Stream`, flat.

    `srtp`: what its sender encrypts with; `srtp_ours`: what we encrypt our feedback with; each suite and key (base64 of
    key and salt). `latched_ssrc`: what an earlier worker took where `ssrc` is not announced; `srtp_index`: the highest
    SRTP packet index that it saw.
    """

    index: int
    kind: str
    codec: str
    payload_type: int
    clock_rate: int
    ssrc: int | None = None
    rtx_payload_type: int | None = None
    rtx_ssrc: int | None = None
    source_ip: str | None = None
    source_port: int | None = None
    srtp: SuiteAndKey | None = None
    srtp_ours: SuiteAndKey | None = None
    latched_ssrc: int | None = None
    srtp_index: int | None = None


@dataclass(frozen=True, slots=True)
class Assign:
    """Record this capture. With the message come its sockets: RTP, RTCP, RTP, RTCP … in the order of the streams."""

    capture_id: str
    job_id: str
    epoch: int
    tape_prefix: str
    first_seq: int
    confirmed: bool
    streams: tuple[StreamSpec, ...]


@dataclass(frozen=True, slots=True)
class Update:
    """The streams are now known to be these."""

    capture_id: str
    confirmed: bool
    streams: tuple[StreamSpec, ...]


@dataclass(frozen=True, slots=True)
class Drain:
    """Read what the kernel still has, close the last chunk, and say `Drained`."""

    capture_id: str


@dataclass(frozen=True, slots=True)
class AskKeyFrame:
    """Send a PLI on every video stream."""

    capture_id: str


@dataclass(frozen=True, slots=True)
class End:
    """Put everything on disk, and end."""


@dataclass(frozen=True, slots=True)
class TrackNumbers:
    """Live numbers of one stream since the worker took it; `ssrc` is the one that is recorded.

    `state`: a `StreamState`; `bitrate_bps`: of the time since the numbers before; `srtp_index`: highest packet index of
    SRTP, without which who has not followed it from its beginning cannot decrypt it (RFC 3711 §3.3.1);
    `key_frame_overdue`: one is needed, and was asked for by RTCP in vain.
    """

    index: int
    ssrc: int | None
    packets: int
    bytes: int
    lost: int
    reordered: int
    recovered: int
    jitter_ms: float
    key_frames: int
    last_packet_at: float | None
    state: str
    bitrate_bps: int
    srtp_index: int | None = None
    key_frame_overdue: bool = False


@dataclass(frozen=True, slots=True)
class CaptureNumbers:
    """Live numbers of one capture; `foreign` counts refused datagrams by cause."""

    capture_id: str
    tracks: tuple[TrackNumbers, ...]
    foreign: dict[str, int]


@dataclass(frozen=True, slots=True)
class Numbers:
    """Once a second, also with nothing to tell: a worker that says nothing hangs."""

    captures: tuple[CaptureNumbers, ...]


@dataclass(frozen=True, slots=True)
class Greeting:
    """First word to an agent that has connected; with it comes the node's listening socket for /health.

    `holds`: how many `Holding` follow.
    """

    protocol: int
    node_id: str
    spool: str
    holds: int


@dataclass(frozen=True, slots=True)
class Holding:
    """A capture that the worker has, told to a new agent; its sockets come along as they came with `Assign`.

    `assign.first_seq` is the first chunk that is not closed yet: those before it lie whole in the spool or are
    shipped, those from there on will be told. `first_packet_at`: epoch seconds.
    """

    assign: Assign
    numbers: CaptureNumbers
    first_packet_at: float | None
    draining: bool


@dataclass(frozen=True, slots=True)
class FirstPacket:
    """The first datagram of the capture is on its way to the tape. `at`: epoch seconds."""

    capture_id: str
    at: float


@dataclass(frozen=True, slots=True)
class ChunkClosed:
    """A chunk lies in the spool under its final name."""

    capture_id: str
    seq: int
    bytes: int
    records: int
    first_ns: int
    last_ns: int


@dataclass(frozen=True, slots=True)
class Drained:
    """All of the capture is in closed chunks; the worker has let go of it."""

    numbers: CaptureNumbers


@dataclass(frozen=True, slots=True)
class Unwritable:
    """The spool cannot be written (`error`: the system's words), or can again (None)."""

    error: str | None


Order = Assign | Update | Drain | AskKeyFrame | End
News = Numbers | FirstPacket | ChunkClosed | Drained | Unwritable
Said = Greeting | Holding | News

_MESSAGES = MappingProxyType({kind.__name__: kind for kind in (*get_args(Order), *get_args(Said))})
_NESTED = MappingProxyType({"streams": StreamSpec, "tracks": TrackNumbers, "captures": CaptureNumbers})


def encode(message: Order | Said) -> bytes:
    """One packet."""
    plain = {"type": type(message).__name__, **_fields_of(message)}
    return json.dumps(plain, default=_fields_of, separators=(",", ":")).encode()


def _fields_of(value: Any) -> dict[str, Any]:
    """Of one dataclass, flat: `asdict` would copy all below it, once a second for every stream."""
    return {name: getattr(value, name) for name in value.__dataclass_fields__}


def decode(packet: bytes) -> Order | Said:
    """The message of one packet. Raises `ValueError` where it is none."""
    values = json.loads(packet)
    try:
        return _build(_MESSAGES[values["type"]], values)
    except (KeyError, TypeError) as error:
        raise ValueError(f"not a message: {error}") from error


def _build(kind: type[Any], values: dict[str, Any]) -> Any:
    known: dict[str, Any] = {}
    for name, item, whole in _plan(kind):
        if name not in values:
            continue
        value = values[name]
        if item is not None:
            value = tuple([_build(item, each) for each in value])
        elif whole is not None:
            value = _build(whole, value)
        elif isinstance(value, list):
            value = tuple(cast("list[Any]", value))
        known[name] = value
    return kind(**known)


@cache
def _plan(kind: type[Any]) -> tuple[tuple[str, type[Any] | None, type[Any] | None], ...]:
    """Of each field its name, the dataclass of its items, and its own: asked of the fields once, not every time."""
    return tuple(
        (field.name, _NESTED.get(field.name), cast("type[Any]", field.type) if is_dataclass(field.type) else None)
        for field in fields(kind)
    )
