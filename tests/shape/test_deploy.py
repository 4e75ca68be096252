"""What we ship to run the service elsewhere is well formed and speaks of settings that exist."""

import os
import re
import shutil
import subprocess
import tomllib
from pathlib import Path
from typing import Any

import pytest
import yaml

from edumeet_recording.config import NodeSettings, OrchestratorSettings

SETTINGS = {
    "orchestrator": {name.upper() for name in OrchestratorSettings.model_fields},
    "node": {name.upper() for name in NodeSettings.model_fields},
}
FOR_THE_PROCESS = {"HEALTH_URL", "PYTHONUNBUFFERED"}
FOR_COMPOSE = {"POSTGRES_PASSWORD", "PUBLISH"}
UNITS = ["orchestrator", "node"]
INSTALLED = "/opt/edumeet-recording/.venv/bin/edumeet-recording"
EXPOSURE = 3.0
"""Where `systemd-analyze security` begins to be less than content."""


@pytest.fixture(scope="module")
def compose(root: Path) -> dict[str, Any]:
    return yaml.safe_load((root / "docker/docker-compose.yml").read_text())


def test_services_start_after_what_they_need(compose: dict[str, Any]) -> None:
    services = compose["services"]
    assert services.keys() == {"postgres", "orchestrator", "ffmpeg-node", "object-storage"}
    assert services["object-storage"]["profiles"] == ["object-storage"]
    for name, service in services.items():
        for needed, condition in service.get("depends_on", {}).items():
            assert condition == {"condition": "service_healthy"}, name
            assert "healthcheck" in services[needed] or services[needed]["image"] == "edumeet-recording"


def test_every_volume_and_network_is_declared(compose: dict[str, Any]) -> None:
    services = compose["services"].values()
    volumes = {mount.split(":")[0] for service in services for mount in service.get("volumes", [])}
    networks = {network for service in services for network in service.get("networks", [])}
    assert volumes == compose["volumes"].keys()
    assert networks - {"default"} == compose["networks"].keys()


def test_the_database_is_not_published(compose: dict[str, Any]) -> None:
    assert "ports" not in compose["services"]["postgres"]
    assert compose["networks"]["database"] == {"internal": True}


@pytest.mark.parametrize(("service", "kind"), [("orchestrator", "orchestrator"), ("ffmpeg-node", "node")])
def test_compose_sets_only_settings_that_exist(compose: dict[str, Any], service: str, kind: str) -> None:
    assert compose["services"][service]["environment"].keys() <= SETTINGS[kind] | FOR_THE_PROCESS
    assert compose["services"][service]["command"] == [kind]


def test_compose_asks_for_nothing_that_env_example_does_not_name(root: Path) -> None:
    text = (root / "docker/docker-compose.yml").read_text()
    asked = set(re.findall(r"(?<!\$)\$\{(\w+)", text))
    assert asked <= SETTINGS["orchestrator"] | SETTINGS["node"] | FOR_COMPOSE


def test_docker_compose_reads_it(root: Path, tmp_path: Path) -> None:
    if not shutil.which("docker") or subprocess.run(["docker", "compose", "version"], capture_output=True).returncode:
        pytest.skip("docker has no compose plugin here")
    copy = shutil.copytree(root / "docker", tmp_path / "docker")
    shutil.copy(root / ".env.example", tmp_path / ".env")
    subprocess.run(["docker", "compose", "-f", copy / "docker-compose.yml", "config", "--quiet"], check=True)


def test_the_image_copies_what_exists_and_runs_as_a_user(root: Path) -> None:
    text = (root / "docker/Dockerfile").read_text()
    copied = [word for line in re.findall(r"^COPY (?!--from)(.*) \S+$", text, re.MULTILINE) for word in line.split()]
    kept = {line[1:] for line in (root / ".dockerignore").read_text().splitlines() if line.startswith("!")}
    assert [name for name in copied if not (root / name).exists()] == []
    assert set(copied) == kept
    assert re.findall(r"^USER (.*)$", text, re.MULTILINE) == ["edumeet-recording"]


def test_the_image_has_every_provider(root: Path) -> None:
    project = tomllib.loads((root / "pyproject.toml").read_text())["project"]
    providers = {each.removesuffix(".py") for each in os.listdir(root / "src/edumeet_recording/providers")}
    steps = [line for line in (root / "docker/Dockerfile").read_text().splitlines() if "uv sync" in line]
    assert steps
    for step in steps:
        assert set(re.findall(r"--extra (\S+)", step)) == project["optional-dependencies"].keys() & providers


@pytest.mark.parametrize("kind", UNITS)
def test_units_set_only_settings_that_exist(root: Path, kind: str) -> None:
    unit = (root / f"deploy/systemd/edumeet-recording-{kind}.service").read_text()
    names = {
        pair.split("=")[0] for line in re.findall(r"^Environment=(.*)$", unit, re.MULTILINE) for pair in line.split()
    }
    assert names <= SETTINGS[kind] | FOR_THE_PROCESS
    assert f"ExecStart={INSTALLED} {kind}\n" in unit


@pytest.mark.parametrize("kind", UNITS)
def test_systemd_accepts_the_unit_and_finds_it_confined(root: Path, kind: str, tmp_path: Path) -> None:
    if not shutil.which("systemd-analyze"):
        pytest.skip("no systemd-analyze here")
    name = f"edumeet-recording-{kind}.service"
    unit = tmp_path / name
    unit.write_text((root / "deploy/systemd" / name).read_text().replace(INSTALLED, "/bin/true"))
    verified = subprocess.run(["systemd-analyze", "verify", unit], capture_output=True, text=True, check=False)
    assert (verified.returncode, verified.stderr) == (0, "")
    security = subprocess.run(
        ["systemd-analyze", "security", "--offline=true", unit], capture_output=True, text=True, check=True
    )
    exposure = re.search(r"exposure level for \S+: ([\d.]+)", security.stdout)
    assert exposure
    assert float(exposure[1]) <= EXPOSURE
