"""Every error is a problem document, and none tells more than it should."""

from typing import Any

import httpx2
import pytest
from structlog.testing import capture_logs
from tests.unit.api import seed
from tests.unit.api.fakes import RecordingCommands, bearer

from edumeet_recording.domain import errors


@pytest.mark.parametrize(
    ("error", "status", "retry_after"),
    [
        (errors.InvalidRequest("no", field="roomId"), 422, None),
        (errors.NotFound("no"), 404, None),
        (errors.Conflict("no"), 409, None),
        (errors.Unauthenticated("no"), 401, None),
        (errors.Forbidden("no"), 403, None),
        (errors.Refused("no", retry_after_s=4), 503, "4"),
        (errors.NoCapacity("no", retry_after_s=5), 503, "5"),
        (errors.Unavailable("no"), 503, "2"),
        (errors.OrchestratorError("no"), 500, None),
    ],
)
async def test_each_error_has_its_status(
    client: httpx2.AsyncClient,
    commands: RecordingCommands,
    error: errors.OrchestratorError,
    status: int,
    retry_after: str | None,
) -> None:
    commands.fails = error
    answer = await client.post("/api/recordings/start", content=seed.START, headers=bearer())
    assert answer.status_code == status
    assert answer.headers["content-type"] == "application/problem+json"
    assert answer.headers.get("retry-after") == retry_after
    document = answer.json()
    assert document["type"] == f"urn:edumeet-recording:{error.code}"
    assert (document["status"], document["code"], document["detail"]) == (status, error.code, "no")
    assert document["instance"] == "/api/recordings/start"
    assert document["errors"] == ([{"field": "roomId", "reason": "no"}] if error.field else [])


async def test_an_unexpected_error_keeps_its_words_to_itself(
    client: httpx2.AsyncClient, commands: RecordingCommands
) -> None:
    commands.fails = RuntimeError("password=hunter2")
    with capture_logs() as logged:
        answer = await client.post("/api/recordings/start", content=seed.START, headers=bearer())
    assert answer.status_code == 500
    assert [(line["log_level"], line["path"]) for line in logged] == [("error", "/api/recordings/start")]
    assert answer.json()["code"] == "internal"
    assert "hunter2" not in answer.text


@pytest.mark.parametrize(
    ("method", "path", "status", "code"),
    [
        ("GET", "/nowhere", 404, "not_found"),
        ("GET", "/api/recordings/a/b/c", 404, "not_found"),
        ("PUT", "/api/recordings", 405, "method_not_allowed"),
        ("GET", "/api/recordings/job%00", 422, "validation_error"),
        ("GET", "/api/recordings/..%2f..", 404, "not_found"),
        ("GET", f"/api/recordings/{'x' * 129}", 422, "validation_error"),
        ("POST", "/api/nodes/a%20b/drain", 422, "validation_error"),
        ("GET", "/api/recordings?status=asleep", 422, "validation_error"),
        ("GET", "/api/recordings?limit=0", 422, "validation_error"),
        ("GET", "/api/recordings?limit=many", 422, "validation_error"),
        ("GET", "/api/recordings?roomId=%00", 422, "validation_error"),
        ("GET", "/api/recordings?from=yesterday", 422, "validation_error"),
        ("GET", "/api/recordings?from=2024-01-01T00:00:00", 422, "validation_error"),
        ("GET", "/api/recordings?to=0001-01-01T00:00:00%2B14:00", 422, "validation_error"),
        ("GET", "/api/recordings?cursor=abc", 422, "validation_error"),
        ("GET", "/api/recordings?colour=red", 422, "validation_error"),
        ("GET", "/api/recordings/job-1/events?after=-1", 422, "validation_error"),
        ("GET", "/api/metrics/history?limit=100000", 422, "validation_error"),
        ("GET", "/api/recordings", 503, "unavailable"),
    ],
)
async def test_what_cannot_be_answered_is_a_problem(
    client: httpx2.AsyncClient, method: str, path: str, status: int, code: str
) -> None:
    answer = await client.request(method, path, headers=bearer())
    assert answer.status_code == status
    assert answer.headers["content-type"] == "application/problem+json"
    assert answer.json()["code"] == code


@pytest.mark.parametrize("announced", [True, False])
async def test_a_large_body_is_refused_unread(
    client: httpx2.AsyncClient, commands: RecordingCommands, announced: bool
) -> None:
    async def chunks() -> Any:
        for _ in range(70):
            yield b" " * 1000

    content: Any = b" " * 70000 if announced else chunks()
    answer = await client.post("/api/recordings/start", content=content, headers=bearer())
    assert answer.status_code == 413
    assert answer.json()["code"] == "body_too_large"
    assert commands.calls == []


async def test_answers_carry_the_security_headers(client: httpx2.AsyncClient) -> None:
    for path in ("/health", "/nowhere"):
        headers = (await client.get(path)).headers
        assert headers["x-content-type-options"] == "nosniff"
        assert headers["cache-control"] == "no-store"
        assert "access-control-allow-origin" not in headers


async def test_the_openapi_document_tells_of_problems_only(client: httpx2.AsyncClient) -> None:
    document = (await client.get("/openapi.json")).json()
    assert "HTTPValidationError" not in document["components"]["schemas"]
    for methods in document["paths"].values():
        for operation in methods.values():
            assert "application/problem+json" in operation["responses"]["default"]["content"]
