"""Errors as RFC 9457 problem documents; the only place that knows HTTP codes."""

from collections.abc import Mapping, Sequence
from http import HTTPStatus
from types import MappingProxyType
from typing import Any

import structlog
from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException
from starlette.responses import Response

from edumeet_recording.domain import errors
from edumeet_recording.wire.views import FieldError, Problem

log = structlog.get_logger(__name__)

MEDIA_TYPE = "application/problem+json"

STATUS: MappingProxyType[type[errors.OrchestratorError], HTTPStatus] = MappingProxyType(
    {
        errors.InvalidRequest: HTTPStatus.UNPROCESSABLE_ENTITY,
        errors.NotFound: HTTPStatus.NOT_FOUND,
        errors.Conflict: HTTPStatus.CONFLICT,
        errors.Unauthenticated: HTTPStatus.UNAUTHORIZED,
        errors.Forbidden: HTTPStatus.FORBIDDEN,
        errors.Refused: HTTPStatus.SERVICE_UNAVAILABLE,
        errors.NoCapacity: HTTPStatus.SERVICE_UNAVAILABLE,
        errors.QuotaExceeded: HTTPStatus.TOO_MANY_REQUESTS,
        errors.Unavailable: HTTPStatus.SERVICE_UNAVAILABLE,
        errors.OrchestratorError: HTTPStatus.INTERNAL_SERVER_ERROR,
    }
)

UNAVAILABLE_RETRY_S = 2

_CODES = {
    HTTPStatus.BAD_REQUEST: "malformed_body",
    HTTPStatus.NOT_FOUND: "not_found",
    HTTPStatus.METHOD_NOT_ALLOWED: "method_not_allowed",
}


def problem(
    path: str,
    status: int,
    code: str,
    detail: str,
    *,
    wrong: Sequence[FieldError] = (),
    headers: Mapping[str, str] | None = None,
) -> Response:
    """A problem document; `path` is that of the request."""
    document = Problem(
        type=f"urn:edumeet-recording:{code}",
        title=HTTPStatus(status).phrase,
        status=status,
        detail=detail,
        instance=path,
        code=code,
        errors=tuple(wrong),
    )
    return Response(
        document.model_dump_json(by_alias=True), status_code=status, media_type=MEDIA_TYPE, headers=dict(headers or {})
    )


def status_of(error: errors.OrchestratorError) -> HTTPStatus:
    """The HTTP code of the error's nearest class."""
    return next(STATUS[kind] for kind in type(error).__mro__ if kind in STATUS)


def problem_of(path: str, error: errors.OrchestratorError) -> Response:
    """The document of an error raised on purpose."""
    status = status_of(error)
    headers: dict[str, str] = {}
    if status is HTTPStatus.UNAUTHORIZED:
        headers["WWW-Authenticate"] = "Bearer"
    if isinstance(error, errors.Refused):
        headers["Retry-After"] = str(error.retry_after_s)
    if isinstance(error, errors.Unavailable):
        headers["Retry-After"] = str(UNAVAILABLE_RETRY_S)
    wrong = [FieldError(field=error.field, reason=error.message)] if error.field else []
    return problem(path, status, error.code, error.message, wrong=wrong, headers=headers)


def install(app: FastAPI) -> None:
    """Have every error of `app` answered by a problem document."""
    app.add_exception_handler(errors.OrchestratorError, _on_domain_error)
    app.add_exception_handler(RequestValidationError, _on_validation_error)
    app.add_exception_handler(HTTPException, _on_http_exception)
    app.add_exception_handler(Exception, _on_unexpected)


def _on_domain_error(request: Request, error: Exception) -> Response:
    assert isinstance(error, errors.OrchestratorError)  # noqa: S101 - narrows what Starlette's signature widens
    return problem_of(request.url.path, error)


def _on_validation_error(request: Request, error: Exception) -> Response:
    assert isinstance(error, RequestValidationError)  # noqa: S101 - narrows what Starlette's signature widens
    found: Sequence[Any] = error.errors()
    path = request.url.path
    if any(each["type"] == "json_invalid" for each in found):
        reason = f"the body is not JSON: {found[0]['ctx']['error']} at character {found[0]['loc'][-1]}"
        return problem(path, HTTPStatus.BAD_REQUEST, "malformed_body", reason)
    wrong = [FieldError(field=_path(each["loc"]), reason=each["msg"].removeprefix("Value error, ")) for each in found]
    detail = "; ".join(f"{each.field}: {each.reason}" for each in wrong[:3])
    more = f"; and {len(wrong) - 3} more" if len(wrong) > 3 else ""
    return problem(path, HTTPStatus.UNPROCESSABLE_ENTITY, "validation_error", detail + more, wrong=wrong)


def _path(location: Sequence[str | int]) -> str:
    """`("body", "rtpStreams", 0, "port")` as `rtpStreams.0.port`; the body itself is `body`."""
    return ".".join(str(part) for part in location[1:]) or str(location[0])


def _on_http_exception(request: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)  # noqa: S101 - narrows what Starlette's signature widens
    code = _CODES.get(HTTPStatus(error.status_code), "http_error")
    return problem(request.url.path, error.status_code, code, str(error.detail), headers=error.headers)


def _on_unexpected(request: Request, error: Exception) -> Response:
    log.error("request failed", method=request.method, path=request.url.path, exc_info=error)
    return problem(
        request.url.path, HTTPStatus.INTERNAL_SERVER_ERROR, "internal", "an unexpected error; it has been logged"
    )
