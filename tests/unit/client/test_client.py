"""Requests as the API wants them, answers as types, refusals as errors, and what is sent again."""

import json
from collections.abc import Callable

import httpx2
import pytest

from edumeet_recording.client import ApiError, RecordingClient
from edumeet_recording.client.connection import LONGEST_PAUSE_S, pause_before_next
from edumeet_recording.client.errors import error_of
from edumeet_recording.domain.errors import Unavailable
from edumeet_recording.domain.job import JobStatus
from edumeet_recording.wire.http import RegisterRoomServer, StartRecording, TenantLimits
from edumeet_recording.wire.views import Recording, RecordingPage

Handler = Callable[[httpx2.Request], httpx2.Response]
ClientOf = Callable[[Handler], RecordingClient]

START = StartRecording.model_validate(
    {
        "roomServerId": "room-server-1",
        "roomId": "room-1",
        "peerId": "alice",
        "rtpStreams": ({"kind": "audio", "codecName": "opus", "payloadType": 111},),
        "forwarding": "client",
    }
)
PRESENTED = "for registration"
SERVER = RegisterRoomServer(server_id="room-server-1", url="http://room:3443", region="default", capacity=1)


def answer(model: Recording | RecordingPage, status: int = 200) -> httpx2.Response:
    return httpx2.Response(status, content=model.model_dump_json(by_alias=True))


def problem(status: int, code: str, headers: dict[str, str] | None = None) -> httpx2.Response:
    body = {"type": "x", "title": "t", "status": status, "detail": f"why {code}", "instance": "/", "code": code}
    return httpx2.Response(status, json=body, headers=headers, request=httpx2.Request("GET", "http://service/"))


async def test_start_sends_what_was_set_with_token_and_key(client_of: ClientOf, recording: Recording) -> None:
    seen: list[httpx2.Request] = []

    def service(request: httpx2.Request) -> httpx2.Response:
        seen.append(request)
        return answer(recording, 201)

    async with client_of(service) as client:
        assert await client.start(START, idempotency_key="key-1") == recording
    (request,) = seen
    assert (request.method, request.url.path) == ("POST", "/api/recordings/start")
    assert request.headers["authorization"] == "Bearer token"
    assert request.headers["idempotency-key"] == "key-1"
    assert json.loads(request.content) == {
        "roomServerId": "room-server-1",
        "roomId": "room-1",
        "peerId": "alice",
        "rtpStreams": [{"kind": "audio", "codecName": "opus", "payloadType": 111}],
        "forwarding": "client",
    }


async def test_a_legal_hold_is_put_and_deleted(client_of: ClientOf, recording: Recording) -> None:
    seen: list[tuple[str, str]] = []

    def service(request: httpx2.Request) -> httpx2.Response:
        seen.append((request.method, request.url.path))
        return answer(recording)

    async with client_of(service) as client:
        assert await client.hold("job/1") == await client.release("job/1") == recording
    assert seen == [("PUT", "/api/recordings/job/1/legal-hold"), ("DELETE", "/api/recordings/job/1/legal-hold")]


async def test_a_start_that_got_no_answer_is_repeated_with_the_same_key(
    client_of: ClientOf, recording: Recording
) -> None:
    keys: list[str] = []

    def service(request: httpx2.Request) -> httpx2.Response:
        keys.append(request.headers["idempotency-key"])
        if len(keys) == 1:
            raise httpx2.ReadError("gone")
        return answer(recording)

    async with client_of(service) as client:
        await client.start(START)
    assert len(keys) == 2
    assert keys[0] == keys[1] != ""


@pytest.mark.parametrize("status", [502, 503, 504])
async def test_what_may_pass_is_tried_again(client_of: ClientOf, recording: Recording, status: int) -> None:
    left = [problem(status, "unavailable"), problem(status, "unavailable"), answer(recording)]
    async with client_of(lambda _request: left.pop(0)) as client:
        assert (await client.get("job-1")).job_id == "job-1"
    assert left == []


@pytest.mark.parametrize("status", [400, 401, 403, 404, 409, 422, 429, 500])
async def test_a_no_is_an_error_at_once(client_of: ClientOf, status: int) -> None:
    calls: list[str] = []

    def service(request: httpx2.Request) -> httpx2.Response:
        calls.append(request.url.path)
        return problem(status, "no")

    async with client_of(service) as client:
        with pytest.raises(ApiError, match="why no") as raised:
            await client.stop("job-1")
    assert (raised.value.status, raised.value.code) == (status, "no")
    assert len(calls) == 1


