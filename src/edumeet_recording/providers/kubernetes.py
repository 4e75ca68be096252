"""Nodes as pods of a Kubernetes cluster, one pod a node, on the network of the machine it runs on.

Bare pods, not a Deployment: which one goes is ours to say, after it was drained. The kubelet starts a crashed node
again in its pod, whose volume it keeps; a pod that was evicted stays `failed` until it is stopped, and is not replaced.
"""

import json
from collections.abc import AsyncGenerator, Mapping, Sequence
from contextlib import asynccontextmanager
from typing import Any

import aiohttp
from kubernetes_asyncio.client import ApiClient, ApiException, Configuration, CoreV1Api
from kubernetes_asyncio.config import ConfigException, load_incluster_config, load_kube_config

from edumeet_recording.config import OrchestratorSettings
from edumeet_recording.domain.errors import InvalidRequest
from edumeet_recording.providers.base import (
    Instance,
    InstanceState,
    ProviderRefused,
    ProviderUnreachable,
    check_node_id,
)
from edumeet_recording.providers.launch import settings_of_node

STATE_DIR = "/var/lib/edumeet-recording"
USER = 10001
"""The image's (docker/Dockerfile)."""
REQUEST_TIMEOUT_S = 10.0
PAGE = 500
"""Pods in one answer."""
FLEET, REGION = "edumeet-recording/fleet", "edumeet-recording/region"
"""A label of our pods, and an annotation."""

_NOT_FAILED = {"ContainerCreating", "PodInitializing"}
"""Why a container waits although nothing is wrong."""


class KubernetesProvider:
    """A `Provider` of pods."""

    name = "kubernetes"

    def __init__(self, settings: OrchestratorSettings, orchestrator_url: str, configuration: Configuration) -> None:
        self._settings = settings
        self._orchestrator_url = orchestrator_url
        self._client = ApiClient(configuration)
        self._api = CoreV1Api(self._client)

    @classmethod
    async def open(cls, settings: OrchestratorSettings, orchestrator_url: str) -> "KubernetesProvider":
        """Find the way to the cluster. Raises `InvalidRequest` where KUBECONFIG, or the service account, has none."""
        configuration = Configuration()
        try:
            if settings.kubeconfig:
                await load_kube_config(settings.kubeconfig, client_configuration=configuration, persist_config=False)
            else:
                load_incluster_config(client_configuration=configuration)
        except (ConfigException, OSError) as error:
            raise InvalidRequest(f"no way to Kubernetes: {error}", field="KUBECONFIG") from error
        return cls(settings, orchestrator_url, configuration)

    async def start(self, region: str, node_id: str, labels: Mapping[str, str]) -> None:
        """Make a pod. Raises `ProviderRefused` while one of that id ends."""
        check_node_id(node_id)
        async with _mapped_errors():
            if await self._made(self._pod(region, node_id, labels)):
                return
            there: Any = await self._api.read_namespaced_pod(
                node_id, self._settings.kubernetes_namespace, _request_timeout=REQUEST_TIMEOUT_S
            )
        if there.metadata.deletion_timestamp is not None:
            raise ProviderRefused(f"{node_id} is still ending")

    async def stop(self, node_id: str) -> None:
        """Delete the pod: the kubelet has it drain, and kills it after its grace."""
        async with _mapped_errors():
            try:
                await self._api.delete_namespaced_pod(
                    node_id, self._settings.kubernetes_namespace, _request_timeout=REQUEST_TIMEOUT_S
                )
            except ApiException as error:
                if error.status != 404:
                    raise

    async def instances(self) -> Sequence[Instance]:
        """The pods that carry our label, whatever state they are in."""
        found: list[Instance] = []
        page = ""
        while True:
            async with _mapped_errors():
                pods = await self._page(page)
            found += [_instance(pod) for pod in pods["items"]]
            page = pods["metadata"].get("continue", "")
            if not page:
                return found

    async def _page(self, page: str) -> dict[str, Any]:
        """Some pods, as JSON: the library's own types take half a millisecond each, in which nothing else is done."""
        listed: Any = await self._api.list_namespaced_pod(
            self._settings.kubernetes_namespace,
            label_selector=f"{FLEET}={self._settings.autoscale_fleet}",
            limit=PAGE,
            _continue=page,
            _request_timeout=REQUEST_TIMEOUT_S,
            _preload_content=False,
        )
        # without its content it is aiohttp's answer, whatever the annotations say
        answer: aiohttp.ClientResponse = listed
        body = await answer.read()
        if answer.status != 200:
            raise ApiException(answer.status, f"{answer.reason}: {body[:500].decode(errors='replace')}")
        return json.loads(body)

    async def aclose(self) -> None:
        """Close the connections; the pods go on."""
        await self._client.close()

    async def _made(self, body: Any) -> bool:
        """False where there is one of that name. A plain body will do, whatever the library's annotations say."""
        try:
            await self._api.create_namespaced_pod(
                self._settings.kubernetes_namespace, body, _request_timeout=REQUEST_TIMEOUT_S
            )
        except ApiException as error:
            if error.status == 409:
                return False
            raise
        return True

    def _pod(self, region: str, node_id: str, labels: Mapping[str, str]) -> dict[str, Any]:
        settings = self._settings
        selector = {settings.kubernetes_region_label: region} if settings.kubernetes_region_label else {}
        ours = {
            "app.kubernetes.io/name": "edumeet-recording",
            "app.kubernetes.io/component": "node",
            FLEET: settings.autoscale_fleet,
        }
        spread = {
            "maxSkew": 1,
            "topologyKey": "kubernetes.io/hostname",
            "whenUnsatisfiable": "ScheduleAnyway",
            "labelSelector": {"matchLabels": {FLEET: settings.autoscale_fleet}},
        }
        return {
            "apiVersion": "v1",
            "kind": "Pod",
            "metadata": {
                "name": node_id,
                "labels": ours,
                # annotations, for a label's value may not be any text
                "annotations": {f"edumeet-recording/{name}": text for name, text in labels.items()} | {REGION: region},
            },
            "spec": {
                # thousands of UDP ports; and address translation hides the sender that capture filters by
                "hostNetwork": True,
                "dnsPolicy": "ClusterFirstWithHostNet",
                "nodeSelector": selector,
                "topologySpreadConstraints": [spread],
                "restartPolicy": "Always",
                "terminationGracePeriodSeconds": round(settings.autoscale_stop_grace_s),
                "automountServiceAccountToken": False,
                "securityContext": {
                    "runAsNonRoot": True,
                    "runAsUser": USER,
                    "fsGroup": USER,
                    "seccompProfile": {"type": "RuntimeDefault"},
                },
                "containers": [self._container(region, node_id)],
                "volumes": [{"name": "state", "emptyDir": {}}, {"name": "tmp", "emptyDir": {}}],
            },
        }

    def _container(self, region: str, node_id: str) -> dict[str, Any]:
        settings = self._settings
        memory = f"{settings.autoscale_node_memory_mb}Mi"
        variables = {
            "STATE_DIR": STATE_DIR,
            "NODE_CPUS": f"{settings.autoscale_node_cpus:g}",
            "NODE_HOST": "0.0.0.0",  # noqa: S104 - the orchestrator asks for /health from another machine
            "MEDIA_BIND_IP": "0.0.0.0",  # noqa: S104 - RTP comes from other machines
        } | settings_of_node(settings, self._orchestrator_url, region, node_id)
        machine = {"name": "NODE_FAILURE_DOMAIN", "valueFrom": {"fieldRef": {"fieldPath": "spec.nodeName"}}}
        return {
            "name": "node",
            "image": settings.autoscale_node_image,
            "args": ["node"],
            "env": [machine, *({"name": name, "value": value} for name, value in variables.items())],
            "envFrom": [{"secretRef": {"name": settings.kubernetes_node_secret}}],
            # no limit of processor time: throttled, capture would read its sockets late; NODE_CPUS says what it has
            "resources": {
                "requests": {"cpu": f"{round(settings.autoscale_node_cpus * 1000)}m", "memory": memory},
                "limits": {"memory": memory},
            },
            "volumeMounts": [{"name": "state", "mountPath": STATE_DIR}, {"name": "tmp", "mountPath": "/tmp"}],  # noqa: S108 - inside the container
            "securityContext": {
                "allowPrivilegeEscalation": False,
                "readOnlyRootFilesystem": True,
                "capabilities": {"drop": ["ALL"]},
            },
        }


