"""The manifests are what Kubernetes takes, agree with each other, and name settings that exist."""

import re
from itertools import chain
from pathlib import Path
from typing import Any

import kubernetes_validate
import pytest
import yaml

from edumeet_recording.api import metrics
from edumeet_recording.config import NodeSettings, OrchestratorSettings
from edumeet_recording.providers import kubernetes

VERSIONS = ["1.26", "1.36"]
"""The oldest and the newest that the validator knows."""
FOREIGN = {"ScaledObject"}
"""KEDA's: it has no schema there."""
SETTINGS = {
    "orchestrator": {name.upper() for name in OrchestratorSettings.model_fields},
    "node": {name.upper() for name in NodeSettings.model_fields},
}


def _folder() -> Path:
    return Path(__file__).parents[2] / "deploy/kubernetes"


def _documents() -> list[dict[str, Any]]:
    files = sorted({*_folder().glob("*.yaml")} - {_folder() / "kustomization.yaml"})
    return list(chain.from_iterable(yaml.safe_load_all(path.read_text()) for path in files))


def _named(kind: str, name: str) -> dict[str, Any]:
    (found,) = (each for each in _documents() if (each["kind"], each["metadata"]["name"]) == (kind, name))
    return found


def _container(deployment: str) -> dict[str, Any]:
    (container,) = _named("Deployment", deployment)["spec"]["template"]["spec"]["containers"]
    return container


@pytest.mark.parametrize("version", VERSIONS)
def test_kubernetes_takes_each(version: str) -> None:
    checked = [each for each in _documents() if each["kind"] not in FOREIGN]
    assert {each["kind"] for each in checked} >= {"Deployment", "Role", "Secret", "PodDisruptionBudget"}
    for each in checked:
        kubernetes_validate.validate(each, version, strict=True)


def test_kustomization_has_all_but_examples_and_alternatives() -> None:
    kustomization = yaml.safe_load((_folder() / "kustomization.yaml").read_text())
    there = {path.name for path in _folder().glob("*.yaml")} - {"kustomization.yaml"}
    assert there - {*kustomization["resources"]} == {"secrets.example.yaml", "nodes-by-keda.yaml"}


def test_only_settings_that_exist() -> None:
    given = {
        "orchestrator": {*_named("ConfigMap", "edumeet-recording")["data"]}
        | {*_named("Secret", "edumeet-recording")["stringData"]},
        "node": {each["name"] for each in _container("edumeet-recording-node-eu-north-1")["env"]}
        | {*_named("Secret", "edumeet-recording-node")["stringData"]},
    }
    assert {kind: names - SETTINGS[kind] for kind, names in given.items()} == {"orchestrator": set(), "node": set()}


def test_what_is_referred_to_is_there() -> None:
    there = {(each["kind"], each["metadata"]["name"]) for each in _documents()}
    kinds = {"configMapRef": "ConfigMap", "secretRef": "Secret"}
    for deployment in ("edumeet-recording-orchestrator", "edumeet-recording-node-eu-north-1"):
        for source in _container(deployment)["envFrom"]:
            assert {(kinds[kind], reference["name"]) for kind, reference in source.items()} <= there
    pod = _named("Deployment", "edumeet-recording-orchestrator")["spec"]["template"]["spec"]
    assert ("ServiceAccount", pod["serviceAccountName"]) in there
    assert (
        "Deployment",
        _named("ScaledObject", "edumeet-recording-node-eu-north-1")["spec"]["scaleTargetRef"]["name"],
    ) in there


def test_keda_follows_a_number_that_there_is() -> None:
    (trigger,) = _named("ScaledObject", "edumeet-recording-node-eu-north-1")["spec"]["triggers"]
    query = trigger["metadata"]["query"]
    source = Path(metrics.__file__).read_text()
    followed = re.findall(r"edumeet_recording_(\w+)", query)
    assert len(followed) == 1
    assert f'"{followed[0]}"' in source


def test_the_orchestrator_may_do_what_its_provider_does() -> None:
    source = Path(kubernetes.__file__).read_text()
    verbs = {"read": "get"}
    used = {verbs.get(verb, verb) for verb in re.findall(r"self\._api\.(\w+?)_namespaced_pod", source)}
    (rule,) = _named("Role", "edumeet-recording")["rules"]
    assert (rule["resources"], {*rule["verbs"]}) == (["pods"], used)


def test_the_provider_is_told_what_the_manifests_have() -> None:
    settings = OrchestratorSettings(
        _env_file=None,
        **{name.lower(): value for name, value in _named("ConfigMap", "edumeet-recording")["data"].items()},
    )
    assert settings.kubernetes_node_secret == _named("Secret", "edumeet-recording-node")["metadata"]["name"]
    assert settings.kubernetes_namespace == _named("Namespace", "edumeet-recording")["metadata"]["name"]
    service = _named("Service", "edumeet-recording")
    host = f"{service['metadata']['name']}.{service['metadata']['namespace']}.svc"
    assert settings.autoscale_orchestrator_url == f"http://{host}:{service['spec']['ports'][0]['port']}"
