"""Every field of every body, wrong in every way: a problem document that names it, and nothing is started."""

import json
from collections.abc import Iterator
from copy import deepcopy
from typing import Any

import httpx2
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from tests.unit.api import seed
from tests.unit.api.fakes import RecordingCommands, bearer

from edumeet_recording.domain.codecs import Codec, Container, Kind, Quality
from edumeet_recording.domain.errors import NoCapacity

Path = tuple[str | int, ...]

ENDPOINTS = {
    "/api/recordings/start": json.loads(seed.START),
    "/api/nodes/room-servers/register": json.loads(seed.ROOM_SERVER),
    "/api/nodes/ffmpeg-nodes/register": json.loads(seed.FFMPEG_NODE)
    | {
        "nodeId": "node-1",
        "failureDomain": {"zone": "z1", "rack": "r7", "host": "h1"},
        "processingSlots": 2,
        "version": "0.1.0",
    },
}
ENDPOINTS["/api/recordings/start"]["rtpStreams"][0] |= {"rtcpPort": 5005, "clockRate": 48000, "channels": 2}
ENDPOINTS["/api/recordings/start"]["options"] |= {
    "maxDuration": 3600, "copy": "prefer", "thumbnails": True, "customFFmpegArgs": ["-crf", "20"],
    "redundancy": 2,
}  # fmt: skip
ENDPOINTS["/api/recordings/start"] |= {"forwarding": "room-server", "priority": 3, "allowParallel": False}

OPTIONAL = {
    "peerInfo", "displayName", "isAuthenticated", "roles", "joinTime", "rtcpPort", "clockRate", "channels", "options",
    "quality", "format", "includeAudio", "includeVideo", "maxDuration", "requesterInfo", "ip", "timestamp",
    "forwarding", "priority", "allowParallel", "nodeId", "failureDomain", "processingSlots", "version", "hasGPU",
    "diskSpace", "copy", "thumbnails", "customFFmpegArgs", "redundancy", "zone", "rack", "host",
}  # fmt: skip
OPTIONAL_OF_ROOM_SERVERS = {"specs", "cpuCores", "ram"}
HOSTILE = ("", "a\nb", "a\x00b", "a\x1bb", "a\u2028b", "../../etc/passwd" + "\x00", "x" * 3000)
IDENTIFIERS = {"roomServerId", "serverId", "nodeId", "zone", "rack", "host", "region"}
MAY_BE_EMPTY = {"displayName", "roles.0"}


def leaves(value: Any, path: Path = ()) -> Iterator[tuple[Path, Any]]:
    if path:
        yield path, value
    if isinstance(value, dict):
        for name, child in value.items():
            yield from leaves(child, (*path, name))
    if isinstance(value, list):
        for index, child in enumerate(value):
            yield from leaves(child, (*path, index))


def wrong_values(path: Path, value: Any) -> Iterator[Any]:
    """Values that this field must refuse."""
    name = str(path[-1])
    if isinstance(value, bool):
        yield from (0, 1, "true", "yes", [], {}, 1.0)
    elif isinstance(value, int | float):
        yield from (str(value), True, [], {}, -1, 2**70, 10**400)
        if name not in {"cpuCores", "maxDuration"}:
            yield from (value + 0.5, float(value))
        if name not in {"payloadType", "joinTime", "timestamp", "priority", "ram", "diskSpace", "processingSlots"}:
            yield 0
    elif isinstance(value, str):
        yield from (1, True, [], {}, 1.5)
        empty_is_fine = name in MAY_BE_EMPTY or dotted(path[-2:]) in MAY_BE_EMPTY
        yield from (text for text in HOSTILE if text or not empty_is_fine)
        if name in IDENTIFIERS:
            yield from ("a b", "a/b", "..", ".", "ä", "%2e%2e", "-a", "a" * 129)
    elif isinstance(value, list):
        yield from ("x", 1, {}, value * 40)
    else:
        # a failure domain in plain text names a host, as release 0.1.0 did
        yield from ("a b" if name == "failureDomain" else "x", 1, [], True, value | {"surprise": 1})


