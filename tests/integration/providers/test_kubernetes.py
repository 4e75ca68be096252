"""Nodes as pods, as far as an API that runs nothing can tell."""

from pathlib import Path

import certifi
import pytest
from kubernetes_asyncio.config import incluster_config
from tests.integration.providers.conftest import NOWHERE, Kind, opened
from tests.kubernetes_api import KubernetesApi

from edumeet_recording.domain.errors import InvalidRequest
from edumeet_recording.providers import kubernetes
from edumeet_recording.providers.base import InstanceState, ProviderRefused, ProviderUnreachable


async def test_a_pod_is_where_and_what_was_asked_for(kubernetes_kind: Kind, cluster: KubernetesApi) -> None:
    settings = {
        "autoscale_node_image": "registry.example.org/edumeet-recording:1",
        "autoscale_node_cpus": 1.5,
        "autoscale_node_memory_mb": 1024,
        "autoscale_stop_grace_s": 600,
        "registration_secret": "not for everybody who may read pods",
    }
    async with opened(**kubernetes_kind.settings, **settings) as provider:
        await provider.start("eu-north-1", "node-a", {"reason": "lectures start: in 5 min"})
    pod = cluster.pods["node-a"]
    assert pod["metadata"]["annotations"]["edumeet-recording/reason"] == "lectures start: in 5 min"
    spec, (container,) = pod["spec"], pod["spec"]["containers"]
    assert spec["nodeSelector"] == {"topology.kubernetes.io/region": "eu-north-1"}
    assert (spec["hostNetwork"], spec["terminationGracePeriodSeconds"]) == (True, 600)
    assert container["image"] == "registry.example.org/edumeet-recording:1"
    assert container["resources"] == {"requests": {"cpu": "1500m", "memory": "1024Mi"}, "limits": {"memory": "1024Mi"}}
    told = {each["name"]: each.get("value") for each in container["env"]}
    assert {"NODE_ID": "node-a", "NODE_REGION": "eu-north-1", "ORCHESTRATOR_URL": NOWHERE}.items() <= told.items()
    assert told["NODE_CPUS"] == "1.5", "what the pod has requested, not all that its machine has"
    assert container["envFrom"] == [{"secretRef": {"name": "edumeet-recording-node"}}]
    assert "not for everybody" not in str(pod)


async def test_a_cluster_without_regions(kubernetes_kind: Kind, cluster: KubernetesApi) -> None:
    async with opened(**kubernetes_kind.settings, kubernetes_region_label="") as provider:
        await provider.start("campus", "node-a", {})
        assert [each.region for each in await provider.instances()] == ["campus"]
    assert cluster.pods["node-a"]["spec"]["nodeSelector"] == {}


async def test_more_pods_than_one_answer_holds(kubernetes_kind: Kind, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(kubernetes, "PAGE", 2)
    names = [f"node-{number}" for number in range(5)]
    async with opened(**kubernetes_kind.settings) as provider:
        for name in names:
            await provider.start("eu-north-1", name, {})
        assert [each.node_id for each in await provider.instances()] == names


async def test_what_does_not_come_says_why(kubernetes_kind: Kind, cluster: KubernetesApi) -> None:
    async with opened(**kubernetes_kind.settings) as provider:
        for name in ("node-a", "node-b"):
            await provider.start("eu-north-1", name, {})
        cluster.waits("node-a", "ImagePullBackOff", "no such image")
        cluster.evict("node-b", "The node was low on resource: memory.")
        found = {each.node_id: (each.state, each.detail) for each in await provider.instances()}
    assert found == {
        "node-a": (InstanceState.FAILED, "ImagePullBackOff: no such image"),
        "node-b": (InstanceState.FAILED, "Failed Evicted The node was low on resource: memory."),
    }


async def test_a_container_that_is_made_has_not_failed(kubernetes_kind: Kind, cluster: KubernetesApi) -> None:
    async with opened(**kubernetes_kind.settings) as provider:
        await provider.start("eu-north-1", "node-a", {})
        cluster.waits("node-a", "ContainerCreating", "")
        assert [each.state for each in await provider.instances()] == [InstanceState.STARTING]


async def test_an_id_that_still_ends_is_not_had_again(kubernetes_kind: Kind) -> None:
    async with opened(**kubernetes_kind.settings) as provider:
        await provider.start("eu-north-1", "node-a", {})
        await provider.stop("node-a")
        with pytest.raises(ProviderRefused, match="still ending"):
            await provider.start("eu-north-1", "node-a", {})


@pytest.mark.parametrize(
    ("code", "error"), [(403, ProviderRefused), (429, ProviderUnreachable), (503, ProviderUnreachable)]
)
async def test_refused_or_away(
    kubernetes_kind: Kind, cluster: KubernetesApi, code: int, error: type[Exception]
) -> None:
    cluster.refusal = (code, "its own words")
    async with opened(**kubernetes_kind.settings) as provider:
        with pytest.raises(error, match="its own words"):
            await provider.start("eu-north-1", "node-a", {})
        with pytest.raises(error, match="its own words"):
            await provider.stop("node-a")
        with pytest.raises(error, match="its own words"):
            await provider.instances()


async def test_the_service_account_of_our_own_pod(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("KUBERNETES_SERVICE_HOST", "127.0.0.1")
    monkeypatch.setenv("KUBERNETES_SERVICE_PORT", "9")
    (tmp_path / "token").write_text("ours")
    monkeypatch.setattr(incluster_config, "SERVICE_TOKEN_FILENAME", str(tmp_path / "token"))
    monkeypatch.setattr(incluster_config, "SERVICE_CERT_FILENAME", certifi.where())
    async with opened(autoscale_provider="kubernetes") as provider:
        with pytest.raises(ProviderUnreachable, match=r"127\.0\.0\.1:9 ssl"):
            await provider.instances()


@pytest.mark.parametrize("kubeconfig", ["", "not/there"])
async def test_without_a_way_to_the_cluster_nothing_starts(kubeconfig: str) -> None:
    with pytest.RaisesGroup(pytest.RaisesExc(InvalidRequest, match="no way to Kubernetes")):
        async with opened(autoscale_provider="kubernetes", kubeconfig=kubeconfig):
            raise AssertionError("there is no cluster")
