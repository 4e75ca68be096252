"""Recordings go on when a node, or a part of one, dies, hangs, is cut off or drained; the files show what that cost."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack

import pytest
import pytest_asyncio
from tests import rtp_ports
from tests.leftovers import children

from edumeet_recording.domain.job import JobStatus
from edumeet_recording.sim.faults import takes
from edumeet_recording.sim.faults.deployment import Deployment, Plan, deployed
from edumeet_recording.sim.faults.invariants import violations
from edumeet_recording.sim.faults.part import stragglers
from edumeet_recording.sim.faults.strikes import Strike, struck
from edumeet_recording.sim.faults.takes import Take
from edumeet_recording.sim.faults.waiting import until
from edumeet_recording.wire.views import Recording

pytestmark = pytest.mark.asyncio(loop_scope="module")

RECORDINGS = 3
CALM_S = 3
"""Recorded before and after a fault."""
TAKEN_OVER_S = 30
"""Where all cores are busy; `make bench-failover` measures how long it really takes."""


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def deployment(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Deployment]:
    """Three nodes, and what outlives them."""
    before = children()
    folder = tmp_path_factory.mktemp("faults")
    async with deployed(folder, Plan(nodes=3, first_port=rtp_ports.FIRST)) as service:
        takes.join(service)
        yield service
        assert await violations(service) == []
    assert stragglers(folder) == {}
    assert children() <= before


async def _nodes_of(deployment: Deployment, recorded: list[Take]) -> dict[str, str]:
    """The node of each recording."""
    return {take.job_id: (await deployment.client.get(take.job_id)).node_id or "" for take in recorded}


async def _taken_over(deployment: Deployment, recorded: list[Take], lost: str) -> None:
    """Until each recording records on another node than the lost one."""

    async def elsewhere() -> bool:
        found = [await deployment.client.get(take.job_id) for take in recorded]
        return all(each.status is JobStatus.RECORDING and each.node_id != lost for each in found)

    await until(elsewhere, f"every recording has left {lost}", TAKEN_OVER_S)


async def _outcome(
    deployment: Deployment, recorded: list[Take], *, anew: bool = False
) -> tuple[list[Recording], float]:
    """The recordings once they are stopped and made, and the longest gap; nothing may be wrong with a file.

    `anew`: where a file lacks something, once it was made anew of what came late.
    """
    await asyncio.sleep(CALM_S)
    await takes.stop(deployment, recorded)
    outcomes = await takes.judged(deployment, recorded)
    if anew:
        outcomes = await takes.made_anew(deployment, recorded, outcomes)
    assert [said for each in outcomes for said in each.failures] == []
    return [each.recording for each in outcomes], max(each.gap_s for each in outcomes)


async def test_the_recordings_of_a_dead_node_go_on(deployment: Deployment) -> None:
    recorded = await takes.start(deployment, RECORDINGS)
    nodes = await _nodes_of(deployment, recorded)
    dead = nodes[recorded[0].job_id]
    await asyncio.sleep(CALM_S)
    await deployment.nodes[dead].part.kill()
    await _taken_over(deployment, recorded, dead)
    _, gap_s = await _outcome(deployment, recorded)
    assert 0 < gap_s < TAKEN_OVER_S
    await deployment.nodes[dead].part.start()
    await until(deployment.healthy, "the node is back", TAKEN_OVER_S)


async def test_a_dead_capture_process_is_replaced_on_the_spot(deployment: Deployment) -> None:
    recorded = await takes.start(deployment, 1)
    nodes = await _nodes_of(deployment, recorded)
    await asyncio.sleep(CALM_S)
    deployment.nodes[nodes[recorded[0].job_id]].part.kill_workers()
    (recording,), gap_s = await _outcome(deployment, recorded)
    assert recording.epoch == 1
    assert gap_s <= 1


async def test_a_node_that_hangs_is_given_up_and_its_media_kept(deployment: Deployment) -> None:
    recorded = await takes.start(deployment, RECORDINGS)
    nodes = await _nodes_of(deployment, recorded)
    hangs = nodes[recorded[0].job_id]
    await asyncio.sleep(CALM_S)
    deployment.nodes[hangs].part.pause()
    await _taken_over(deployment, recorded, hangs)
    deployment.nodes[hangs].part.resume()
    await _outcome(deployment, recorded)


async def test_a_node_that_is_cut_off_records_on_and_is_merged(deployment: Deployment) -> None:
    """Late media make the file anew; then nothing is missing, for the room server sent to it all the while."""
    recorded = await takes.start(deployment, 1)
    nodes = await _nodes_of(deployment, recorded)
    node = deployment.nodes[nodes[recorded[0].job_id]]
    await asyncio.sleep(CALM_S)
    node.cut_off(deployment.diary)
    await _taken_over(deployment, recorded, node.part.name)
    await _outcome(deployment, recorded)
    node.join(deployment.diary)

    async def made_anew() -> bool:
        made = (await deployment.client.get(recorded[0].job_id)).file
        return made is not None and made.version > 1

    await until(made_anew, "the file was made anew", TAKEN_OVER_S)
    _, gap_s = await _outcome(deployment, recorded)
    assert gap_s <= 1


async def test_a_drained_node_loses_nothing(deployment: Deployment) -> None:
    recorded = await takes.start(deployment, RECORDINGS)
    nodes = await _nodes_of(deployment, recorded)
    leaves = nodes[recorded[0].job_id]
    await asyncio.sleep(CALM_S)
    await deployment.client.drain(leaves)
    await _taken_over(deployment, recorded, leaves)
    _, gap_s = await _outcome(deployment, recorded)
    assert gap_s == 0
    await deployment.client.undrain(leaves)


async def test_an_agent_that_is_killed_and_started_again_loses_nothing(deployment: Deployment) -> None:
    recorded = await takes.start(deployment, RECORDINGS)
    nodes = await _nodes_of(deployment, recorded)
    agent = deployment.nodes[nodes[recorded[0].job_id]].part
    await asyncio.sleep(CALM_S)
    await agent.kill_alone()
    await agent.start()
    await until(deployment.healthy, "the node is back", TAKEN_OVER_S)
    _, gap_s = await _outcome(deployment, recorded, anew=True)
    assert gap_s == 0


async def test_a_file_whose_maker_is_killed_is_made_by_another_node(deployment: Deployment) -> None:
    """The third attempt is the last: it must come to the node where nothing is wrong."""
    (take,) = recorded = await takes.start(deployment, 1)
    *bad, _ = deployment.nodes
    async with AsyncExitStack() as hunted:
        for node in bad:
            await hunted.enter_async_context(struck(deployment, Strike.FINALIZER_KILLED, node))
        _, gap_s = await _outcome(deployment, recorded)
    assert gap_s == 0
    events = [each.type async for each in deployment.client.events(take.job_id)]
    assert 1 <= events.count("finalize_retry") <= len(bad)
