"""Nodes, metrics and health as a caller sees them, and keys from a JWKS."""

import asyncio
import json
from dataclasses import replace
from pathlib import Path

import httpx2
import jwt
import pytest
from cryptography.hazmat.primitives.asymmetric import rsa
from fastapi import FastAPI
from starlette.responses import JSONResponse, Response
from tests.integration.api.conftest import Orchestrator, listening
from tests.unit.api import seed
from tests.unit.api.fakes import NOW, bearer

from edumeet_recording.api.app import create_app
from edumeet_recording.api.auth import Authenticator
from edumeet_recording.api.health import FRESH_S
from edumeet_recording.config import OrchestratorSettings
from edumeet_recording.control.metrics import metrics_tick
from edumeet_recording.domain.errors import Unauthenticated, Unavailable


async def test_the_first_pages_nodes_register_and_show(client: httpx2.AsyncClient) -> None:
    room = await client.post("/api/nodes/room-servers/register", content=seed.ROOM_SERVER)
    node = await client.post("/api/nodes/ffmpeg-nodes/register", content=seed.FFMPEG_NODE)
    assert (room.status_code, node.status_code) == (201, 201)
    node_id, token = node.json()["nodeId"], node.json()["token"]
    listed = (await client.get("/api/nodes", headers=bearer())).json()["items"]
    assert [(each["kind"], each["id"]) for each in listed] == [
        ("room-server", "room-server-1"),
        ("ffmpeg-node", node_id),
    ]
    assert listed[0]["specs"] == {"cpuCores": 8, "ram": 16777216000, "hasGPU": False, "diskSpace": 107374182400}
    assert (listed[1]["isHealthy"], listed[1]["isLinked"], listed[1]["capacityMcpu"] > 0) == (False, False, True)
    assert listed[1]["healthReason"]

    beat = {"nodeId": node_id, "load": {"cpuPercent": 12.5}}
    url = "/api/nodes/ffmpeg-nodes/heartbeat"
    assert (await client.post(url, json=beat, headers={"Authorization": "Bearer other"})).status_code == 401
    answer = await client.post(url, json=beat, headers={"Authorization": f"Bearer {token}"})
    assert (answer.status_code, answer.json()["desired"]["type"]) == (200, "desired")
    shown = (await client.get(f"/api/nodes/{node_id}", headers=bearer())).json()
    assert (shown["isHealthy"], shown["load"]["cpuPercent"]) == (True, 12.5)

    assert (await client.post("/api/nodes/ffmpeg-nodes/register", content=seed.FFMPEG_NODE)).status_code == 409
    own = {"Authorization": f"Bearer {token}"}
    again = await client.post("/api/nodes/ffmpeg-nodes/register", content=seed.FFMPEG_NODE, headers=own)
    assert (again.status_code, again.json()["created"]) == (200, False)


async def test_a_node_is_drained_and_deregistered(client: httpx2.AsyncClient, orchestrator: Orchestrator) -> None:
    await orchestrator.service.node()
    for action, draining in (("drain", True), ("undrain", False)):
        answer = await client.post(f"/api/nodes/node-1/{action}", headers=bearer())
        assert (answer.status_code, answer.json()["isDraining"]) == (200, draining)
    assert (await client.delete("/api/nodes/node-1", headers=bearer())).status_code == 204
    for method, path in (("GET", ""), ("DELETE", ""), ("POST", "/drain"), ("POST", "/undrain")):
        answer = await client.request(method, f"/api/nodes/node-1{path}", headers=bearer())
        assert answer.status_code == 404


async def test_a_room_server_without_a_link_sends_heartbeats(client: httpx2.AsyncClient) -> None:
    registered = (await client.post("/api/nodes/room-servers/register", content=seed.ROOM_SERVER)).json()
    beat = {"serverId": "room-server-1", "rooms": 3, "peers": 40}
    headers = {"Authorization": f"Bearer {registered['token']}"}
    answer = await client.post("/api/nodes/room-servers/heartbeat", json=beat, headers=headers)
    assert (answer.status_code, answer.content) == (204, b"")
    shown = (await client.get("/api/nodes/room-server-1", headers=bearer())).json()
    assert (shown["rooms"], shown["peers"]) == (3, 40)


