"""A tenant's regions hold for nodes, tape and files alike, whatever fails; others spill by cost."""

import random

import pytest
from tests.integration.control.conftest import SETTINGS, Service, service_of

from edumeet_recording.control.dispatch import dispatch_tick, drain_tick
from edumeet_recording.control.processing import assign_tick
from edumeet_recording.domain.errors import InvalidRequest
from edumeet_recording.domain.job import JobStatus
from edumeet_recording.domain.queueing import Quota
from edumeet_recording.domain.regions import split_location
from edumeet_recording.domain.tenant import Tenant
from edumeet_recording.store.db import Pool

STORAGES = ("", "eu-1", "eu-2", "us-1")
REGIONS = ("eu-1", "eu-2", "us-1")
WITH_STORAGES = SETTINGS.model_copy(
    update={
        "storage_home": "us-2",
        "storages": type(SETTINGS.storages)('{"eu-1": "file:///eu-1", "eu-2": "file:///eu-2", "us-1": "file:///us-1"}'),
        "region_spill": '{"eu-1": {"us-1": 1, "eu-2": 2}, "us-1": {"eu-1": 1, "eu-2": 1}}',
        "queue_limit": 1000,
    }
)


@pytest.fixture
async def service(db_pool: Pool) -> Service:
    made = service_of(db_pool, WITH_STORAGES)
    await made.room_server("eu", "eu-1")
    await made.room_server("us", "us-1")
    return made


async def fleet(service: Service, *, each: int = 1) -> list[str]:
    names = [f"{region}-{number}" for region in REGIONS for number in range(each)]
    for name in names:
        await service.node(name, region=name[:4], storages=STORAGES)
    return names


async def confine(service: Service, *allowed: str) -> None:
    await service.commands.put_tenant(Tenant("uni", allowed, Quota(), 1))


async def places(service: Service) -> list[tuple[str, str, str]]:
    """Node, region and storage of every capture of the tenant there ever was."""
    rows = await service.pool.fetch(
        "SELECT n.id, n.region, c.storage FROM captures c JOIN ffmpeg_nodes n ON n.id = c.node_id "
        "JOIN recording_jobs j ON j.id = c.job_id WHERE j.tenant_id = 'uni' ORDER BY c.created_at, c.epoch"
    )
    return [tuple(row) for row in rows]


async def test_a_recording_goes_where_it_costs_least_and_its_tape_stays_near(service: Service) -> None:
    await fleet(service)
    await service.start(room_server_id="eu", tenant_id="uni")
    await service.captures.node_lost("eu-1-0", "dead")
    await service.commands.set_draining("eu-1-0", True)
    await service.pool.execute("UPDATE recording_jobs SET not_before = NULL")
    await dispatch_tick(service.commands.db, WITH_STORAGES, service.fleet)
    assert [(region, storage) for _, region, storage in await places(service)] == [("eu-1", "eu-1"), ("us-1", "us-1")]


async def test_a_tenant_is_kept_where_it_may_be_although_that_costs_more(service: Service) -> None:
    await fleet(service)
    await confine(service, "eu-*")
    job_id = await service.start(room_server_id="eu", tenant_id="uni")
    for region in ("eu-1", "eu-2"):
        await service.captures.node_lost(f"{region}-0", "the region is lost")
        await service.commands.set_draining(f"{region}-0", True)
        await service.pool.execute("UPDATE recording_jobs SET not_before = NULL")
        await dispatch_tick(service.commands.db, WITH_STORAGES, service.fleet)
    assert [(region, storage) for _, region, storage in await places(service)] == [("eu-1", "eu-1"), ("eu-2", "eu-2")]
    job = await service.job(job_id)
    assert job.status is JobStatus.PENDING
    assert "region us-1 is not allowed" in (job.reason_detail or "")


async def test_each_that_waits_says_why_though_one_was_tried_for_all(service: Service) -> None:
    await fleet(service)
    await confine(service, "eu-1")
    job_ids = [await service.start(room_server_id="eu", tenant_id="uni", peer_id=peer) for peer in "ab"]
    for capture in (await service.desired("eu-1-0")).captures:
        await service.receive("eu-1-0", capture.capture_id)
    await service.captures.node_lost("eu-1-0", "dead")
    await service.commands.set_draining("eu-1-0", True)
    await service.pool.execute("UPDATE recording_jobs SET not_before = NULL")
    await dispatch_tick(service.commands.db, WITH_STORAGES, service.fleet)
    for job in [await service.job(job_id) for job_id in job_ids]:
        assert job.status is JobStatus.INTERRUPTED
        assert "region us-1 is not allowed" in (job.reason_detail or "")