def fields() -> list[Any]:
    return [
        pytest.param(url, path, value, id=f"{url.rsplit('/', 2)[1]}-{dotted(path)}")
        for url, body in ENDPOINTS.items()
        for path, value in leaves(body)
    ]


def dotted(path: Path) -> str:
    return ".".join(str(part) for part in path)


def put(body: Any, path: Path, value: Any) -> Any:
    body = deepcopy(body)
    place = body
    for part in path[:-1]:
        place = place[part]
    place[path[-1]] = value
    return body


def remove(body: Any, path: Path) -> Any:
    body = deepcopy(body)
    place = body
    for part in path[:-1]:
        place = place[part]
    del place[path[-1]]
    return body


async def refused(client: httpx2.AsyncClient, url: str, body: Any) -> list[str]:
    """The fields that the refusal names."""
    answer = await client.post(url, content=json.dumps(body), headers=bearer())
    assert answer.status_code == 422, answer.text
    assert answer.headers["content-type"] == "application/problem+json"
    document = answer.json()
    assert document["status"] == 422
    assert document["instance"] == url
    assert document["errors"]
    return [error["field"] for error in document["errors"]]


@pytest.mark.parametrize(("url", "path", "value"), fields())
async def test_a_wrong_value_is_refused_by_name(
    client: httpx2.AsyncClient, commands: RecordingCommands, url: str, path: Path, value: Any
) -> None:
    for wrong in wrong_values(path, value):
        named = await refused(client, url, put(ENDPOINTS[url], path, wrong))
        assert any(field == dotted(path) or field.startswith(f"{dotted(path)}.") for field in named), (wrong, named)
        assert commands.calls == []


@pytest.mark.parametrize("url", ENDPOINTS)
async def test_what_is_missing_is_named(client: httpx2.AsyncClient, commands: RecordingCommands, url: str) -> None:
    optional = OPTIONAL | (OPTIONAL_OF_ROOM_SERVERS if "room-servers" in url else set())
    for path, _ in leaves(ENDPOINTS[url]):
        if path[-1] in optional or isinstance(path[-1], int):
            continue
        for body in (remove(ENDPOINTS[url], path), put(ENDPOINTS[url], path, None)):
            assert await refused(client, url, body) == [dotted(path)]
    assert commands.calls == []


@pytest.mark.parametrize("url", ENDPOINTS)
@pytest.mark.parametrize("body", ["null", "[]", '"text"', "1", "{}", "true"])
async def test_a_body_that_is_no_object_is_refused(client: httpx2.AsyncClient, url: str, body: str) -> None:
    answer = await client.post(url, content=body, headers=bearer())
    assert answer.status_code == 422
    assert answer.json()["code"] == "validation_error"


@pytest.mark.parametrize(
    "body",
    ["", "{", "{'a': 1}", "\x00", "[" * 60000, '{"roomId": "\ud800"}'.encode("utf-8", "surrogatepass"), b"\xff\xfe"],
)
async def test_what_is_no_json_is_malformed(client: httpx2.AsyncClient, body: str | bytes) -> None:
    answer = await client.post("/api/recordings/start", content=body, headers=bearer())
    assert answer.status_code in {400, 422}
    assert answer.headers["content-type"] == "application/problem+json"
    assert answer.json()["code"] in {"malformed_body", "validation_error"}


async def test_lone_surrogates_are_refused_by_name(client: httpx2.AsyncClient) -> None:
    body = put(ENDPOINTS["/api/recordings/start"], ("peerInfo", "displayName"), "\ud83d")
    assert await refused(client, "/api/recordings/start", body) == ["peerInfo.displayName"]


