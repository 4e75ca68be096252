"""The autoscaler on a real database: what it keeps, what it has the provider do, and that a new leader goes on."""

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import pytest
from tests.integration.control.conftest import SETTINGS, Service

from edumeet_recording.config import OrchestratorSettings
from edumeet_recording.control.autoscale import Autoscaler, new_node_id
from edumeet_recording.control.dispatch import dispatch_tick, drain_tick
from edumeet_recording.providers.base import (
    Instance,
    InstanceState,
    ProviderRefused,
    ProviderUnreachable,
    check_node_id,
)

QUICK = '{"eu": {"downCooldownS": 0, "shrinkAfterS": 0, "upCooldownS": 0, "spareNodes": 0, "nodeMcpu": 100}}'
"""No pause between steps: tests do not wait."""
NO_MINIMUM = QUICK.replace('"eu": {', '"eu": {"minNodes": 0, ')


@dataclass
class Machines:
    """A provider whose nodes are only a list; `refusing` and `away` are raised by its calls, once it is not `slow`."""

    name: str = "machines"
    there: dict[str, Instance] = field(default_factory=dict)
    started: list[str] = field(default_factory=list)
    stopped: list[str] = field(default_factory=list)
    refusing: ProviderRefused | None = None
    away: ProviderUnreachable | None = None
    slow: asyncio.Event | None = None

    async def start(self, region: str, node_id: str, labels: Mapping[str, str]) -> None:
        check_node_id(node_id)
        if self.refusing:
            raise self.refusing
        assert labels == {"region": region}
        self.started.append(node_id)
        self.there[node_id] = Instance(node_id, region, InstanceState.RUNNING)

    async def stop(self, node_id: str) -> None:
        self.stopped.append(node_id)
        del self.there[node_id]

    async def instances(self) -> Sequence[Instance]:
        if self.slow:
            await self.slow.wait()
        if self.away:
            raise self.away
        return list(self.there.values())

    async def aclose(self) -> None:
        return


@dataclass
class Scaled:
    """The service, a provider, and the autoscaler between them."""

    service: Service
    machines: Machines
    settings: OrchestratorSettings

    @property
    def autoscaler(self) -> Autoscaler:
        """A new one each time: nothing may rest on what an earlier leader remembered."""
        return Autoscaler(self.service.commands.db, self.settings, self.machines, self.service.commands.deregister_node)

    async def tick(self) -> None:
        await self.autoscaler.tick()

    async def arrive(self) -> str:
        """The node that was asked for last registers and sends a heartbeat."""
        node_id = self.machines.started[-1]
        await self.service.node(node_id, cores=0.125)
        return node_id

    async def requests(self) -> dict[str, str]:
        rows = await self.service.pool.fetch("SELECT node_id, state FROM fleet_requests ORDER BY asked_at")
        return {row["node_id"]: row["state"] for row in rows}

    async def decisions(self) -> list[tuple[str, str]]:
        rows = await self.service.pool.fetch("SELECT action, reason FROM scaling_events ORDER BY id")
        return [(row["action"], row["reason"]) for row in rows]


def scaled(service: Service, policy: str = QUICK, provider: str = "machines") -> Scaled:
    settings = SETTINGS.model_copy(update={"autoscale_policy": policy})
    return Scaled(service, Machines(provider), settings)


async def test_a_node_is_asked_for_comes_is_drained_and_goes_back(service: Service) -> None:
    fleet = scaled(service, NO_MINIMUM)
    await service.room_server()
    job_id = await service.start()
    await fleet.tick()
    assert await fleet.decisions() == [("start", "demand")]
    await fleet.tick()
    assert len(fleet.machines.started) == 1, "what was asked for is waited for"
    node_id = await fleet.arrive()
    await fleet.tick()
    assert await fleet.requests() == {node_id: "seen"}

    await service.commands.cancel(job_id, None)
    await fleet.tick()
    assert await fleet.requests() == {node_id: "draining"}
    assert await service.pool.fetchval("SELECT is_draining FROM ffmpeg_nodes")
    await fleet.tick()
    assert await fleet.requests() == {node_id: "returned"}
    assert (fleet.machines.stopped, fleet.machines.there) == ([node_id], {})
    assert await service.pool.fetchval("SELECT deregistered_at IS NOT NULL FROM ffmpeg_nodes")
    assert [action for action, _ in await fleet.decisions()] == ["start", "arrived", "drain", "return"]
    data = await service.pool.fetchval("SELECT data FROM scaling_events WHERE action = 'start'")
    assert (data["desired"], data["observed"], data["nodeIds"], data["demandMcpu"] > 0) == (1, 0, [node_id], True)
    assert "are wanted" in data["detail"]


@pytest.mark.parametrize("busy", ["capture", "spool"])
async def test_a_node_with_anything_of_a_recording_stays(service: Service, busy: str) -> None:
    fleet = scaled(service, NO_MINIMUM)
    await service.room_server()
    job_id = await service.start()
    await fleet.tick()
    node_id = await fleet.arrive()
    await fleet.tick()
    if busy == "capture":
        await dispatch_tick(service.commands.db, SETTINGS, service.fleet)
    else:
        await service.commands.cancel(job_id, None)
        await service.pool.execute("UPDATE ffmpeg_nodes SET load = $1", {"spoolBytes": 7})
    await service.commands.set_draining(node_id, True)
    await service.pool.execute("UPDATE fleet_requests SET state = 'draining', drained_at = now()")
    await fleet.tick()
    assert node_id not in fleet.machines.stopped


