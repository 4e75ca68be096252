"""Recordings run on while orchestrators, database or storage are away; what is asked meanwhile comes to pass."""

import asyncio
import time
from collections.abc import AsyncIterator

import pytest
import pytest_asyncio
from tests import rtp_ports
from tests.leftovers import children

from edumeet_recording.client import ApiError
from edumeet_recording.domain.job import FINAL, JobStatus
from edumeet_recording.sim.faults import takes
from edumeet_recording.sim.faults.deployment import Deployment, Plan, deployed
from edumeet_recording.sim.faults.invariants import violations
from edumeet_recording.sim.faults.part import stragglers
from edumeet_recording.sim.faults.proxy import Weather
from edumeet_recording.sim.faults.strikes import Strike, struck
from edumeet_recording.sim.faults.takes import Take
from edumeet_recording.sim.faults.waiting import until

pytestmark = pytest.mark.asyncio(loop_scope="module")

RECORDINGS = 3
CALM_S = 2
AWAY_S = 6
CONVERGED_S = 30
STARTS = 5


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def deployment(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Deployment]:
    """Two orchestrators, two nodes and an S3 server."""
    before = children()
    folder = tmp_path_factory.mktemp("faults")
    async with deployed(folder, Plan(replicas=2, nodes=2, s3=True, first_port=rtp_ports.FIRST)) as service:
        takes.join(service)
        yield service
        assert await violations(service) == []
    assert stragglers(folder) == {}
    assert children() <= before


async def _nothing_is_missing(deployment: Deployment, recorded: list[Take]) -> None:
    """Stopped now, each recording gets a file from its first capture, with everything that was sent."""
    await asyncio.sleep(CALM_S)
    await takes.stop(deployment, recorded)
    outcomes = await takes.judged(deployment, recorded)
    assert [said for each in outcomes for said in each.failures] == []
    assert [(each.recording.epoch, each.gap_s) for each in outcomes] == [(1, 0)] * len(recorded)


async def test_another_leads_and_no_start_is_lost(deployment: Deployment) -> None:
    recorded = await takes.start(deployment, RECORDINGS)
    led = deployment.leader()
    assert led is not None

    async def asked(number: int) -> Take:
        await asyncio.sleep(0.2 * number)
        return Take((await deployment.client.start(takes.request(number % takes.PEERS))).job_id, number % takes.PEERS)

    async with asyncio.TaskGroup() as group:
        starting = [group.create_task(asked(number)) for number in range(STARTS)]
        await asyncio.sleep(0.5)
        await deployment.orchestrators[led].kill()

    async def led_again() -> bool:
        return deployment.leader() not in {None, led}

    await until(led_again, "another orchestrator leads", CONVERGED_S)
    started = [each.result() for each in starting]
    await takes.until_all(deployment, started, {JobStatus.RECORDING})
    await deployment.orchestrators[led].start()
    await _nothing_is_missing(deployment, [*recorded, *started])


async def test_all_orchestrators_may_be_away(deployment: Deployment) -> None:
    recorded = await takes.start(deployment, RECORDINGS)
    for part in deployment.orchestrators.values():
        await part.kill()
    await asyncio.sleep(AWAY_S)
    for part in deployment.orchestrators.values():
        await part.start()
    await until(deployment.healthy, "all is healthy again", CONVERGED_S)
    await _nothing_is_missing(deployment, recorded)


async def test_the_database_may_be_killed_and_stay_away(deployment: Deployment) -> None:
    recorded = await takes.start(deployment, RECORDINGS)
    await deployment.database.kill()
    asked_at = time.monotonic()
    with pytest.raises(ApiError) as refused:
        await deployment.client.start(takes.request(0))
    assert (refused.value.status, refused.value.problem.code) == (503, "unavailable")
    assert refused.value.retry_after_s is not None
    await asyncio.sleep(max(0.0, asked_at + AWAY_S - time.monotonic()))
    await deployment.restart_database()
    await until(deployment.healthy, "all is healthy again", CONVERGED_S)
    recorded += await takes.start(deployment, 1)
    await _nothing_is_missing(deployment, recorded)


async def test_the_way_to_the_database_may_carry_nothing(deployment: Deployment) -> None:
    """Worse than a server that is gone: connections stay open, and nobody answers."""
    recorded = await takes.start(deployment, RECORDINGS)
    deployment.database_net.turn(Weather.STALLED)
    await asyncio.sleep(AWAY_S)
    deployment.database_net.turn(Weather.FAIR)
    await until(deployment.healthy, "all is healthy again", CONVERGED_S)
    await _nothing_is_missing(deployment, recorded)


@pytest.mark.parametrize("weather", [Weather.CUT, Weather.REFUSING])
async def test_the_storage_may_be_away(deployment: Deployment, weather: Weather) -> None:
    """Stopped meanwhile, a recording waits for its tape."""
    recorded = await takes.start(deployment, RECORDINGS)
    deployment.storage_net.turn(weather)
    await asyncio.sleep(AWAY_S)
    await takes.stop(deployment, recorded)
    await asyncio.sleep(CALM_S)
    waiting = await takes.until_all(deployment, recorded, {JobStatus.STOPPING})
    assert len(waiting) == RECORDINGS
    deployment.storage_net.turn(Weather.FAIR)
    await _nothing_is_missing(deployment, recorded)


async def test_all_may_be_switched_off_at_once(deployment: Deployment) -> None:
    """The files lack what was sent while nobody was there, and nothing else: all that came before was on a disk."""
    recorded = await takes.start(deployment, RECORDINGS)
    await asyncio.sleep(CALM_S)
    async with struck(deployment, Strike.POWER_OFF, "") as off_at:
        pass

    async def begun_again() -> bool:
        found = await takes.current(deployment, recorded)
        return all(each.status is JobStatus.RECORDING and each.epoch > 1 for each in found)

    await until(begun_again, "every recording goes on", CONVERGED_S)
    off_s = time.time() - off_at
    await asyncio.sleep(CALM_S)
    await takes.stop(deployment, recorded)
    outcomes = await takes.judged(deployment, recorded)
    assert [said for each in outcomes for said in each.failures] == []
    assert all(0 < each.gap_s < off_s + 1 for each in outcomes), [each.gap_s for each in outcomes]
    await until(deployment.healthy, "all is healthy again", CONVERGED_S)


async def test_replicas_restart_one_by_one_without_a_lost_event(deployment: Deployment) -> None:
    told: list[int] = []
    ended: set[str] = set()
    recorded = await takes.start(deployment, RECORDINGS)

    async def watch() -> None:
        async for message in deployment.client.watch_recordings():
            if message.type == "delta":
                told.append(message.seq)
                if message.event.status in FINAL:
                    ended.add(message.event.job_id)
            if ended >= {take.job_id for take in recorded}:
                return

    async with asyncio.TaskGroup() as group:
        watching = group.create_task(watch())
        for part in deployment.orchestrators.values():
            assert await part.end() == 0
            await part.start()
            await until(deployment.healthy, "all is healthy again", CONVERGED_S)
        await _nothing_is_missing(deployment, recorded)
        async with asyncio.timeout(CONVERGED_S):
            await watching
    events = {each.id for take in recorded async for each in deployment.client.events(take.job_id) if each.seq > 1}
    assert {each for each in events if each >= told[0]} <= set(told)
