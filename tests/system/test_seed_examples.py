"""The examples of the project's first page, verbatim: accepted, and what cannot be reached is named in the end."""

import json

import httpx2
import pytest
from tests.system.conftest import Service
from tests.unit.api.seed import FFMPEG_NODE, ROOM_SERVER, START
from tests.waiting import eventually

from edumeet_recording.domain.job import JobStatus

pytestmark = pytest.mark.asyncio(loop_scope="module")


async def test_the_examples_are_accepted_and_say_who_is_not_there(service: Service) -> None:
    json_body = {"Content-Type": "application/json"}
    bearer = {"Authorization": f"Bearer {service.token}"}
    async with httpx2.AsyncClient(base_url=service.url, trust_env=False) as http:
        registered = await http.post("/api/nodes/room-servers/register", content=ROOM_SERVER, headers=json_body)
        assert (registered.status_code, registered.json()["nodeId"]) == (201, "room-server-1")
        node = await http.post("/api/nodes/ffmpeg-nodes/register", content=FFMPEG_NODE, headers=json_body)
        assert node.status_code == 201
        started = await http.post("/api/recordings/start", content=START, headers=json_body | bearer)
        assert started.status_code == 201, started.text
        job_id = started.json()["jobId"]

        refused = await eventually(lambda: _reason(service, job_id), 15)
        assert "room-server:3443" in refused
        stopped = await http.post(f"/api/recordings/{job_id}/stop", headers=bearer)
        assert stopped.status_code == 200
        again = await http.post(f"/api/recordings/{job_id}/stop", headers=bearer)
        assert again.status_code == 200

    ended = await service.until(job_id)
    assert ended.status is JobStatus.FAILED
    assert ended.peer_info == json.loads(START)["peerInfo"]

    await eventually(lambda: _names_itself(service, node.json()["nodeId"]), 15)


async def test_a_stopped_recording_says_who_was_not_there(service: Service) -> None:
    failed = [each async for each in service.client.list(peer_id="peer-456")][-1]
    assert failed.reason == "room_server_unreachable"
    assert "room-server:3443" in (failed.reason_detail or "")


async def test_left_alone_the_recording_ends_by_itself(service: Service) -> None:
    async with httpx2.AsyncClient(base_url=service.url, trust_env=False) as http:
        headers = {"Content-Type": "application/json", "Authorization": f"Bearer {service.token}"}
        await http.post("/api/nodes/room-servers/register", content=ROOM_SERVER, headers=headers)
        started = await http.post("/api/recordings/start", content=START, headers=headers)
        assert started.status_code == 201, started.text
    ended = await service.until(started.json()["jobId"])
    assert (ended.status, ended.reason) == (JobStatus.FAILED, "room_server_unreachable")
    assert "room-server:3443" in (ended.reason_detail or "")


async def _names_itself(service: Service, node_id: str) -> bool:
    node = await service.client.node(node_id)
    return not node.is_healthy and "ffmpeg-node:3000" in (node.health_reason or "")


async def _reason(service: Service, job_id: str) -> str | None:
    return (await service.client.get(job_id)).reason_detail
