"""The API of a Kubernetes cluster whose pods are simulated nodes, so that the real provider drives the simulation.

It knows pods only: make, look at, list by label, delete. A pod is pending while its node boots.
"""

import asyncio
import json
import time
from pathlib import Path
from typing import Any

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse
from starlette.routing import Route

from edumeet_recording.sim.fleet.machines import Machines

NAMESPACE = "edumeet-recording"
PODS = f"/api/v1/namespaces/{NAMESPACE}/pods"
_REGION_LABEL = "topology.kubernetes.io/region"


class Cluster:
    """`boot_s`: how long a pod takes from being asked for until its node registers."""

    def __init__(self, machines: Machines, tasks: asyncio.TaskGroup, boot_s: float) -> None:
        self._machines = machines
        self._tasks = tasks
        self._boot_s = boot_s
        self._pods: dict[str, dict[str, Any]] = {}

    @property
    def routes(self) -> list[Route]:
        """The API's, and /health of the nodes."""
        return [
            Route(PODS, self._list),
            Route(PODS, self._create, methods=["POST"]),
            Route(PODS + "/{name}", self._read),
            Route(PODS + "/{name}", self._delete, methods=["DELETE"]),
            Route("/nodes/{name}/health", self._health),
        ]

    def fail(self, name: str) -> None:
        """The pod's machine is gone, without a word."""
        self._pods.pop(name, None)
        self._machines.stop(name)

    async def _list(self, request: Request) -> JSONResponse:
        """In pages by name, as the real one's: none is there twice, or left out, where others come and go meanwhile."""
        after, most = request.query_params.get("continue", ""), int(request.query_params["limit"])
        names = sorted(name for name in self._pods if name > after)
        more = {"continue": names[most - 1]} if len(names) > most else {}
        items = [self._seen(name, self._pods[name]) for name in names[:most]]
        return JSONResponse({"apiVersion": "v1", "kind": "PodList", "metadata": more, "items": items})

    async def _create(self, request: Request) -> JSONResponse:
        pod = await request.json()
        name = pod["metadata"]["name"]
        if name in self._pods:
            return _status(409, f'pods "{name}" already exists')
        self._pods[name] = pod
        self._machines.start(self._tasks, name, pod["spec"]["nodeSelector"][_REGION_LABEL], self._boot_s)
        return JSONResponse(pod, 201)

    async def _read(self, request: Request) -> JSONResponse:
        name = request.path_params["name"]
        pod = self._pods.get(name)
        return _status(404, name) if pod is None else JSONResponse(self._seen(name, pod))

    async def _delete(self, request: Request) -> JSONResponse:
        name = request.path_params["name"]
        pod = self._pods.pop(name, None)
        if pod is None:
            return _status(404, name)
        self._machines.stop(name)
        return JSONResponse(pod)

    async def _health(self, request: Request) -> JSONResponse:
        there = request.path_params["name"] in self._machines.all
        return JSONResponse({"status": "ok"}) if there else _status(503, "this machine is gone")

    def _seen(self, name: str, pod: dict[str, Any]) -> dict[str, Any]:
        boots = time.monotonic() < self._machines.all[name].boots_until
        return {**pod, "status": {"phase": "Pending" if boots else "Running"}}


def _status(code: int, message: str) -> JSONResponse:
    body = {"kind": "Status", "apiVersion": "v1", "status": "Failure", "message": message, "code": code}
    return JSONResponse(body, code)


def application(cluster: Cluster) -> Starlette:
    """What serves the cluster's API."""
    return Starlette(routes=cluster.routes)


def kubeconfig(path: Path, url: str) -> Path:
    """A file with the way to the cluster at `url`."""
    named = {"name": "simulated"}
    document = {
        "apiVersion": "v1",
        "kind": "Config",
        "current-context": "simulated",
        "contexts": [{**named, "context": {"cluster": "simulated", "user": "simulated"}}],
        "clusters": [{**named, "cluster": {"server": url}}],
        "users": [{**named, "user": {"token": "simulated"}}],
    }
    path.write_text(json.dumps(document))  # which is YAML too
    return path
