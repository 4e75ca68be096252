"""What can go wrong between us and the service: an answer that says no (`ApiError`), or none (`Unavailable`)."""

from collections.abc import Generator
from contextlib import contextmanager

import httpx2
from pydantic import ValidationError

from edumeet_recording.domain.errors import OrchestratorError, Unavailable
from edumeet_recording.wire.views import Problem


class ApiError(OrchestratorError):
    """The service answered with a problem document (RFC 9457). `retry_after_s` where it said when to try again."""

    def __init__(self, problem: Problem, *, retry_after_s: float | None = None) -> None:
        super().__init__(problem.detail, code=problem.code)
        self.problem = problem
        self.retry_after_s = retry_after_s

    @property
    def status(self) -> int:
        """The HTTP status."""
        return self.problem.status


def error_of(response: httpx2.Response, body: bytes) -> ApiError:
    """The error an answer of 400 or more stands for, also where a proxy wrote it and it is no problem document."""
    try:
        problem = Problem.model_validate_json(body)
    except ValidationError:
        problem = Problem(
            type="about:blank",
            title=response.reason_phrase,
            status=response.status_code,
            detail=f"{response.url} answered {response.status_code} {response.reason_phrase}",
            instance=response.url.path,
            code="http_error",
        )
    return ApiError(problem, retry_after_s=_seconds(response.headers.get("retry-after", "")))


def _seconds(retry_after: str) -> float | None:
    """Only the form in seconds (RFC 9110 §10.2.3): our service sends no dates, and a proxy's date needs a clock."""
    return float(retry_after) if retry_after.isdecimal() else None


@contextmanager
def mapped_errors(base_url: str) -> Generator[None]:
    """Raises `Unavailable`, naming the service, where there is no answer or one that is none of ours."""
    try:
        yield
    except httpx2.TimeoutException as error:
        raise Unavailable(f"{base_url} does not answer in time", code="unreachable") from error
    except (httpx2.TransportError, OSError) as error:
        raise Unavailable(
            f"{base_url} cannot be reached: {error or type(error).__name__}", code="unreachable"
        ) from error
    except (httpx2.InvalidURL, httpx2.DecodingError, ValidationError) as error:
        message = f"{base_url} is not a recording service of this release: {error}"
        raise Unavailable(message, code="not_our_service") from error