@pytest.mark.parametrize(
    ("changes", "field"),
    [
        ({("rtpStreams",): []}, "rtpStreams"),
        ({("rtpStreams", 0, "codecName"): "vp8"}, "rtpStreams.0.codecName"),
        ({("rtpStreams", 1, "codecName"): "opus"}, "rtpStreams.1.codecName"),
        ({("rtpStreams", 1, "codecName"): "h266"}, "rtpStreams.1.codecName"),
        ({("rtpStreams", 0, "clockRate"): 90000}, "rtpStreams.0.clockRate"),
        ({("rtpStreams", 1, "channels"): 2}, "rtpStreams.1.channels"),
        ({("rtpStreams", 1, "ssrc"): 12345678}, "rtpStreams.1.ssrc"),
        ({("rtpStreams", 1, "ssrc"): None}, "rtpStreams.1.ssrc"),
        ({("rtpStreams", 1, "port"): None}, "rtpStreams.1.port"),
        ({("options", "includeVideo"): False, ("options", "includeAudio"): False}, "options.includeVideo"),
        ({("options", "includeVideo"): False, ("rtpStreams", 0): None}, "rtpStreams.0"),
        ({("forwarding",): "sideways"}, "forwarding"),
        ({("options", "copy"): "maybe"}, "options.copy"),
        ({("options", "copy"): "require"}, "options.customFFmpegArgs"),
        (
            {("options", "copy"): "require", ("options", "customFFmpegArgs"): [], ("options", "format"): "webm"},
            "options.copy",
        ),
        ({("options", "customFFmpegArgs"): ["-crf", "20", "-f", "tee"]}, "options.customFFmpegArgs.2"),
        ({("options", "customFFmpegArgs"): ["-crf", "99"]}, "options.customFFmpegArgs.1"),
        (
            {("options", "customFFmpegArgs"): ["-preset", "fast"], ("options", "format"): "webm"},
            "options.customFFmpegArgs.0",
        ),
        ({("priority",): 10}, "priority"),
        ({("options", "format"): "avi"}, "options.format"),
        ({("options", "quality"): "HIGH"}, "options.quality"),
        ({("requesterInfo", "ip"): "999.1.1.1"}, "requesterInfo.ip"),
        ({("requesterInfo", "timestamp"): 10**15}, "requesterInfo.timestamp"),
    ],
)
async def test_fields_must_fit_each_other(
    client: httpx2.AsyncClient, commands: RecordingCommands, changes: dict[Path, Any], field: str
) -> None:
    body = ENDPOINTS["/api/recordings/start"]
    for path, value in changes.items():
        body = put(body, path, value)
    assert field in await refused(client, "/api/recordings/start", body)
    assert commands.calls == []


async def test_a_recording_needs_a_stream_it_wants(client: httpx2.AsyncClient, commands: RecordingCommands) -> None:
    body = put(ENDPOINTS["/api/recordings/start"], ("options", "includeAudio"), False)
    body["rtpStreams"] = body["rtpStreams"][:1]
    assert await refused(client, "/api/recordings/start", body) == ["rtpStreams"]
    assert commands.calls == []


anything = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(),
    lambda children: st.lists(children, max_size=3) | st.dictionaries(st.text(), children, max_size=3),
    max_leaves=8,
)


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
async def test_no_body_is_an_unexpected_error(
    client: httpx2.AsyncClient, commands: RecordingCommands, data: st.DataObject
) -> None:
    commands.fails = NoCapacity("full", retry_after_s=9)
    url = data.draw(st.sampled_from(sorted(ENDPOINTS)))
    path = data.draw(st.sampled_from([path for path, _ in leaves(ENDPOINTS[url])]))
    body = put(ENDPOINTS[url], path, data.draw(anything))
    answer = await client.post(url, content=json.dumps(body), headers=bearer())
    assert answer.status_code in {422, 503}