def _instance(pod: dict[str, Any]) -> Instance:
    metadata = pod["metadata"]
    state, detail = (InstanceState.STOPPING, "") if "deletionTimestamp" in metadata else _state(pod)
    return Instance(metadata["name"], metadata["annotations"].get(REGION, ""), state, detail)


def _state(pod: dict[str, Any]) -> tuple[InstanceState, str]:
    """By phase and by what its container waits for (Pod Lifecycle, kubernetes.io)."""
    status = pod.get("status", {})
    phase = status.get("phase")
    if phase in ("Failed", "Succeeded"):
        return InstanceState.FAILED, " ".join(filter(None, (phase, status.get("reason"), status.get("message"))))
    for container in status.get("containerStatuses", ()):
        waiting = container["state"].get("waiting")
        if waiting and waiting.get("reason") not in _NOT_FAILED:
            return InstanceState.FAILED, f"{waiting.get('reason')}: {waiting.get('message', '')}"
    if phase == "Running":
        return InstanceState.RUNNING, f"on {pod['spec'].get('nodeName')}"
    unmet = (
        each["message"] for each in status.get("conditions", ()) if each["status"] == "False" and "message" in each
    )
    return InstanceState.STARTING, next(unmet, "")


@asynccontextmanager
async def _mapped_errors() -> AsyncGenerator[None]:
    """Raises `ProviderUnreachable` and `ProviderRefused` in place of the library's errors."""
    try:
        yield
    except ApiException as error:
        words = f"Kubernetes answered {error.status} {error.reason}: {str(error.body or '')[:500]}"
        away = not error.status or error.status >= 500 or error.status == 429
        raise (ProviderUnreachable if away else ProviderRefused)(words) from error
    except (aiohttp.ClientError, TimeoutError, OSError) as error:
        raise ProviderUnreachable(f"Kubernetes does not answer: {error or type(error).__name__}") from error
