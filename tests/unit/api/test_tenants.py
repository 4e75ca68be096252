"""Limits of tenants: what may be set, and who may not."""

import httpx2
import pytest
from tests.unit.api.fakes import RecordingCommands, bearer

from edumeet_recording.domain.queueing import Quota
from edumeet_recording.domain.tenant import Tenant

LIMITS = {"allowedRegions": ["eu-*", "us-1"], "maxActiveRecordings": 5, "maxQueuedRecordings": 0, "share": 3}


async def test_limits_are_replaced_whole(client: httpx2.AsyncClient, commands: RecordingCommands) -> None:
    answer = await client.put("/api/tenants/uni", json=LIMITS, headers=bearer())
    assert (answer.status_code, answer.json()) == (201, {"id": "uni", **LIMITS})
    assert commands.calls == [("put_tenant", Tenant("uni", ("eu-*", "us-1"), Quota(5, 0), 3))]


async def test_what_is_left_out_has_no_limit(client: httpx2.AsyncClient, commands: RecordingCommands) -> None:
    await client.put("/api/tenants/uni", json={}, headers=bearer())
    assert commands.calls == [("put_tenant", Tenant("uni", None, Quota(None, None), 1))]


@pytest.mark.parametrize(
    "wrong",
    [
        {"allowedRegions": ["e*u"]},
        {"allowedRegions": [""]},
        {"allowedRegions": "eu"},
        {"maxActiveRecordings": -1},
        {"maxQueuedRecordings": 1.5},
        {"share": 0},
        {"regions": []},
    ],
)
async def test_anything_else_is_refused(
    client: httpx2.AsyncClient, commands: RecordingCommands, wrong: dict[str, object]
) -> None:
    answer = await client.put("/api/tenants/uni", json=wrong, headers=bearer())
    assert answer.status_code == 422
    assert commands.calls == []


async def test_they_can_be_lifted_once(client: httpx2.AsyncClient) -> None:
    assert (await client.delete("/api/tenants/uni", headers=bearer())).status_code == 204
    assert (await client.delete("/api/tenants/gone", headers=bearer())).status_code == 404


@pytest.mark.parametrize("method", ["GET", "PUT", "DELETE"])
async def test_a_tenant_cannot_lift_its_own(
    client: httpx2.AsyncClient, commands: RecordingCommands, method: str
) -> None:
    body = {"json": {}} if method == "PUT" else {}
    answer = await client.request(method, "/api/tenants/uni", headers=bearer(tenant="uni"), **body)
    assert (answer.status_code, answer.json()["code"]) == (403, "tenant_confined")
    assert commands.calls == []
