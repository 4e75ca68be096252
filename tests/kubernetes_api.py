"""A stand-in for Kubernetes' API: it knows pods only, checks each against Kubernetes' own schema, and runs nothing.

What it pretends: a pod is pending at first, runs once it was looked at, and, deleted, is listed as ending until it was
looked at again. It says nothing of scheduling, images or networks.
"""

import asyncio
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from copy import deepcopy
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from uuid import uuid4

import kubernetes_validate
import yaml
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse
from starlette.routing import Route

from edumeet_recording.web import serve

VERSION = "1.31"
TOKEN = "of-the-service-account"  # noqa: S105 - opens nothing
NAMESPACE = "edumeet-recording"
PODS = f"/api/v1/namespaces/{NAMESPACE}/pods"
NOW = "2026-11-22T12:00:00Z"


@dataclass(slots=True)
class KubernetesApi:
    """The cluster; `pods` as the API answers them, `refusal` is what it answers to everything when set."""

    url: str = ""
    pods: dict[str, dict[str, Any]] = field(default_factory=dict)
    refusal: tuple[int, str] | None = None

    def running(self) -> dict[str, str]:
        """Container ids of pods that run, by name."""
        return {
            name: pod["status"]["containerStatuses"][0]["containerID"]
            for name, pod in self.pods.items()
            if pod["status"]["phase"] == "Running"
        }

    def crash(self, name: str) -> None:
        """The node's process ended, and the kubelet has started it again."""
        self.pods[name]["status"] = _running()

    def waits(self, name: str, reason: str, message: str) -> None:
        """The container does not come."""
        state = {"waiting": {"reason": reason, "message": message}}
        self.pods[name]["status"] = {"phase": "Pending", "containerStatuses": [_container(state)]}

    def evict(self, name: str, message: str) -> None:
        """The kubelet gives the pod up."""
        self.pods[name]["status"] = {"phase": "Failed", "reason": "Evicted", "message": message}

    def kubeconfig(self, path: Path) -> Path:
        """A file with the way to this cluster."""
        path.write_text(
            yaml.safe_dump(
                {
                    "apiVersion": "v1",
                    "kind": "Config",
                    "current-context": "test",
                    "contexts": [{"name": "test", "context": {"cluster": "test", "user": "test"}}],
                    "clusters": [{"name": "test", "cluster": {"server": self.url}}],
                    "users": [{"name": "test", "user": {"token": TOKEN}}],
                }
            )
        )
        return path

    async def list(self, request: Request) -> JSONResponse:
        """Pods of a label; each is a step further in its life afterwards."""
        name, value = request.query_params["labelSelector"].split("=")
        ours = [pod for pod in self.pods.values() if pod["metadata"]["labels"].get(name) == value]
        begin, limit = int(request.query_params.get("continue") or 0), int(request.query_params["limit"])
        found = ours[begin : begin + limit]
        more = {"continue": str(begin + limit)} if ours[begin + limit :] else {}
        answer = {"apiVersion": "v1", "kind": "PodList", "metadata": more, "items": deepcopy(found)}
        for pod in found:
            if "deletionTimestamp" in pod["metadata"]:
                del self.pods[pod["metadata"]["name"]]
            elif pod["status"] == {"phase": "Pending"}:
                pod["status"] = _running()
        return JSONResponse(answer)

    async def create(self, request: Request) -> JSONResponse:
        """409 where there is one of that name, 422 where the body is no pod."""
        pod = await request.json()
        name = pod["metadata"]["name"]
        if name in self.pods:
            return _status(409, "AlreadyExists", f'pods "{name}" already exists')
        try:
            kubernetes_validate.validate(pod, VERSION, strict=True)
        except kubernetes_validate.ValidationError as error:
            return _status(422, "Invalid", f"{list(error.path)}: {error.message}")
        pod["status"] = {"phase": "Pending"}
        self.pods[name] = pod
        return JSONResponse(pod, 201)

    async def read(self, request: Request) -> JSONResponse:
        """One pod."""
        name = request.path_params["name"]
        return JSONResponse(self.pods[name]) if name in self.pods else _status(404, "NotFound", name)

    async def delete(self, request: Request) -> JSONResponse:
        """Have a pod end."""
        name = request.path_params["name"]
        if name not in self.pods:
            return _status(404, "NotFound", name)
        pod = self.pods[name]
        pod["metadata"]["deletionTimestamp"] = NOW
        return JSONResponse(pod)


@asynccontextmanager
async def kubernetes_api() -> AsyncIterator[KubernetesApi]:
    """The cluster, until the block is left."""
    cluster = KubernetesApi()
    app = Starlette(
        routes=[
            Route(PODS, cluster.list),
            Route(PODS, cluster.create, methods=["POST"]),
            Route(PODS + "/{name}", cluster.read),
            Route(PODS + "/{name}", cluster.delete, methods=["DELETE"]),
        ]
    )

    async def admitted(scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] == "http":
            if Request(scope).headers.get("authorization") != f"Bearer {TOKEN}":
                await _status(401, "Unauthorized", "who are you?")(scope, receive, send)
                return
            if cluster.refusal:
                code, message = cluster.refusal
                await _status(code, "Refused", message)(scope, receive, send)
                return
        await app(scope, receive, send)

    stop, ready = asyncio.Event(), asyncio.Event()
    with socket.create_server(("127.0.0.1", 0)) as listening:
        cluster.url = f"http://127.0.0.1:{listening.getsockname()[1]}"
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(serve(admitted, listening, stop, ready.set))
            await ready.wait()
            yield cluster
            stop.set()


def _running() -> dict[str, Any]:
    state = {"running": {"startedAt": NOW}}
    return {"phase": "Running", "containerStatuses": [_container(state) | {"ready": True}]}


def _container(state: dict[str, Any]) -> dict[str, Any]:
    return {
        "name": "node",
        "image": "edumeet-recording",
        "imageID": "sha256:1",
        "containerID": f"containerd://{uuid4().hex}",
        "ready": False,
        "restartCount": 0,
        "state": state,
    }


def _status(code: int, reason: str, message: str) -> JSONResponse:
    body = {"kind": "Status", "apiVersion": "v1", "status": "Failure", "message": message, "reason": reason}
    return JSONResponse(body | {"code": code}, code)