async def test_who_dies_after_deciding_is_followed_by_one_who_goes_on(service: Service) -> None:
    fleet = scaled(service)
    fleet.machines.away = ProviderUnreachable("no answer")
    await fleet.tick()
    ((node_id, state),) = (await fleet.requests()).items()
    assert (state, fleet.machines.started) == ("asked", [])
    fleet.machines.away = None
    await fleet.tick()
    assert fleet.machines.started == [node_id]


async def test_an_unreachable_provider_is_told_and_tried_again(service: Service) -> None:
    fleet = scaled(service)
    fleet.machines.away = ProviderUnreachable("no answer")
    autoscaler = fleet.autoscaler
    await autoscaler.tick()
    assert autoscaler.trouble == "no answer"
    fleet.machines.slow = asyncio.Event()
    async with asyncio.TaskGroup() as tasks:
        asked_again = tasks.create_task(autoscaler.tick())
        await asyncio.sleep(0)
        assert autoscaler.trouble == "no answer", "nobody knows better while it takes its time"
        fleet.machines.slow.set()
    assert asked_again.done()
    assert autoscaler.trouble == "no answer"
    fleet.machines.away = None
    await autoscaler.tick()
    assert autoscaler.trouble == ""


async def test_a_refusal_is_noted_and_asked_again_later_and_later(service: Service) -> None:
    fleet = scaled(service, QUICK.replace('"upCooldownS": 0', '"upCooldownS": 1000'))
    fleet.machines.refusing = ProviderRefused("quota of 3 nodes")
    for _ in range(2):
        await fleet.tick()
    assert list((await fleet.requests()).values()) == ["failed"]
    assert await fleet.decisions() == [("start", "min_nodes"), ("give_up", "refused")]
    assert await service.pool.fetchval("SELECT data ->> 'detail' FROM scaling_events ORDER BY id DESC LIMIT 1") == (
        "quota of 3 nodes"
    )


async def test_one_that_never_came_is_replaced_and_taken_away(service: Service) -> None:
    fleet = scaled(service)
    await fleet.tick()
    await service.pool.execute("UPDATE fleet_requests SET asked_at = asked_at - interval '301 s'")
    await fleet.tick()
    first, second = fleet.machines.started
    assert await fleet.requests() == {first: "failed", second: "asked"}
    assert fleet.machines.stopped == [first]


async def test_nodes_of_others_are_left_alone(service: Service) -> None:
    fleet = scaled(service, NO_MINIMUM)
    fleet.machines.there["foreign"] = Instance("foreign", "eu", InstanceState.RUNNING)
    await service.node("by-hand")
    await fleet.tick()
    assert (fleet.machines.stopped, await fleet.decisions()) == ([], [])


async def test_two_leaders_ask_once(service: Service) -> None:
    fleet = scaled(service)
    first, second = fleet.autoscaler, fleet.autoscaler
    plans = [(each, await each._plans(None)) for each in (first, second)]
    async with asyncio.TaskGroup() as tasks:
        for autoscaler, seen in plans:
            for plan in seen:
                tasks.create_task(autoscaler._carry_out(plan))
    assert await fleet.decisions() == [("start", "min_nodes")]
    assert len(await fleet.requests()) == 1


async def test_advice_is_given_once_and_nothing_is_done(service: Service) -> None:
    fleet = scaled(service, provider="advisory")
    await service.room_server()
    await service.start()
    for _ in range(3):
        await fleet.tick()
    assert await fleet.decisions() == [("recommend", "demand")]
    assert (await fleet.requests(), fleet.machines.started) == ({}, [])


async def test_evaluating_changes_nothing(service: Service) -> None:
    fleet = scaled(service, '{"eu": {"minNodes": 3}}')
    (answer,) = await fleet.autoscaler.evaluate()
    assert (answer.region, answer.desired_nodes, [step.count for step in answer.steps]) == ("eu", 3, [3])
    assert (await fleet.requests(), await fleet.decisions()) == ({}, [])


async def test_what_moves_away_from_a_leaving_node_counts_once(service: Service) -> None:
    """Make before break: for a moment a recording has two captures."""
    fleet = scaled(service)
    await service.room_server()
    await service.node("node-1")
    await service.start()
    (before,) = await fleet.autoscaler.evaluate()
    await service.node("node-2")
    await service.commands.set_draining("node-1", True)
    await drain_tick(service.commands.db, SETTINGS, service.fleet)
    assert await service.pool.fetchval("SELECT count(*) FROM captures") == 2
    (after,) = await fleet.autoscaler.evaluate()
    assert after.demand_mcpu == before.demand_mcpu > 0


async def test_history_feeds_the_forecast(service: Service) -> None:
    """An hour ago 5000 milli-cores came within half a minute; an older release kept no demand."""
    fleet = scaled(service)
    rows = ((3610, {"current_load": 100}), (3580, {"demand": 5000, "peers": 3}))
    for ago_s, numbers in rows:
        await service.pool.execute(
            "INSERT INTO system_metrics VALUES (DEFAULT, now() - $1 * interval '1 s', 0, 0, 0, 0, 0, 0, 0, 0, $2)",
            ago_s,
            {"eu": numbers},
        )
    (answer,) = await fleet.autoscaler.evaluate()
    assert (answer.cause, answer.expected_mcpu) == ("schedule", 4900)


@pytest.mark.parametrize("region", ["eu-central-1", "EU.West_2", "-", "x" * 64])
def test_node_ids_are_dns_labels(region: str) -> None:
    check_node_id(new_node_id(region))
    assert new_node_id(region) != new_node_id(region)
