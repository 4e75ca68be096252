"""Registration and heartbeats of nodes, and where their URLs may point."""

import json
from dataclasses import replace
from typing import Any

import httpx2
import pytest
from fastapi import FastAPI
from tests.unit.api import seed
from tests.unit.api.fakes import NODE_TOKEN, SECRET, RecordingCommands, bearer

from edumeet_recording.api.deps import ApiDeps
from edumeet_recording.api.node_urls import check_node_url
from edumeet_recording.config import OrchestratorSettings
from edumeet_recording.domain.errors import InvalidRequest

REGISTER = {"/api/nodes/room-servers/register": seed.ROOM_SERVER, "/api/nodes/ffmpeg-nodes/register": seed.FFMPEG_NODE}
ADMISSION = "the registration secret"
AS_NODE = {"Authorization": f"Bearer {NODE_TOKEN}"}


@pytest.mark.parametrize("url", REGISTER)
@pytest.mark.parametrize("secret", [None, "", "wrong", "the registration secre", "the registration secret "])
async def test_a_set_registration_secret_is_needed(
    *,
    app: FastAPI,
    client: httpx2.AsyncClient,
    deps: ApiDeps,
    commands: RecordingCommands,
    url: str,
    secret: str | None,
) -> None:
    guarded = OrchestratorSettings(_env_file=None, jwt_secret=SECRET, registration_secret=ADMISSION)
    app.state.deps = replace(deps, settings=guarded)
    headers = {} if secret is None else {"X-Registration-Secret": secret}
    answer = await client.post(url, content=REGISTER[url], headers=headers)
    assert (answer.status_code, answer.json()["code"]) == (401, "registration_secret")
    assert commands.calls == []
    headers = {"X-Registration-Secret": ADMISSION}
    assert (await client.post(url, content=REGISTER[url], headers=headers)).status_code == 201


@pytest.mark.parametrize("url", REGISTER)
async def test_a_node_registers_again_with_its_token(
    client: httpx2.AsyncClient, commands: RecordingCommands, url: str
) -> None:
    answer = await client.post(url, content=REGISTER[url], headers=AS_NODE)
    assert (answer.status_code, answer.json()["created"]) == (200, False)
    assert commands.calls[0][2] == NODE_TOKEN


@pytest.mark.parametrize(
    ("path", "body", "status", "call"),
    [
        ("room-servers", {"serverId": "room-1", "rooms": 3, "peers": 9}, 204, ("room-server", "room-1")),
        ("ffmpeg-nodes", {"nodeId": "node-1", "load": {"cpuPercent": 3}, "future": 1}, 200, ("ffmpeg-node", "node-1")),
    ],
)
async def test_heartbeats_need_the_nodes_own_token(
    *, client: httpx2.AsyncClient, commands: RecordingCommands, path: str, body: Any, status: int, call: tuple[str, str]
) -> None:
    url = f"/api/nodes/{path}/heartbeat"
    for headers in ({}, {"Authorization": "Bearer other"}, bearer()):
        assert (await client.post(url, json=body, headers=headers)).status_code == 401
    assert commands.calls == []
    assert (await client.post(url, json=body, headers=AS_NODE)).status_code == status
    assert commands.calls[0] == ("authenticate_node", *call)
    assert commands.calls[1][0].endswith("heartbeat")


async def test_a_heartbeat_is_answered_with_the_desired_state(client: httpx2.AsyncClient) -> None:
    answer = await client.post("/api/nodes/ffmpeg-nodes/heartbeat", json={"nodeId": "node-1"}, headers=AS_NODE)
    assert answer.json()["ack"] == 3
    assert answer.json()["desired"]["revision"] == 7


@pytest.mark.parametrize("path", ["room-servers", "ffmpeg-nodes"])
@pytest.mark.parametrize("text", ["a\x00b", "\ud800"])
async def test_heartbeats_that_cannot_be_stored_are_refused(
    client: httpx2.AsyncClient, commands: RecordingCommands, path: str, text: str
) -> None:
    content = json.dumps({"serverId": text, "nodeId": text})
    answer = await client.post(f"/api/nodes/{path}/heartbeat", content=content, headers=AS_NODE)
    assert answer.status_code == 422
    assert commands.calls == []


