"""What every provider promises."""

import pytest
from tests.integration.providers.conftest import Kind, opened
from tests.waiting import eventually

from edumeet_recording.domain.errors import InvalidRequest
from edumeet_recording.providers.base import InstanceState, Provider

WAIT_S = 40.0


async def _until(provider: Provider, kind: Kind, *node_ids: str) -> None:
    """Until exactly these nodes run, and are listed as running."""
    expected = set(node_ids) if kind.kill else set()

    async def there() -> bool:
        listed = {each.node_id: each.state for each in await provider.instances()}
        assert listed == dict.fromkeys(expected, InstanceState.RUNNING)
        assert (await kind.running()).keys() == expected
        return True

    await eventually(there, WAIT_S)


async def test_a_node_comes_and_goes(kind: Kind) -> None:
    async with opened(**kind.settings) as provider:
        assert provider.name == kind.settings["autoscale_provider"]
        await provider.start("eu-north-1", "node-a", {"reason": "a test"})
        await provider.start("eu-north-1", "node-a", {"reason": "a test"})
        await provider.start("us-east-1", "node-b", {})
        await _until(provider, kind, "node-a", "node-b")
        regions = {each.node_id: each.region for each in await provider.instances()}
        assert regions == ({"node-a": "eu-north-1", "node-b": "us-east-1"} if kind.kill else {})
        await provider.stop("node-a")
        await provider.stop("node-a")
        await _until(provider, kind, "node-b")
        await provider.stop("node-b")
        await _until(provider, kind)


async def test_a_node_that_dies_runs_again(running_kind: Kind) -> None:
    kind = running_kind
    assert kind.kill
    async with opened(**kind.settings) as provider:
        await provider.start("eu-north-1", "node-a", {})
        await _until(provider, kind, "node-a")
        first = (await kind.running())["node-a"]
        await kind.kill("node-a")

        async def another() -> bool:
            return (await kind.running()).get("node-a", first) != first

        await eventually(another, WAIT_S)
        await provider.stop("node-a")
        await _until(provider, kind)


async def test_a_new_life_of_the_orchestrator_knows_its_nodes(kind: Kind) -> None:
    async with opened(**kind.settings) as provider:
        await provider.start("eu-north-1", "node-a", {})
        await _until(provider, kind, "node-a")
    async with opened(**kind.settings) as provider:
        await _until(provider, kind, "node-a")
        assert [each.region for each in await provider.instances()] == (["eu-north-1"] if kind.kill else [])
        await provider.stop("node-a")
        await _until(provider, kind)


async def test_to_stop_what_is_not_there_is_fine(kind: Kind) -> None:
    async with opened(**kind.settings) as provider:
        await provider.stop("node-a")
        assert list(await provider.instances()) == []


@pytest.mark.parametrize("node_id", ["", "-a", "A", "a_b", "../a", "a" * 64])
async def test_an_id_must_be_one_everywhere(kind: Kind, node_id: str) -> None:
    async with opened(**kind.settings) as provider:
        with pytest.raises(InvalidRequest):
            await provider.start("eu-north-1", node_id, {})
