"""Every expected error has an exit code and a line; a defect of ours has neither."""

import errno

import pytest

from edumeet_recording.cli.outcome import MEANING, ExitCode, failure_of
from edumeet_recording.client import ApiError
from edumeet_recording.domain import errors
from edumeet_recording.wire.http import StartRecording
from edumeet_recording.wire.views import FieldError, Problem


def api_error(status: int, code: str = "no", wrong: tuple[FieldError, ...] = ()) -> ApiError:
    return ApiError(Problem(type="x", title="t", status=status, detail="why", instance="/", code=code, errors=wrong))


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (api_error(400), ExitCode.USAGE),
        (api_error(401), ExitCode.NOT_ALLOWED),
        (api_error(403), ExitCode.NOT_ALLOWED),
        (api_error(404), ExitCode.NOT_FOUND),
        (api_error(409), ExitCode.REFUSED),
        (api_error(422), ExitCode.USAGE),
        (api_error(429), ExitCode.REFUSED),
        (api_error(500), ExitCode.FAILED),
        (api_error(503, "unavailable"), ExitCode.UNREACHABLE),
        (api_error(503, "no_capacity"), ExitCode.REFUSED),
        (errors.NotFound("x"), ExitCode.NOT_FOUND),
        (errors.Conflict("x"), ExitCode.REFUSED),
        (errors.NoCapacity("x", retry_after_s=1), ExitCode.REFUSED),
        (errors.Unauthenticated("x"), ExitCode.NOT_ALLOWED),
        (errors.Forbidden("x"), ExitCode.NOT_ALLOWED),
        (errors.Unavailable("x"), ExitCode.UNREACHABLE),
        (errors.InvalidRequest("x"), ExitCode.USAGE),
        (errors.OrchestratorError("x"), ExitCode.FAILED),
        (OSError(errno.EADDRINUSE, "x"), ExitCode.UNREACHABLE),
        (PermissionError(errno.EACCES, "x"), ExitCode.FAILED),
        (TimeoutError(), ExitCode.FAILED),
    ],
)
def test_the_code_says_what_kind_of_failure(error: Exception, code: ExitCode) -> None:
    failure = failure_of(error)
    assert failure
    assert failure.code is code
    assert failure.message


def test_every_code_is_explained() -> None:
    assert set(MEANING) == set(ExitCode)


def test_the_error_in_a_group_is_found() -> None:
    group = ExceptionGroup(
        "tasks", [ExceptionGroup("inner", [RuntimeError("noise"), errors.Unavailable("no database")])]
    )
    failure = failure_of(group)
    assert failure
    assert failure.message == "no database"


def test_a_defect_is_not_hidden() -> None:
    assert failure_of(RuntimeError("bug")) is None
    assert failure_of(ExceptionGroup("tasks", [KeyError("bug")])) is None


def test_a_refused_field_is_named() -> None:
    failure = failure_of(api_error(422, wrong=(FieldError(field="rtpStreams.0.port", reason="is needed"),)))
    assert failure
    assert failure.message == "rtpStreams.0.port: is needed"


def test_a_missing_token_says_where_to_put_it() -> None:
    failure = failure_of(api_error(401))
    assert failure
    assert "EDUMEET_RECORDING_TOKEN" in failure.message


def test_a_wrong_value_is_named_by_its_field() -> None:
    with pytest.raises(ValueError, match="validation error") as raised:
        StartRecording.model_validate({"roomServerId": "../x", "roomId": "r", "peerId": "p", "rtpStreams": ()})
    failure = failure_of(raised.value)
    assert failure
    assert failure.code is ExitCode.USAGE
    assert failure.message.startswith("roomServerId: ")
