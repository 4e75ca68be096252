"""A recording that is confined to a region waits there for a node rather than leave it, with all that is of it."""

import asyncio
import json
from dataclasses import replace
from pathlib import Path

from tests import rtp_ports
from tests.leftovers import children

from edumeet_recording.domain.job import JobStatus
from edumeet_recording.sim.faults import takes
from edumeet_recording.sim.faults.deployment import BUCKET, TENANT, Deployment, Plan, deployed
from edumeet_recording.sim.faults.takes import Take
from edumeet_recording.sim.faults.waiting import until
from edumeet_recording.wire.http import TenantLimits

INSIDE = ("eu-*",)


async def start_confined(deployment: Deployment) -> list[Take]:
    """A recording that its request confines, and one that its tenant does."""
    await deployment.client.limit_tenant(TENANT, TenantLimits(allowed_regions=INSIDE))
    by_tenant = await takes.start(replace(deployment, client=deployment.tenant), 1)
    request = takes.request(1).model_copy(update={"allowed_regions": INSIDE})
    by_request = Take((await deployment.client.start(request)).job_id, 1)
    await takes.until_all(deployment, [by_request], {JobStatus.RECORDING})
    return [*by_tenant, by_request]


def traces(folder: Path, job_id: str) -> list[Path]:
    """Files and folders that are named after a job, or hold its id."""
    paths = [path for path in folder.rglob("*") if not path.is_socket()]
    return [path for path in paths if job_id in str(path) or (path.is_file() and job_id.encode() in path.read_bytes())]


async def test_no_capture_chunk_or_file_leaves_the_allowed_region(tmp_path: Path) -> None:
    before = children()
    inside = tmp_path / "eu"
    inside.mkdir()
    folder = tmp_path / "deployment"
    folder.mkdir()
    places = {"STORAGE_HOME": "us-1", "STORAGES": json.dumps({"eu-1": inside.as_uri()}), "CHUNK_SECONDS": "1"}
    plan = Plan(
        nodes=2,
        regions=("eu-1", "us-1"),
        first_port=rtp_ports.FIRST,
        orchestrator_settings=places,
        node_settings=places,
    )
    async with deployed(folder, plan) as deployment:
        takes.join(deployment)
        confined = await start_confined(deployment)
        free = await takes.start(deployment, 1)
        await asyncio.sleep(1)
        allowed = deployment.nodes["node-1"].part
        await allowed.kill()

        async def refused() -> bool:
            found = await takes.current(deployment, confined)
            return all("us-1 is not allowed" in (each.reason_detail or "") for each in found)

        await until(refused, "what is confined was refused by the other node", 30)
        await takes.until_all(deployment, confined, {JobStatus.INTERRUPTED})
        (elsewhere,) = await takes.until_all(deployment, free, {JobStatus.RECORDING}, 30)
        assert elsewhere.node_id == "node-2"
        await allowed.start()
        for recording in await takes.until_all(deployment, confined, {JobStatus.RECORDING}, 30):
            assert recording.node_id == "node-1"
            assert recording.epoch > 1
        await asyncio.sleep(1)
        await takes.stop(deployment, [*confined, *free])
        outcomes = await takes.judged(deployment, [*confined, *free])
        assert [said for each in outcomes for said in each.failures] == []
        outside = (folder / "storage" / BUCKET, deployment.nodes["node-2"].part.folder)
        for take in confined:
            assert [path for each in outside for path in traces(each, take.job_id)] == []
            assert traces(inside, take.job_id)
        assert all(traces(each, free[0].job_id) for each in outside)
    assert children() <= before