async def test_a_service_that_stays_away_is_unavailable(client_of: ClientOf) -> None:
    calls: list[str] = []

    def service(request: httpx2.Request) -> httpx2.Response:
        calls.append(request.url.path)
        raise httpx2.ConnectError("refused")

    async with client_of(service) as client:
        with pytest.raises(Unavailable, match="http://service cannot be reached: refused"):
            await client.nodes()
    assert len(calls) == 4


async def test_a_registration_is_not_repeated(client_of: ClientOf) -> None:
    calls: list[str] = []

    def service(request: httpx2.Request) -> httpx2.Response:
        calls.append(request.headers["x-registration-secret"])
        return problem(503, "unavailable")

    async with client_of(service) as client:
        with pytest.raises(ApiError):
            await client.register_room_server(SERVER, registration_secret=PRESENTED)
    assert calls == [PRESENTED]


async def test_pages_are_asked_for_until_the_last(client_of: ClientOf, recording: Recording) -> None:
    second = recording.model_copy(update={"job_id": "job-2"})
    asked: list[dict[str, object]] = []

    def service(request: httpx2.Request) -> httpx2.Response:
        asked.append(dict(request.url.params))
        if "cursor" in request.url.params:
            return answer(RecordingPage(items=(second,)))
        return answer(RecordingPage(items=(recording,), next_cursor="c"))

    async with client_of(service) as client:
        found = [each.job_id async for each in client.list(status=[JobStatus.PENDING], room_id="room-1")]
    assert found == ["job-1", "job-2"]
    assert asked == [
        {"status": "pending", "roomId": "room-1", "limit": "200"},
        {"status": "pending", "roomId": "room-1", "limit": "200", "cursor": "c"},
    ]


async def test_an_id_cannot_leave_its_path(client_of: ClientOf) -> None:
    paths: list[bytes] = []

    def service(request: httpx2.Request) -> httpx2.Response:
        paths.append(request.url.raw_path)
        return problem(404, "not_found")

    async with client_of(service) as client:
        with pytest.raises(ApiError):
            await client.delete("../nodes/node-1?x=#")
    assert paths == [b"/api/recordings/..%2Fnodes%2Fnode-1%3Fx%3D%23"]


async def test_an_answer_of_something_else_is_said_to_be_that(client_of: ClientOf) -> None:
    async with client_of(lambda _request: httpx2.Response(200, text="<html>")) as client:
        with pytest.raises(Unavailable, match="http://service is not a recording service"):
            await client.get("job-1")


async def test_a_proxy_that_answers_is_an_error_too(client_of: ClientOf) -> None:
    async with client_of(lambda _request: httpx2.Response(418, text="teapot")) as client:
        with pytest.raises(ApiError, match="answered 418") as raised:
            await client.get("job-1")
    assert raised.value.code == "http_error"


@pytest.mark.parametrize(
    ("retry_after", "pause"), [(None, True), ("3", 3.0), (str(int(LONGEST_PAUSE_S) + 1), False), ("soon", True)]
)
def test_retry_after_is_honoured(retry_after: str | None, pause: bool | float) -> None:
    response = problem(503, "no_capacity", {"Retry-After": retry_after} if retry_after else None)
    assert pause_before_next(error_of(response, response.content)) == pause


async def test_limits_of_a_tenant_are_put_whole(client_of: ClientOf) -> None:
    limits = {"allowedRegions": ["eu-*"], "maxActiveRecordings": 5, "maxQueuedRecordings": None, "share": 1}
    seen: list[tuple[str, str, object]] = []

    def service(request: httpx2.Request) -> httpx2.Response:
        seen.append((request.method, request.url.path, json.loads(request.content or "null")))
        one = {"id": "uni", **limits}
        listed = request.method == "GET" and request.url.path == "/api/tenants"
        return (
            httpx2.Response(204)
            if request.method == "DELETE"
            else httpx2.Response(200, json={"items": [one]} if listed else one)
        )

    async with client_of(service) as client:
        put = await client.limit_tenant("uni", TenantLimits.model_validate({**limits, "allowedRegions": ("eu-*",)}))
        assert (await client.tenant("uni"), await client.tenants()) == (put, (put,))
        await client.unlimit_tenant("uni")
    assert seen[0] == ("PUT", "/api/tenants/uni", limits)
    assert seen[-1] == ("DELETE", "/api/tenants/uni", None)
