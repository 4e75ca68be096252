"""The API as Python: one method an endpoint, typed by `wire.http` and `wire.views`."""

from collections.abc import AsyncGenerator, Iterable
from datetime import datetime
from pathlib import Path
from types import TracebackType
from typing import Any, Literal, Self, TypeVar
from urllib.parse import quote
from uuid import uuid4

import httpx2
from pydantic import BaseModel, TypeAdapter

from edumeet_recording.client.connection import Connection
from edumeet_recording.client.download import Asset, Download, Progressed
from edumeet_recording.client.errors import mapped_errors
from edumeet_recording.client.watch import RecordingsMessage, RecordingsWatch
from edumeet_recording.domain.errors import Conflict
from edumeet_recording.domain.job import JobStatus
from edumeet_recording.wire.events import RecordingsFilter
from edumeet_recording.wire.http import RegisterFFmpegNode, RegisterRoomServer, StartRecording, TenantLimits
from edumeet_recording.wire.replicas import ReplicaList, ReplicaView
from edumeet_recording.wire.scaling import (
    AlertPage,
    AlertView,
    Capacity,
    EvaluateScaling,
    Recommendations,
    ScalingHistory,
)
from edumeet_recording.wire.views import (
    JobEvent,
    JobEventPage,
    Liveness,
    Metrics,
    MetricsHistory,
    Node,
    NodeEvent,
    NodeEventList,
    NodeList,
    Readiness,
    Recording,
    RecordingPage,
    RegisteredNode,
    ScalingEvent,
    TenantList,
    TenantView,
)

Answer = TypeVar("Answer", bound=BaseModel)

_NODE: TypeAdapter[Node] = TypeAdapter(Node)
_REPORT = TypeAdapter(dict[str, Any])
LARGEST_PAGE = 200