async def test_the_first_pages_start_is_accepted_as_it_stands(
    client: httpx2.AsyncClient, commands: RecordingCommands
) -> None:
    commands.fails = NoCapacity("full", retry_after_s=9)
    headers = {"Content-Type": "application/json", **bearer(tenant="university"), "Idempotency-Key": "once"}
    answer = await client.post("/api/recordings/start", content=seed.START, headers=headers)
    assert answer.status_code == 503
    assert answer.headers["retry-after"] == "9"
    (_, new) = commands.calls[0]
    assert (new.room_server_id, new.room_id, new.peer_id) == ("room-server-1", "room-123", "peer-456")
    assert (new.tenant_id, new.requested_by, new.idempotency_key) == ("university", "tester", "once")
    assert new.peer_info["joinTime"] == 1640995200000
    assert new.requester_info == {"ip": "192.168.1.100", "timestamp": 1640995200000}
    audio, video = new.rtp_streams
    assert (audio.kind, audio.codec, audio.port, audio.payload_type) == (Kind.AUDIO, Codec.OPUS, 5004, 111)
    assert (audio.ssrc, audio.clock_rate, audio.channels) == (12345678, 48000, 2)
    assert (video.index, video.codec, video.clock_rate, video.channels) == (1, Codec.H264, 90000, None)
    assert (new.options.container, new.options.quality) == (Container.MP4, Quality.MEDIUM)
    assert (new.forwarding, new.priority, new.allow_parallel) == ("room-server", 0, False)
    assert len(new.request_sha256) == 32


async def test_the_digest_is_of_the_meaning(client: httpx2.AsyncClient, commands: RecordingCommands) -> None:
    commands.fails = NoCapacity("full", retry_after_s=9)
    body = json.loads(seed.START)
    shuffled = dict(reversed(body.items())) | {"priority": 0}
    other = body | {"priority": 1}
    for each in (body, shuffled, other):
        await client.post("/api/recordings/start", content=json.dumps(each, indent=3), headers=bearer())
    first, second, third = (new.request_sha256 for _, new in commands.calls)
    assert first == second != third


async def test_a_client_that_forwards_itself_need_not_know_ssrc_and_port(
    client: httpx2.AsyncClient, commands: RecordingCommands
) -> None:
    commands.fails = NoCapacity("full", retry_after_s=9)
    stream = {"kind": "video", "codecName": "VP8", "payloadType": 96}
    body = {
        "roomServerId": "r",
        "roomId": "Übung 1 👩‍🏫",
        "peerId": "p",
        "forwarding": "client",
        "rtpStreams": [stream],
    }
    answer = await client.post("/api/recordings/start", json=body, headers=bearer())
    assert answer.status_code == 503
    new = commands.calls[0][1]
    assert new.rtp_streams[0].codec is Codec.VP8
    assert new.rtp_streams[0].ssrc is None
    assert new.room_id == "Übung 1 👩‍🏫"


async def test_the_first_pages_registrations_are_accepted_without_token_or_content_type(
    client: httpx2.AsyncClient, commands: RecordingCommands
) -> None:
    form = {"Content-Type": "application/x-www-form-urlencoded"}
    room = await client.post("/api/nodes/room-servers/register", content=seed.ROOM_SERVER, headers=form)
    node = await client.post("/api/nodes/ffmpeg-nodes/register", content=seed.FFMPEG_NODE, headers=form)
    assert (room.status_code, node.status_code) == (201, 201)
    assert room.json() == {"nodeId": "room-server-1", "token": "token-of-the-node", "created": True}
    registered = commands.calls[0][1]
    assert registered.specs == {"cpuCores": 8, "ram": 16777216000, "hasGPU": False, "diskSpace": 107374182400}
    assert (registered.url, registered.capacity) == ("http://room-server:3443", 100)
    assert commands.calls[1][1].specs == {"cpuCores": 4, "ram": 8388608000}


async def test_a_browsers_form_from_a_foreign_page_is_no_json(
    client: httpx2.AsyncClient, commands: RecordingCommands
) -> None:
    headers = {"Content-Type": "text/plain", "Origin": "https://elsewhere.example"}
    answer = await client.post("/api/nodes/ffmpeg-nodes/register", content=seed.FFMPEG_NODE, headers=headers)
    assert answer.status_code == 422
    assert commands.calls == []


@pytest.mark.parametrize("key", ["", "x" * 256, "a\tb", "ä"])
async def test_the_idempotency_key_is_bounded(
    client: httpx2.AsyncClient, commands: RecordingCommands, key: str
) -> None:
    headers = [*bearer().items(), ("Idempotency-Key", key.encode())]
    answer = await client.post("/api/recordings/start", content=seed.START, headers=headers)
    assert answer.status_code == 422
    assert answer.json()["errors"][0]["field"] == "Idempotency-Key"
    assert commands.calls == []
