"""The room server contract: over its link (`WS /api/nodes/room-servers/{id}/link`) or by `POST {url}/{type}`.

Over HTTP the request's JSON (without `type` and `requestId`) is the body, and the result's JSON the answer: 200 for
`configured`/`done`, 4xx/5xx with `{"error": …}` for a refusal. Over the link each request carries a `requestId` that
its result repeats.
"""

from typing import Annotated, Literal

from pydantic import Field, TypeAdapter

from edumeet_recording.domain.capture import CaptureRole
from edumeet_recording.domain.codecs import Codec, Kind
from edumeet_recording.wire.base import Int32, Message
from edumeet_recording.wire.node_link import SrtpKey


class TargetPort(Message):
    """Where one stream is to be sent: RTP to `port`, RTCP to `rtcp_port` unless muxed."""

    index: int
    port: int
    rtcp_port: int


class TargetNode(Message):
    """The node's media address."""

    ip: str
    ports: tuple[TargetPort, ...]


class RequestedStream(Message):
    """A stream as the starter of the recording named it. `port`/`rtcp_port`: the node's ports it is to be sent to."""

    index: int
    kind: Kind
    port: int
    rtcp_port: int
    payload_type: int
    ssrc: int | None = None
    codec_name: Codec
    clock_rate: int
    channels: int | None = None


class SentStream(Message):
    """A stream as it is really sent, from `source_ip`:`source_port`; `srtp`: the key it is encrypted with, if any."""

    index: int
    kind: Kind
    codec_name: Codec
    payload_type: int
    ssrc: int
    clock_rate: int
    channels: int | None = None
    rtx_payload_type: int | None = None
    rtx_ssrc: int | None = None
    source_ip: str | None = None
    source_port: int | None = None
    srtp: SrtpKey | None = None


class ConfigureForwarding(Message):
    """Send this peer's RTP to this node too. The same job and epoch again: what is sent by now, which is the same
    unless the peer has published something more since, or anew.

    Each epoch is a forwarding of its own until it is stopped: two at once are a move, or, with different roles, a peer
    that is recorded twice.
    """

    type: Literal["configure-rtp-forwarding"] = "configure-rtp-forwarding"
    request_id: str = ""
    job_id: str
    epoch: int
    role: CaptureRole = CaptureRole.PRIMARY
    room_id: str
    peer_id: str
    target_node: TargetNode
    rtcp_mux: bool = True
    srtp: SrtpKey | None = None
    rtp_streams: tuple[RequestedStream, ...]


class StopForwarding(Message):
    """Stop sending this job's RTP of this epoch; unknown is fine."""

    type: Literal["stop-rtp-forwarding"] = "stop-rtp-forwarding"
    request_id: str = ""
    job_id: str
    epoch: int


class RequestKeyFrameOf(Message):
    """Ask the publisher for a key frame."""

    type: Literal["request-key-frame"] = "request-key-frame"
    request_id: str = ""
    job_id: str


class Configured(Message):
    """Answer to `configure-rtp-forwarding`."""

    type: Literal["configured"] = "configured"
    request_id: str = ""
    rtcp_mux: bool = True
    rtp_streams: tuple[SentStream, ...]


class Done(Message):
    """Answer to the other two."""

    type: Literal["done"] = "done"
    request_id: str = ""


class RequestRefused(Message):
    """The room server will not or can not; `code` such as `no_such_peer`, `no_such_room`."""

    type: Literal["refused"] = "refused"
    request_id: str = ""
    code: str = "refused"
    error: str


class RoomHello(Message):
    """First message of a room server's link."""

    type: Literal["hello"] = "hello"
    server_id: str


class RoomHeartbeat(Message):
    """Once a few seconds, over the link or by `POST /api/nodes/room-servers/heartbeat`."""

    type: Literal["heartbeat"] = "heartbeat"
    server_id: str
    rooms: Int32 = 0
    peers: Int32 = 0


class PeerChanged(Message):
    """A peer publishes something more, or anew, or no more: who has its media forwarded asks again."""

    type: Literal["peer-changed"] = "peer-changed"
    room_id: str
    peer_id: str


RoomRequest = Annotated[ConfigureForwarding | StopForwarding | RequestKeyFrameOf, Field(discriminator="type")]
RoomMessage = Annotated[
    RoomHello | RoomHeartbeat | PeerChanged | Configured | Done | RequestRefused, Field(discriminator="type")
]

ROOM_REQUEST: TypeAdapter[RoomRequest] = TypeAdapter(RoomRequest)
ROOM_MESSAGE: TypeAdapter[RoomMessage] = TypeAdapter(RoomMessage)