async def test_metrics_now_then_and_for_prometheus(client: httpx2.AsyncClient, orchestrator: Orchestrator) -> None:
    service = orchestrator.service
    await service.room_server()
    await service.node()
    await service.start()
    now = (await client.get("/api/metrics", headers=bearer())).json()
    assert (now["totalFfmpegNodes"], now["healthyFfmpegNodes"], now["activeRecordings"]) == (1, 1, 1)
    assert now["regionalMetrics"]["eu"]["currentLoad"] == now["currentLoad"] > 0
    assert (await client.get("/api/metrics/history", headers=bearer())).json() == {"items": []}
    for _ in range(3):
        await metrics_tick(service.commands.db)
    history = (await client.get("/api/metrics/history?limit=2", headers=bearer())).json()["items"]
    assert [each["activeRecordings"] for each in history] == [1, 1]
    assert history[0]["timestamp"] < history[1]["timestamp"]
    wrong = await client.get("/api/metrics/history?from=2030-01-01T00:00:00Z&to=2029-01-01T00:00:00Z", headers=bearer())
    assert (wrong.status_code, wrong.json()["errors"][0]["field"]) == (422, "from")
    steps = (await client.get("/api/metrics/history?step=3600&agg=max", headers=bearer())).json()["items"]
    assert [(each["activeRecordings"], each["regionalMetrics"]["eu"]["activeRecordings"]) for each in steps] == [(1, 1)]
    for query, field in (("step=1", "step"), ("agg=max", "agg"), ("step=0", "step"), ("step=60&agg=sum", "agg")):
        wrong = await client.get(f"/api/metrics/history?{query}", headers=bearer())
        assert (wrong.status_code, wrong.json()["errors"][0]["field"]) == (422, field)
    scraped = await client.get("/metrics", headers=bearer())
    assert scraped.headers["content-type"].startswith("text/plain; version=0.0.4")
    assert 'edumeet_recording_ffmpeg_nodes_healthy{region="eu"} 1.0' in scraped.text
    assert "process_cpu_seconds_total" in scraped.text


async def test_health_says_what_is_missing(orchestrator: Orchestrator) -> None:
    asked = 0

    async def leader() -> None:
        nonlocal asked
        asked += 1
        raise Unavailable("no replica leads yet")

    app = create_app(replace(orchestrator.deps, checks={**orchestrator.deps.checks, "leader": leader}))
    for checked, status in ((orchestrator.app, 200), (app, 503)):
        async with httpx2.AsyncClient(transport=httpx2.ASGITransport(checked), base_url="http://x") as client:
            alive = await client.get("/health")
            assert (alive.status_code, alive.json()["status"]) == (200, "ok")
            ready = await client.get("/health/ready")
            assert ready.status_code == status
            await client.get("/health/ready")
    assert ready.json()["status"] == "not_ready"
    assert ready.json()["missing"] == {"leader": "no replica leads yet"}
    assert asked == 1, f"an outcome holds for {FRESH_S} s"


async def test_a_check_that_hangs_counts_as_missing(
    orchestrator: Orchestrator, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("edumeet_recording.api.health.CHECK_TIMEOUT_S", 0.02)
    app = create_app(replace(orchestrator.deps, checks={"storage": asyncio.Event().wait}))
    async with httpx2.AsyncClient(transport=httpx2.ASGITransport(app), base_url="http://x") as client:
        ready = await client.get("/health/ready")
    assert (ready.status_code, ready.json()["missing"]) == (503, {"storage": "no answer within 0.02 s"})


async def test_a_database_that_is_away_is_a_503(orchestrator: Orchestrator) -> None:
    await orchestrator.service.pool.close()
    async with httpx2.AsyncClient(transport=httpx2.ASGITransport(orchestrator.app), base_url="http://x") as client:
        for path in ("/api/recordings", "/api/nodes", "/api/metrics", "/api/recordings/job-1"):
            answer = await client.get(path, headers=bearer())
            assert (answer.status_code, answer.json()["code"]) == (503, "unavailable")
        start = await client.post("/api/recordings/start", content=seed.START, headers=bearer())
        assert (start.status_code, start.headers["retry-after"]) == (503, "2")


async def test_keys_of_a_jwks_are_fetched_when_needed() -> None:
    keys = {name: rsa.generate_private_key(public_exponent=65537, key_size=2048) for name in ("a", "b")}
    published = ["a"]
    asked = 0
    app = FastAPI()

    @app.get("/jwks")
    def jwks() -> Response:
        nonlocal asked
        asked += 1
        if not published:
            return Response(status_code=500)
        as_jwk = jwt.algorithms.RSAAlgorithm.to_jwk
        return JSONResponse(
            {"keys": [as_jwk(keys[name].public_key(), as_dict=True) | {"kid": name} for name in published]}
        )

    def token(name: str) -> str:
        return jwt.encode({"sub": name, "exp": NOW + 10**6}, keys[name], algorithm="RS256", headers={"kid": name})

    async with listening(app) as host:
        now = [NOW]
        settings = OrchestratorSettings(_env_file=None, jwt_jwks_url=f"http://{host}/jwks")
        guard = Authenticator(settings, lambda: now[0])
        assert (await guard.verify(token("a"))).subject == "a"
        for _ in range(3):
            with pytest.raises(Unauthenticated):
                await guard.verify(token("b"))
        assert asked == 1, "an unknown key is no reason to ask again at once"
        published.append("b")
        now[0] += 31
        assert (await guard.verify(token("b"))).subject == "b"
        published.clear()
        now[0] += 601
        guard = Authenticator(settings, lambda: now[0])
        with pytest.raises(Unavailable):
            await guard.verify(token("a"))


def test_the_checked_in_document_is_fresh() -> None:
    from edumeet_recording.api.openapi import document

    checked_in = Path(__file__).parents[3] / "openapi.json"
    assert json.loads(checked_in.read_text()) == json.loads(document())