@pytest.mark.parametrize(
    "said",
    [
        {"captures": [{"captureId": "c", "epoch": 2**31, "state": "receiving"}]},
        {"captures": [{"captureId": "c", "epoch": 1, "state": "receiving", "firstPacketAt": 1e300}]},
        {"captures": [{"captureId": "c", "epoch": 1, "state": "asleep"}]},
        {"finalizing": [{"jobId": "j", "attempt": 1, "phase": "p", "fraction": 1.5}]},
        {"journal": [{"seq": 2**63, "body": {"type": "finalize_failed", "jobId": "j", "attempt": 1, "error": "e"}}]},
        {"journal": [{"seq": 1, "body": {"type": "finalize_failed", "jobId": "j", "attempt": -1, "error": "e"}}]},
        {"journal": [{"seq": 1, "body": {"type": "other"}}]},
    ],
)
async def test_what_no_column_keeps_is_refused_at_the_door(
    client: httpx2.AsyncClient, commands: RecordingCommands, said: Any
) -> None:
    answer = await client.post("/api/nodes/ffmpeg-nodes/heartbeat", json={"nodeId": "n"} | said, headers=AS_NODE)
    assert answer.status_code == 422
    assert commands.calls == []


async def test_numbers_that_json_does_not_know_are_refused(client: httpx2.AsyncClient) -> None:
    content = '{"nodeId": "node-1", "load": {"cpuPercent": NaN}}'
    answer = await client.post("/api/nodes/ffmpeg-nodes/heartbeat", content=content, headers=AS_NODE)
    assert answer.status_code == 422


@pytest.mark.parametrize(
    "url",
    [
        "http://169.254.169.254/latest",
        "http://169.254.169.254./",
        "http://2852039166/",
        "http://0xa9.254.43518/",
        "http://0251.0376.0251.0376/",
        "http://[::ffff:169.254.169.254]:80",
        "http://[::ffff:a9fe:a9fe]",
        "http://[fe80::1]:3000",
        "http://[fe80::1%25eth0]:3000",
        "http://[fd00:ec2::254]",
        "http://0.0.0.0:1",
        "http://100.100.100.200",
        "http://Metadata.Google.Internal/computeMetadata",
        "http://metadata.google.internal.",
    ],
)
async def test_metadata_addresses_are_refused_however_written(
    client: httpx2.AsyncClient, commands: RecordingCommands, url: str
) -> None:
    for path, body in REGISTER.items():
        answer = await client.post(path, json=json.loads(body) | {"url": url})
        assert (answer.status_code, answer.json()["errors"][0]["field"]) == (422, "url")
    assert commands.calls == []


@pytest.mark.parametrize(
    "url",
    [
        "ftp://node/",
        "//node",
        "node:3000",
        "http://",
        "http:///path",
        "http://user@node",
        "http://user:pw@node",
        "http://node:99999",
        "http://node:0",
        "http://node?x=1",
        "http://node#x",
        "http://no de",
        "http://node\\@evil",
        "http://[::1",
        "javascript:alert(1)",
        "http://node/\n",
    ],
)
async def test_what_is_no_plain_http_url_is_refused(client: httpx2.AsyncClient, url: str) -> None:
    body = json.loads(seed.FFMPEG_NODE) | {"url": url}
    answer = await client.post("/api/nodes/ffmpeg-nodes/register", json=body)
    assert (answer.status_code, answer.json()["errors"][0]["field"]) == (422, "url")


@pytest.mark.parametrize(
    ("url", "allow", "fits"),
    [
        ("http://ffmpeg-node:3000", "", True),
        ("http://127.0.0.1:3000", "", True),
        ("https://[2001:db8::1]/", "", True),
        ("http://10.1.2.3", "10.0.0.0/8", True),
        ("http://[::ffff:10.1.2.3]", "10.0.0.0/8", True),
        ("http://11.1.2.3", "10.0.0.0/8", False),
        ("http://10.1.2.3", "10.1.2.3", True),
        ("http://a.nodes.example", "*.nodes.example", True),
        ("http://A.Nodes.Example.", "*.nodes.example", True),
        ("http://nodes.example", "*.nodes.example", False),
        ("http://evilnodes.example", "*.nodes.example", False),
        ("http://a.nodes.example.evil", "*.nodes.example", False),
        ("http://node-1", "node-1, 10.0.0.0/8", True),
        ("http://node-2", "node-1,10.0.0.0/8", False),
        ("http://169.254.1.1", "169.254.0.0/16", True),
    ],
)
def test_the_allow_list_decides_where_it_is_set(url: str, allow: str, fits: bool) -> None:
    if fits:
        check_node_url(url, allow)
    else:
        with pytest.raises(InvalidRequest):
            check_node_url(url, allow)