async def test_a_request_narrows_what_its_tenant_may_and_never_widens_it(service: Service) -> None:
    await fleet(service)
    await confine(service, "eu-*")
    await service.start(room_server_id="us", tenant_id="uni", allowed_regions=("eu-2", "us-1"))
    assert await places(service) == [("eu-2-0", "eu-2", "eu-2")]
    with pytest.raises(InvalidRequest) as refused:
        await service.start(room_server_id="us", tenant_id="uni", peer_id="b", allowed_regions=("us-1",))
    assert (refused.value.code, refused.value.field) == ("region_not_allowed", "allowedRegions")


async def test_the_default_storage_is_nobodys_whose_region_does_not_allow_it(service: Service) -> None:
    await service.node("eu-1-0", region="eu-1")
    await confine(service, "eu-*")
    job_id = await service.start(room_server_id="eu", tenant_id="uni")
    assert "does not know the storage" in ((await service.job(job_id)).reason_detail or "")


async def test_a_change_of_the_limits_does_not_move_what_has_begun(service: Service) -> None:
    await fleet(service)
    await confine(service, "eu-2")
    job_id = await service.start(room_server_id="eu", tenant_id="uni")
    await service.commands.delete_tenant("uni")
    assert (await service.job(job_id)).allowed_regions == ("eu-2",)


async def finish(service: Service, job_id: str) -> None:
    """Stop a recording as its nodes would; whoever may finalizes it."""
    await service.commands.stop(job_id, None)
    for row in await service.pool.fetch("SELECT id, node_id FROM captures WHERE job_id = $1", job_id):
        await service.drain(row["id"], row["node_id"])


@pytest.mark.parametrize("seed", range(3))
async def test_nothing_leaves_the_allowed_regions_whatever_fails(service: Service, seed: int) -> None:
    chance = random.Random(seed)
    names = await fleet(service, each=2)
    await confine(service, "eu-*")
    job_ids = [
        await service.start(room_server_id=chance.choice(["eu", "us"]), tenant_id=tenant, peer_id=f"{tenant}-{peer}")
        for tenant in ("uni", None)
        for peer in range(3)
    ]
    for _ in range(12):
        node_id = chance.choice(names)
        match chance.randrange(4):
            case 0:
                await service.captures.node_lost(node_id, "dead")
            case 1:
                await service.commands.set_draining(node_id, chance.random() < 0.5)
                await drain_tick(service.commands.db, WITH_STORAGES, service.fleet)
            case 2:
                await service.commands.deregister_node(node_id)
                await service.node(node_id, region=node_id[:4], storages=chance.choice([STORAGES, ("", "us-1")]))
            case _:
                for capture in (await service.desired(node_id)).captures:
                    await service.ship(capture.capture_id, node_id, seq=chance.randrange(1000))
        await service.pool.execute("UPDATE recording_jobs SET not_before = NULL")
        await dispatch_tick(service.commands.db, WITH_STORAGES, service.fleet)
    for job_id in job_ids:
        await finish(service, job_id)
    await assign_tick(service.commands.db, WITH_STORAGES)
    inside = {("eu-1", "eu-1"), ("eu-1", "eu-2"), ("eu-2", "eu-1"), ("eu-2", "eu-2")}
    assert {(region, storage) for _, region, storage in await places(service)} <= inside
    for name in names:
        desired = await service.desired(name)
        rows = await service.pool.fetch("SELECT id FROM recording_jobs WHERE tenant_id = 'uni'")
        confined = {row["id"] for row in rows}
        prefixes = [capture.tape_prefix for capture in desired.captures if capture.job_id in confined]
        prefixes += [task.output_prefix for task in desired.finalize if task.job_id in confined]
        assert not prefixes or name.startswith("eu-")
        assert {split_location(prefix)[0] for prefix in prefixes} <= {"eu-1", "eu-2"}
