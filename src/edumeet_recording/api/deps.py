"""What the API is made of and acts through; built in `server/main.py`, handed to every endpoint."""

from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Annotated, Protocol

from fastapi import Depends, Security
from fastapi.security import HTTPAuthorizationCredentials, HTTPBearer
from fastapi.security.base import SecurityBase
from starlette.requests import HTTPConnection, Request

from edumeet_recording.api.auth import Authenticator, Principal, Scope
from edumeet_recording.api.recording_reads import RecordingReads
from edumeet_recording.api.watch_hub import WatchHub
from edumeet_recording.config import OrchestratorSettings
from edumeet_recording.control.link_transport import LinkTransport
from edumeet_recording.domain.request import (
    FFmpegNodeRegistration,
    NewJob,
    Registered,
    RoomServerRegistration,
    StartOutcome,
)
from edumeet_recording.domain.scaling import Evaluation
from edumeet_recording.domain.tenant import Tenant
from edumeet_recording.store.db import Connection, Pool, mapped_errors
from edumeet_recording.store.nodes import NodeKind
from edumeet_recording.wire.node_link import HeartbeatAnswer, HeartbeatPost
from edumeet_recording.wire.room_link import RoomHeartbeat
from edumeet_recording.wire.webhooks import CreatedWebhook


class Commands(Protocol):
    """Everything the API can change. Each raises `domain.errors`; `tenant` None reaches the jobs of all tenants."""

    async def start(self, new: NewJob) -> StartOutcome:
        """Accept a recording, or find the one its idempotency key names."""
        ...

    async def stop(self, job_id: str, tenant: str | None) -> None:
        """End a recording and keep it; a second stop changes nothing."""
        ...

    async def cancel(self, job_id: str, tenant: str | None) -> None:
        """End a recording and throw it away."""
        ...

    async def retry(self, job_id: str, tenant: str | None) -> None:
        """Finalize a failed recording again from its tape."""
        ...

    async def delete(self, job_id: str, tenant: str | None) -> None:
        """Delete an ended recording with its files."""
        ...

    async def hold(self, job_id: str, tenant: str | None, *, held: bool, by: str) -> None:
        """Put a recording under legal hold, or lift that; `by` whom is told in its event."""
        ...

    async def put_tenant(self, tenant: Tenant) -> bool:
        """Replace a tenant's limits; True where it had none."""
        ...

    async def delete_tenant(self, tenant_id: str) -> bool:
        """Lift a tenant's limits; False where it had none."""
        ...

    async def register_room_server(self, new: RoomServerRegistration, token: str | None) -> Registered:
        """Take up a room server; `token` proves that a living id is its own."""
        ...

    async def register_ffmpeg_node(self, new: FFmpegNodeRegistration, token: str | None) -> Registered:
        """Take up an FFmpeg node; `token` proves that a living id is its own."""
        ...

    async def deregister_node(self, node_id: str) -> None:
        """Take a room server or FFmpeg node out of service."""
        ...

    async def set_draining(self, node_id: str, draining: bool) -> None:
        """Give an FFmpeg node no new captures, or give it captures again."""
        ...

    async def authenticate_node(self, kind: NodeKind, node_id: str, token: str | None) -> None:
        """Raises `Unauthenticated` unless `token` is that node's."""
        ...

    async def node_heartbeat(self, node_id: str, post: HeartbeatPost) -> HeartbeatAnswer:
        """Take what a node without a link says, and answer what it should do."""
        ...

    async def room_server_heartbeat(self, beat: RoomHeartbeat) -> None:
        """Take a room server's sign of life."""
        ...


class Webhooks(Protocol):
    """The receivers of events; `tenant` None reaches those of all tenants."""

    async def create(self, url: str, tenant: str | None) -> CreatedWebhook:
        """Have events posted to `url` from now on."""
        ...

    async def delete(self, endpoint_id: str, tenant: str | None) -> None:
        """Send it nothing more."""
        ...

    async def replay(self, endpoint_id: str, tenant: str | None) -> int:
        """Deliver again what was given up; how many events that are."""
        ...


