"""Room servers and FFmpeg nodes: registration, heartbeats without a link, and what an operator does with them."""

import hmac
from typing import Annotated, Any

from fastapi import APIRouter, Header, Path, Query, Response
from fastapi.responses import StreamingResponse
from pydantic import AfterValidator

from edumeet_recording.api.deps import ApiDeps, Deps, NodesAdmin, NodesReader, NodeToken
from edumeet_recording.api.node_pages import pages_of_nodes, written
from edumeet_recording.api.node_urls import check_node_url
from edumeet_recording.domain.errors import NotFound, Unauthenticated
from edumeet_recording.domain.failure_domain import FailureDomain
from edumeet_recording.domain.request import FFmpegNodeRegistration, Registered, RoomServerRegistration
from edumeet_recording.store import conduct, views
from edumeet_recording.wire.http import IDENTIFIER, NodeFailureDomain, RegisterFFmpegNode, RegisterRoomServer, storable
from edumeet_recording.wire.node_link import HeartbeatAnswer, HeartbeatPost
from edumeet_recording.wire.room_link import RoomHeartbeat
from edumeet_recording.wire.views import Node, NodeEventList, NodeList, RegisteredNode

router = APIRouter(prefix="/api/nodes", tags=["nodes"])

NodeId = Annotated[str, Path(alias="nodeId", pattern=IDENTIFIER)]
RegistrationSecret = Annotated[str | None, Header(alias="X-Registration-Secret", max_length=1024)]
_KNOWN: dict[int | str, dict[str, Any]] = {
    200: {"model": RegisteredNode, "description": "The id was registered before"}
}


@router.post("/room-servers/register", status_code=201, responses=_KNOWN)
async def register_room_server(
    body: RegisterRoomServer, deps: Deps, token: NodeToken, response: Response, secret: RegistrationSecret = None
) -> RegisteredNode:
    """Introduce a room server; with its token it may register again while it lives."""
    _admit(deps, body.url, secret)
    registration = RoomServerRegistration(
        server_id=body.server_id,
        url=body.url.rstrip("/"),
        region=body.region,
        capacity=body.capacity,
        specs=body.specs.model_dump(by_alias=True, exclude_none=True),
    )
    return _answer(await deps.commands.register_room_server(registration, token), response)


@router.post("/ffmpeg-nodes/register", status_code=201, responses=_KNOWN)
async def register_ffmpeg_node(
    body: RegisterFFmpegNode, deps: Deps, token: NodeToken, response: Response, secret: RegistrationSecret = None
) -> RegisteredNode:
    """Introduce an FFmpeg node; with its token it may register again while it lives."""
    _admit(deps, body.url, secret)
    registration = FFmpegNodeRegistration(
        node_id=body.node_id,
        url=body.url.rstrip("/"),
        region=body.region,
        specs=body.specs.model_dump(by_alias=True, exclude_none=True),
        failure_domain=_failure_domain(body.failure_domain),
        processing_slots=body.processing_slots,
        version=body.version,
    )
    return _answer(await deps.commands.register_ffmpeg_node(registration, token), response)


@router.post("/room-servers/heartbeat", status_code=204)
async def room_server_heartbeat(
    body: Annotated[RoomHeartbeat, AfterValidator(storable)], deps: Deps, token: NodeToken
) -> None:
    """A sign of life of a room server that has no link."""
    await deps.commands.authenticate_node("room-server", body.server_id, token)
    await deps.commands.room_server_heartbeat(body)


@router.post("/ffmpeg-nodes/heartbeat", response_model_exclude_none=True)
async def ffmpeg_node_heartbeat(
    body: Annotated[HeartbeatPost, AfterValidator(storable)], deps: Deps, token: NodeToken
) -> HeartbeatAnswer:
    """What a node without a link observes; the answer is what it should have and do."""
    await deps.commands.authenticate_node("ffmpeg-node", body.node_id, token)
    return await deps.commands.node_heartbeat(body.node_id, body)


@router.get("", response_model=NodeList)
async def list_nodes(deps: Deps, caller: NodesReader) -> Response:  # noqa: ARG001 - the scope is the check
    """All registered room servers and FFmpeg nodes."""
    pieces = await written(NodeList(items=()), pages_of_nodes(deps))
    return StreamingResponse(pieces, media_type="application/json")


@router.get("/{nodeId}")
async def get_node(node_id: NodeId, deps: Deps, caller: NodesReader) -> Node:  # noqa: ARG001 - the scope is the check
    """One room server or FFmpeg node."""
    return await _node(deps, node_id)


@router.get("/{nodeId}/events")
async def node_events(
    node_id: NodeId,
    deps: Deps,
    caller: NodesReader,  # noqa: ARG001 - the scope is the check
    limit: Annotated[int, Query(ge=1, le=200)] = 50,
) -> NodeEventList:
    """What happened to a room server or FFmpeg node, newest first; it need not be registered any more."""
    async with deps.reading() as conn:
        return NodeEventList(items=tuple(await conduct.events_of(conn, node_id, most=limit)))


@router.delete("/{nodeId}", status_code=204)
async def deregister_node(node_id: NodeId, deps: Deps, caller: NodesAdmin) -> None:  # noqa: ARG001 - the scope is the check
    """Take a node out of service; its past recordings stay."""
    await deps.commands.deregister_node(node_id)


@router.post("/{nodeId}/drain")
async def drain(node_id: NodeId, deps: Deps, caller: NodesAdmin) -> Node:  # noqa: ARG001 - the scope is the check
    """Give an FFmpeg node no new captures."""
    await deps.commands.set_draining(node_id, True)
    return await _node(deps, node_id)


@router.post("/{nodeId}/undrain")
async def undrain(node_id: NodeId, deps: Deps, caller: NodesAdmin) -> Node:  # noqa: ARG001 - the scope is the check
    """Give an FFmpeg node captures again, also one that was quarantined."""
    await deps.commands.set_draining(node_id, False)
    return await _node(deps, node_id)


def _admit(deps: ApiDeps, url: str, secret: str | None) -> None:
    expected = deps.settings.registration_secret.get_secret_value()
    if expected and not hmac.compare_digest((secret or "").encode(), expected.encode()):
        raise Unauthenticated("registration needs the right X-Registration-Secret", code="registration_secret")
    check_node_url(url, deps.settings.node_url_allow)


def _failure_domain(named: NodeFailureDomain | None) -> str | None:
    """As it is kept: `zone=…,rack=…,host=…`, or None where nothing is named."""
    return str(FailureDomain(zone=named.zone, rack=named.rack, host=named.host)) or None if named else None


def _answer(registered: Registered, response: Response) -> RegisteredNode:
    response.status_code = 201 if registered.created else 200
    return RegisteredNode(node_id=registered.node_id, token=registered.token, created=registered.created)


async def _node(deps: ApiDeps, node_id: str) -> Node:
    async with deps.reading() as conn:
        found = await views.node(conn, node_id)
    if found is None:
        raise NotFound(f"there is no node {node_id}")
    return found
