"""Nodes as containers: what goes wrong, and what a node sees."""

from pathlib import Path

import pytest
from tests.integration.providers.conftest import Kind, opened
from tests.podman import Podman
from tests.waiting import eventually

from edumeet_recording.providers.base import ProviderRefused, ProviderUnreachable


@pytest.fixture(autouse=True, scope="module")
def _service(podman_service: Podman) -> None:
    """It comes before the test, so that it is not what a test leaves behind."""


async def test_a_node_logs_in_its_container(docker_kind: Kind, podman_service: Podman) -> None:
    async with opened(**docker_kind.settings, autoscale_fleet="another") as provider:
        await provider.start("eu-north-1", "node-a", {"reason": "a test"})

        async def speaks() -> str:
            log = podman_service.log("another-node-a")
            return log if "node starts" in log else ""

        log = await eventually(speaks, 30)
        assert "node-a" in log
        (container,) = podman_service.containers()
        assert container["Labels"]["reason"] == "a test"
    async with opened(**docker_kind.settings) as provider:
        assert list(await provider.instances()) == []


async def test_without_the_image_it_is_refused(docker_kind: Kind) -> None:
    async with opened(**docker_kind.settings | {"autoscale_node_image": "localhost/not-there"}) as provider:
        with pytest.raises(ProviderRefused, match="not-there"):
            await provider.start("eu-north-1", "node-a", {})


async def test_without_docker_it_is_unreachable(docker_kind: Kind, tmp_path: Path) -> None:
    async with opened(**docker_kind.settings | {"docker_url": f"unix://{tmp_path}/none.sock"}) as provider:
        with pytest.raises(ProviderUnreachable, match=r"none\.sock"):
            await provider.instances()