class Autoscaler(Protocol):
    """Says how large the fleet should be."""

    async def evaluate(self) -> list[Evaluation]:
        """What should be done now in each region; does nothing."""
        ...

    async def soon(self) -> None:
        """Have it done."""
        ...


class Links(Protocol):
    """Serves the links of one kind of node."""

    async def serve(self, node_id: str, transport: LinkTransport, /) -> None:
        """Speak with the node until its link ends."""
        ...


class FileStore(Protocol):
    """Where finished files are. Each raises `domain.errors`."""

    async def stat(self, key: str) -> object | None:
        """None where there is no such object."""
        ...

    async def signed_url(self, key: str, expires_s: float) -> str | None:
        """A URL that anyone may fetch the object by for a while; None where the store knows none."""
        ...

    def stream(self, key: str, start: int, end: int) -> AsyncIterator[bytes]:
        """Bytes `start` up to and without `end`."""
        ...


@dataclass(frozen=True, slots=True)
class ApiDeps:
    """`checks`: what readiness depends on, by name; a check raises a domain error that says what is missing.

    `leads`: whether this replica runs the loops.
    """

    settings: OrchestratorSettings
    pool: Pool
    commands: Commands
    recordings: RecordingReads
    node_links: Links
    room_links: Links
    storage: FileStore
    watch: WatchHub
    webhooks: Webhooks
    autoscaler: Autoscaler
    authenticator: Authenticator
    checks: Mapping[str, Callable[[], Awaitable[None]]]
    leads: Callable[[], bool]

    @asynccontextmanager
    async def reading(self) -> AsyncGenerator[Connection]:
        """A connection to read views with. Raises `Unavailable` where the database is away."""
        async with mapped_errors(), self.pool.acquire() as conn:
            yield conn


def deps_of(connection: HTTPConnection) -> ApiDeps:
    """The parts of the app that serves `connection`."""
    return connection.app.state.deps


async def _deps(connection: HTTPConnection) -> ApiDeps:
    """A coroutine, for FastAPI gives plain functions to a thread, which costs more than most requests."""
    return deps_of(connection)


Deps = Annotated[ApiDeps, Depends(_deps)]

_bearer = HTTPBearer(auto_error=False, bearerFormat="JWT", scheme_name="token")
_node_bearer = HTTPBearer(auto_error=False, scheme_name="nodeToken")


class _Needs(SecurityBase):
    """The caller, whose token is good for `scope`.

    A dependency without others: each that FastAPI solves takes a request longer than reading its body does.
    """

    def __init__(self, scope: Scope) -> None:
        self.model, self.scheme_name = _bearer.model, _bearer.scheme_name
        self._scope = scope

    async def __call__(self, request: Request) -> Principal:
        """Raises what `Authenticator.verify` and `Principal.require` do."""
        given = await _bearer(request)
        principal = await deps_of(request).authenticator.verify(given.credentials if given else None)
        principal.require(self._scope)
        return principal


async def _node_token(
    credentials: Annotated[HTTPAuthorizationCredentials | None, Security(_node_bearer)],
) -> str | None:
    return credentials.credentials if credentials else None


RecordingsReader = Annotated[Principal, Security(_Needs(Scope.RECORDINGS_READ))]
RecordingsWriter = Annotated[Principal, Security(_Needs(Scope.RECORDINGS_WRITE))]
RecordingsAdmin = Annotated[Principal, Security(_Needs(Scope.RECORDINGS_ADMIN))]
NodesReader = Annotated[Principal, Security(_Needs(Scope.NODES_READ))]
NodesAdmin = Annotated[Principal, Security(_Needs(Scope.NODES_ADMIN))]
MetricsReader = Annotated[Principal, Security(_Needs(Scope.METRICS_READ))]
NodeToken = Annotated[str | None, Depends(_node_token)]
