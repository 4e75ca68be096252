"""Autoscaling as a caller sees it: capacity, recommendations, dry runs, decisions, numbers for an outside scaler."""

import httpx2
import pytest
from tests.integration.api.conftest import Orchestrator
from tests.unit.api.fakes import bearer


@pytest.fixture
async def fleet(orchestrator: Orchestrator) -> Orchestrator:
    """A node of 3200 milli-cores, and a recording."""
    await orchestrator.service.room_server()
    await orchestrator.service.node()
    await orchestrator.service.start()
    return orchestrator


async def test_capacity_and_recommendations(client: httpx2.AsyncClient, fleet: Orchestrator) -> None:
    capacity = (await client.get("/api/scaling/capacity", headers=bearer())).json()
    (region,) = capacity["regions"]
    assert (capacity["provider"], region["region"], region["capacityMcpu"]) == ("advisory", "eu", 3200)
    assert (region["loadMcpu"], region["demandMcpu"]) == (8, 8)
    assert region["utilisation"] == 8 / 3200
    assert (region["observedNodes"], region["registeredNodes"], region["maxNodes"]) == (1, 1, 10)
    advice = (await client.get("/api/scaling/recommendations", headers=bearer())).json()
    (region,) = advice["regions"]
    assert (region["observedNodes"], region["desiredNodes"], region["cause"]) == (1, 2, "demand")
    (step,) = region["steps"]
    assert (step["action"], step["reason"], step["count"]) == ("start", "demand", 1)
    assert await fleet.service.pool.fetchval("SELECT count(*) FROM fleet_requests") == 0


async def test_a_region_without_capacity_has_no_utilisation(
    client: httpx2.AsyncClient, orchestrator: Orchestrator
) -> None:
    await orchestrator.service.room_server()
    (region,) = (await client.get("/api/scaling/capacity", headers=bearer())).json()["regions"]
    assert (region["capacityMcpu"], region["utilisation"]) == (0, None)


async def test_evaluating_is_a_dry_run_unless_an_admin_says_otherwise(
    client: httpx2.AsyncClient, fleet: Orchestrator
) -> None:
    url, reader = "/api/scaling/evaluate", bearer("metrics:read")
    for body in (None, {}, {"dryRun": True}):
        answer = await client.post(url, json=body, headers=reader)
        assert (answer.status_code, answer.json()["dryRun"]) == (200, True)
    assert (await client.post(url, json={"dryRun": False}, headers=reader)).status_code == 403
    admin = bearer("metrics:read", "nodes:admin")
    assert (await client.post(url, json={"dryRun": False}, headers=admin)).json()["dryRun"] is False
    assert (await client.post(url, json={"dryRun": "no"}, headers=admin)).status_code == 422
    assert (await client.get("/api/scaling/capacity", headers=bearer("nodes:read"))).status_code == 403


async def test_decisions_are_paged_and_filtered(client: httpx2.AsyncClient, fleet: Orchestrator) -> None:
    for number in range(5):
        await fleet.service.pool.execute(
            "INSERT INTO scaling_events (at, region, action, reason, data) VALUES (now(), $1, 'start', 'trend', $2)",
            "eu" if number % 2 else "us",
            {"number": number},
        )
    url = "/api/scaling/history"
    first = (await client.get(f"{url}?limit=2", headers=bearer())).json()
    rest = (await client.get(f"{url}?before={first['nextBefore']}", headers=bearer())).json()
    assert [each["data"]["number"] for each in (*first["items"], *rest["items"])] == [4, 3, 2, 1, 0]
    assert rest["nextBefore"] is None
    one = (await client.get(f"{url}?region=eu&from=2020-01-01T00:00:00Z", headers=bearer())).json()["items"]
    assert [(each["region"], each["reason"], each["data"]["number"]) for each in one] == [
        ("eu", "trend", 3),
        ("eu", "trend", 1),
    ]
    assert (await client.get(f"{url}?to=2020-01-01T00:00:00Z", headers=bearer())).json()["items"] == []


async def test_an_outside_scaler_finds_what_it_needs(client: httpx2.AsyncClient, fleet: Orchestrator) -> None:
    text = (await client.get("/metrics", headers=bearer())).text
    for line in (
        'edumeet_recording_scaling_desired_nodes{region="eu"} 2.0',
        'edumeet_recording_scaling_observed_nodes{region="eu"} 1.0',
        'edumeet_recording_scaling_at_max{region="eu"} 0.0',
        'edumeet_recording_demand_millicores{region="eu"} 8.0',
        'edumeet_recording_recordings_queued{region="eu"} 0.0',
    ):
        assert line in text


async def test_alerts_are_listed(client: httpx2.AsyncClient, orchestrator: Orchestrator) -> None:
    for number, recovered in enumerate((None, "2026-11-22T12:00:00Z", None)):
        await orchestrator.service.pool.execute(
            "INSERT INTO alerts (rule, subject, region, severity, detail, opened_at, seen_at, next_attempt_at, "
            "recovered_at) "
            "VALUES ('node_lost', $1, 'eu', 'warning', 'gone', now(), now(), now(), $2::text::timestamptz)",
            f"node-{number}",
            recovered,
        )
    url = "/api/scaling/alerts"
    listed = (await client.get(url, headers=bearer())).json()["items"]
    assert [(each["subject"], each["rule"], each["recoveredAt"]) for each in listed] == [
        ("node-2", "node_lost", None),
        ("node-0", "node_lost", None),
    ]
    over = (await client.get(f"{url}?state=over", headers=bearer())).json()["items"]
    assert [each["subject"] for each in over] == ["node-1"]
    page = (await client.get(f"{url}?state=all&limit=2", headers=bearer())).json()
    last = (await client.get(f"{url}?state=all&before={page['nextBefore']}", headers=bearer())).json()
    assert [each["subject"] for each in last["items"]] == ["node-0"]
    assert (await client.get(f"{url}?state=some", headers=bearer())).status_code == 422