class RecordingClient:
    """An async context manager; in its block every method may be called, from several tasks at a time.

    Methods raise `ApiError` where the service says no, and `Unavailable` where it cannot be reached, after a few
    attempts. `transport` stands in for the network.
    """

    def __init__(self, base_url: str, token: str = "", *, transport: httpx2.AsyncBaseTransport | None = None) -> None:
        self._connection = Connection(base_url, token, transport)

    async def __aenter__(self) -> Self:
        await self._connection.__aenter__()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._connection.__aexit__(kind, error, trace)

    async def start(self, recording: StartRecording, *, idempotency_key: str | None = None) -> Recording:
        """Start a recording. Without a key of the caller's one is made, so that an attempt that got no answer is
        repeated without starting another."""
        return await self._send(
            Recording,
            "POST",
            "/api/recordings/start",
            body=recording,
            headers={"Idempotency-Key": idempotency_key or uuid4().hex},
        )

    async def stop(self, job_id: str) -> Recording:
        """End a recording and make its file."""
        return await self._send(Recording, "POST", f"/api/recordings/{_segment(job_id)}/stop")

    async def cancel(self, job_id: str) -> Recording:
        """End a recording and throw it away."""
        return await self._send(Recording, "POST", f"/api/recordings/{_segment(job_id)}/cancel")

    async def hold(self, job_id: str) -> Recording:
        """Put a recording under legal hold: nobody can delete it."""
        return await self._send(Recording, "PUT", f"/api/recordings/{_segment(job_id)}/legal-hold")

    async def release(self, job_id: str) -> Recording:
        """Lift a recording's legal hold."""
        return await self._send(Recording, "DELETE", f"/api/recordings/{_segment(job_id)}/legal-hold")

    async def get(self, job_id: str) -> Recording:
        """One recording with its live numbers."""
        return await self._send(Recording, "GET", f"/api/recordings/{_segment(job_id)}")

    async def list(
        self,
        *,
        status: Iterable[JobStatus] = (),
        room_id: str | None = None,
        peer_id: str | None = None,
        region: str | None = None,
        created_from: datetime | None = None,
        created_to: datetime | None = None,
    ) -> AsyncGenerator[Recording]:
        """Recordings, newest first, page by page as they are asked for."""
        wanted = {
            "status": [each.value for each in status],
            "roomId": room_id,
            "peerId": peer_id,
            "region": region,
            "from": created_from and created_from.isoformat(),
            "to": created_to and created_to.isoformat(),
            "limit": LARGEST_PAGE,
        }
        cursor: str | None = None
        while True:
            page = await self._send(RecordingPage, "GET", "/api/recordings", params={**wanted, "cursor": cursor})
            for each in page.items:
                yield each
            cursor = page.next_cursor
            if cursor is None:
                return

    async def events(self, job_id: str) -> AsyncGenerator[JobEvent]:
        """What happened to a recording, in order."""
        after: int | None = 0
        while after is not None:
            path = f"/api/recordings/{_segment(job_id)}/events"
            page = await self._send(JobEventPage, "GET", path, params={"after": after})
            for each in page.items:
                yield each
            after = page.next_after

    async def report(self, job_id: str) -> dict[str, Any]:
        """What finalizing found."""
        response = await self._connection.request("GET", f"/api/recordings/{_segment(job_id)}/report")
        with mapped_errors(self._connection.base_url):
            return _REPORT.validate_json(response.content)

    async def download(
        self, recording: Recording, target: Path, progressed: Progressed = lambda _here, _all: None
    ) -> Path:
        """Fetch the finished file to `target`, resuming what broke off; its checksum is compared with the service's.

        Raises `Conflict` where there is no file (yet), `Damaged` where the checksum differs, `OSError` where it cannot
        be written.
        """
        if recording.file is None:
            raise Conflict(f"recording {recording.job_id} is {recording.status} and has no file", code="no_file")
        return await Download(self._connection, recording.file, target).run(progressed)

    async def report_page(self, job_id: str) -> str:
        """The report as a page for people: HTML that needs nothing else."""
        path = f"/api/recordings/{_segment(job_id)}/report"
        return (await self._connection.request("GET", path, headers={"Accept": "text/html"})).text

    async def assets(self, job_id: str) -> tuple[Asset, ...]:
        """What lies beside the finished file: pictures, waveform, further parts and their manifest."""
        path, report = f"/api/recordings/{_segment(job_id)}/assets", await self.report(job_id)
        return tuple(
            Asset(one["name"], one["kind"], one["bytes"], one["sha256"], f"{path}/{_segment(one['name'])}")
            for one in report.get("assets", ())
        )

    async def asset(self, asset: Asset, target: Path, progressed: Progressed = lambda _here, _all: None) -> Path:
        """Fetch one of them to `target`, as `download` does."""
        return await Download(self._connection, asset, target).run(progressed)

    async def delete(self, job_id: str) -> None:
        """Delete an ended recording with its file."""
        await self._connection.request("DELETE", f"/api/recordings/{_segment(job_id)}")

    def watch_recordings(self, wanted: RecordingsFilter | None = None) -> AsyncGenerator[RecordingsMessage]:
        """A snapshot, then a delta for each event, for ever; over a WebSocket that is opened again when it breaks.

        To be closed with `contextlib.aclosing`.
        """
        headers = self._connection.authorization
        return RecordingsWatch(self._connection.base_url, headers, wanted or RecordingsFilter()).messages()

    async def nodes(self) -> tuple[Node, ...]:
        """All room servers and FFmpeg nodes."""
        return (await self._send(NodeList, "GET", "/api/nodes")).items

    async def node(self, node_id: str) -> Node:
        """One room server or FFmpeg node."""
        return await self._node("GET", f"/api/nodes/{_segment(node_id)}")

    async def node_events(self, node_id: str) -> tuple[NodeEvent, ...]:
        """What happened to a room server or FFmpeg node lately, newest first."""
        return (await self._send(NodeEventList, "GET", f"/api/nodes/{_segment(node_id)}/events")).items

    async def drain(self, node_id: str) -> Node:
        """Give an FFmpeg node no new captures."""
        return await self._node("POST", f"/api/nodes/{_segment(node_id)}/drain")

    async def undrain(self, node_id: str) -> Node:
        """Give an FFmpeg node captures again, also one that was quarantined."""
        return await self._node("POST", f"/api/nodes/{_segment(node_id)}/undrain")

    async def deregister(self, node_id: str) -> None:
        """Take a node out of service."""
        await self._connection.request("DELETE", f"/api/nodes/{_segment(node_id)}")

    async def replicas(self) -> tuple[ReplicaView, ...]:
        """The orchestrators that serve, and who of them leads."""
        return (await self._send(ReplicaList, "GET", "/api/replicas")).items

    async def tenants(self) -> tuple[TenantView, ...]:
        """Tenants that have limits."""
        return (await self._send(TenantList, "GET", "/api/tenants")).items

    async def tenant(self, tenant_id: str) -> TenantView:
        """The limits of one tenant."""
        return await self._send(TenantView, "GET", f"/api/tenants/{_segment(tenant_id)}")

    async def limit_tenant(self, tenant_id: str, limits: TenantLimits) -> TenantView:
        """Replace the limits of a tenant."""
        return await self._send(TenantView, "PUT", f"/api/tenants/{_segment(tenant_id)}", body=limits)

    async def unlimit_tenant(self, tenant_id: str) -> None:
        """Lift the limits of a tenant."""
        await self._connection.request("DELETE", f"/api/tenants/{_segment(tenant_id)}")

    async def register_room_server(
        self, server: RegisterRoomServer, *, registration_secret: str = ""
    ) -> RegisteredNode:
        """Introduce a room server; the answer's token is good for it alone."""
        return await self._register("room-servers", server, registration_secret)

    async def register_ffmpeg_node(self, node: RegisterFFmpegNode, *, registration_secret: str = "") -> RegisteredNode:
        """Introduce an FFmpeg node; the answer's token is good for it alone."""
        return await self._register("ffmpeg-nodes", node, registration_secret)

    async def metrics(self) -> Metrics:
        """The fleet's numbers now."""
        return await self._send(Metrics, "GET", "/api/metrics")

    async def metrics_history(
        self,
        *,
        since: datetime | None = None,
        until: datetime | None = None,
        step_s: int | None = None,
        aggregate: Literal["avg", "min", "max", "last"] | None = None,
    ) -> MetricsHistory:
        """The fleet's numbers in the last hour, or in a span; in steps, each made one number, where `step_s` is."""
        wanted = {
            "from": since and since.isoformat(),
            "to": until and until.isoformat(),
            "step": step_s,
            "agg": aggregate,
        }
        return await self._send(MetricsHistory, "GET", "/api/metrics/history", params=wanted)

    async def capacity(self) -> Capacity:
        """What each region has, and what is asked of it."""
        return await self._send(Capacity, "GET", "/api/scaling/capacity")

    async def evaluate_scaling(self, *, dry_run: bool = True) -> Recommendations:
        """How many nodes each region should have; without `dry_run` the leader sees to it now."""
        return await self._send(Recommendations, "POST", "/api/scaling/evaluate", body=EvaluateScaling(dry_run=dry_run))

    async def scaling_history(self, *, region: str | None = None, most: int = 100) -> tuple[ScalingEvent, ...]:
        """The newest decisions and alerts, newest first."""
        wanted = {"region": region, "limit": most}
        return (await self._send(ScalingHistory, "GET", "/api/scaling/history", params=wanted)).items

    async def alerts(self, state: Literal["open", "over", "all"] = "open") -> tuple[AlertView, ...]:
        """What needs somebody now, or did; the newest hundred."""
        return (await self._send(AlertPage, "GET", "/api/scaling/alerts", params={"state": state})).items

    async def live(self) -> Liveness:
        """Whether the service answers, and its version."""
        return await self._send(Liveness, "GET", "/health")

    async def ready(self) -> Readiness:
        """Raises `ApiError` with status 503 while something the service needs is missing."""
        return await self._send(Readiness, "GET", "/health/ready", repeatable=False)

    async def _register(self, kind: str, body: BaseModel, secret: str) -> RegisteredNode:
        headers = {"X-Registration-Secret": secret} if secret else {}
        # not repeatable: the first attempt may have given the id away together with a token that we never saw
        return await self._send(
            RegisteredNode, "POST", f"/api/nodes/{kind}/register", body=body, headers=headers, repeatable=False
        )

    async def _node(self, method: str, path: str) -> Node:
        response = await self._connection.request(method, path)
        with mapped_errors(self._connection.base_url):
            return _NODE.validate_json(response.content)

    async def _send(
        self,
        expected: type[Answer],
        method: str,
        path: str,
        *,
        params: dict[str, Any] | None = None,
        body: BaseModel | None = None,
        headers: dict[str, str] | None = None,
        repeatable: bool = True,
    ) -> Answer:
        given = {name: value for name, value in (params or {}).items() if value is not None}
        # what was left out stays out: the service's defaults are its own
        text = None if body is None else body.model_dump_json(by_alias=True, exclude_unset=True)
        response = await self._connection.request(
            method, path, params=given, body=text, headers=headers, repeatable=repeatable
        )
        with mapped_errors(self._connection.base_url):
            return expected.model_validate_json(response.content)


def _segment(identifier: str) -> str:
    """An id as one segment of a path, whatever is in it."""
    return quote(identifier, safe="")
