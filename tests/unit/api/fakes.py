"""What the API acts through, faked: calls are recorded, answers are set by the test."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any, NoReturn

from edumeet_recording.api.auth import Scope, issue_token
from edumeet_recording.control.link_transport import LinkTransport
from edumeet_recording.domain.errors import Unauthenticated, Unavailable
from edumeet_recording.domain.request import Registered, StartOutcome
from edumeet_recording.domain.scaling import Evaluation
from edumeet_recording.wire.node_link import Desired, HeartbeatAnswer
from edumeet_recording.wire.views import RoomServerView

NOW = 1_800_000_000.0
SECRET = "a secret of sixty-four characters and more, so that HS512 takes it too"  # noqa: S105 - a test's own
NODE_TOKEN = "token-of-the-node"  # noqa: S105 - a test's own
SCOPES = tuple(Scope)
ROOM = RoomServerView(
    id="room-1",
    url="http://room-1",
    region="north",
    is_healthy=True,
    is_linked=False,
    capacity=1,
    rooms=0,
    peers=0,
    specs={},
    registered_at=datetime.fromtimestamp(NOW, UTC),
)


def token(*scopes: str, tenant: str | None = None, secret: str = SECRET, now: float = NOW, ttl_s: int = 3600) -> str:
    return issue_token(secret, subject="tester", scopes=scopes or SCOPES, tenant=tenant, ttl_s=ttl_s, now=now)


def bearer(*scopes: str, **claims: Any) -> dict[str, str]:
    return {"Authorization": f"Bearer {token(*scopes, **claims)}"}


@dataclass
class RecordingCommands:
    """Notes what it is asked for; `fails` is raised by every command but the authentication of nodes."""

    fails: Exception | None = None
    calls: list[tuple[Any, ...]] = field(default_factory=list)

    def _note(self, *call: Any) -> None:
        self.calls.append(call)
        if self.fails is not None:
            raise self.fails

    async def start(self, new: Any) -> StartOutcome:
        self._note("start", new)
        return StartOutcome("job-1", created=True)

    async def stop(self, job_id: str, tenant: str | None) -> None:
        self._note("stop", job_id, tenant)

    async def retry(self, job_id: str, tenant: str | None) -> None:
        self._note("retry", job_id, tenant)

    async def cancel(self, job_id: str, tenant: str | None) -> None:
        self._note("cancel", job_id, tenant)

    async def delete(self, job_id: str, tenant: str | None) -> None:
        self._note("delete", job_id, tenant)

    async def hold(self, job_id: str, tenant: str | None, *, held: bool, by: str) -> None:
        self._note("hold", job_id, tenant, held, by)

    async def put_tenant(self, tenant: Any) -> bool:
        self._note("put_tenant", tenant)
        return True

    async def delete_tenant(self, tenant_id: str) -> bool:
        self._note("delete_tenant", tenant_id)
        return tenant_id != "gone"

    async def register_room_server(self, new: Any, token: str | None) -> Registered:
        self._note("register_room_server", new, token)
        return Registered(new.server_id, NODE_TOKEN, created=token is None)

    async def register_ffmpeg_node(self, new: Any, token: str | None) -> Registered:
        self._note("register_ffmpeg_node", new, token)
        return Registered(new.node_id or "node-1", NODE_TOKEN, created=token is None)

    async def deregister_node(self, node_id: str) -> None:
        self._note("deregister_node", node_id)

    async def set_draining(self, node_id: str, draining: bool) -> None:
        self._note("set_draining", node_id, draining)

    async def authenticate_node(self, kind: str, node_id: str, token: str | None) -> None:
        if token != NODE_TOKEN:
            raise Unauthenticated(f"this is not the token of {node_id}")
        self.calls.append(("authenticate_node", kind, node_id))

    async def node_heartbeat(self, node_id: str, post: Any) -> HeartbeatAnswer:
        self._note("node_heartbeat", node_id, post)
        return HeartbeatAnswer(desired=Desired(revision=7), ack=3)

    async def room_server_heartbeat(self, beat: Any) -> None:
        self._note("room_server_heartbeat", beat)


@dataclass
class EchoLinks:
    """Answers each message with itself, once by name; `quit` ends the link, `away` as the database's absence does."""

    served: list[str] = field(default_factory=list)

    async def serve(self, node_id: str, transport: LinkTransport, /) -> None:
        self.served.append(node_id)
        while (text := await transport.receive()) != "quit":
            if text == "away":
                raise ExceptionGroup("in tasks", [ExceptionGroup("in tasks of theirs", [Unavailable("away")])])
            await transport.send(f"{node_id}: {text}")


class NoWebhooks:
    """Those of a database that is away."""

    async def create(self, *_: Any) -> NoReturn:
        raise Unavailable("the database is not available: fake")

    delete = replay = create


class IdleAutoscaler:
    """Has no regions."""

    async def evaluate(self) -> list[Evaluation]:
        return []

    async def soon(self) -> None:
        return


class NoPool:
    """A database that is away."""

    def acquire(self) -> Any:
        return _away()


@asynccontextmanager
async def _away() -> AsyncIterator[NoReturn]:
    raise Unavailable("the database is not available: fake")
    yield
