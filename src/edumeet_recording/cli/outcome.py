"""How a command ends: one exit code a kind of failure, and one line that says what is wrong and what to do."""

import errno
from collections.abc import Iterator
from dataclasses import dataclass
from enum import IntEnum, unique

from pydantic import ValidationError

from edumeet_recording.client import ApiError
from edumeet_recording.domain import errors


@unique
class ExitCode(IntEnum):
    """What a command's exit code means."""

    OK = 0
    FAILED = 1
    USAGE = 2
    NOT_FOUND = 3
    REFUSED = 4
    UNREACHABLE = 5
    NOT_ALLOWED = 6


MEANING = {
    ExitCode.OK: "done",
    ExitCode.FAILED: "it failed, or the recording did",
    ExitCode.USAGE: "wrong usage, setting or value",
    ExitCode.NOT_FOUND: "there is no such recording or node",
    ExitCode.REFUSED: "refused as things are: no capacity, already recorded, already ended",
    ExitCode.UNREACHABLE: "something needed is away: the service, the database, the storage, a free port",
    ExitCode.NOT_ALLOWED: "no token, a wrong or expired one, or one that lacks the scope",
}

_OF_ERROR: dict[type[errors.OrchestratorError], ExitCode] = {
    errors.OrchestratorError: ExitCode.FAILED,
    errors.InvalidRequest: ExitCode.USAGE,
    errors.NotFound: ExitCode.NOT_FOUND,
    errors.Conflict: ExitCode.REFUSED,
    errors.Unauthenticated: ExitCode.NOT_ALLOWED,
    errors.Forbidden: ExitCode.NOT_ALLOWED,
    errors.Refused: ExitCode.REFUSED,
    errors.Unavailable: ExitCode.UNREACHABLE,
}
_OF_STATUS = {
    400: ExitCode.USAGE,
    401: ExitCode.NOT_ALLOWED,
    403: ExitCode.NOT_ALLOWED,
    404: ExitCode.NOT_FOUND,
    409: ExitCode.REFUSED,
    413: ExitCode.USAGE,
    422: ExitCode.USAGE,
    429: ExitCode.REFUSED,
    502: ExitCode.UNREACHABLE,
    503: ExitCode.UNREACHABLE,
    504: ExitCode.UNREACHABLE,
}


@dataclass(frozen=True, slots=True)
class Failure:
    """The end of a command that did not succeed."""

    code: ExitCode
    message: str


def failure_of(error: BaseException) -> Failure | None:
    """What an expected error means for whoever typed the command; None where it is a defect of ours."""
    return next(filter(None, map(_expected, _leaves(error))), None)


def _leaves(error: BaseException) -> Iterator[BaseException]:
    if isinstance(error, BaseExceptionGroup):
        for part in error.exceptions:
            yield from _leaves(part)
    else:
        yield error


def _expected(error: BaseException) -> Failure | None:
    match error:
        case ApiError():
            return Failure(_code_of_answer(error), _told(error) + _hint(error.status))
        case errors.OrchestratorError():
            code = next(_OF_ERROR[kind] for kind in type(error).__mro__ if kind in _OF_ERROR)
            named = f"{error.field}: " if error.field else ""
            return Failure(code, named + error.message)
        case ValidationError():
            wrong = (f"{'.'.join(map(str, each['loc']))}: {_reason(each['msg'])}" for each in error.errors())
            return Failure(ExitCode.USAGE, "; ".join(wrong))
        case OSError(errno=errno.EADDRINUSE):
            taken = "the port is taken: end what listens there, or set PORT (orchestrator) or NODE_PORT (node)"
            return Failure(ExitCode.UNREACHABLE, taken)
        case OSError():
            return Failure(ExitCode.FAILED, str(error) or type(error).__name__)
        case _:
            return None


def _told(error: ApiError) -> str:
    """What is wrong, with the name of each field that is."""
    wrong = error.problem.errors
    return "; ".join(f"{each.field}: {each.reason}" for each in wrong) if wrong else error.message


def _code_of_answer(error: ApiError) -> ExitCode:
    # the queue that is full and the database that is away share a status
    if error.code in {"no_capacity", "refused"}:
        return ExitCode.REFUSED
    return _OF_STATUS.get(error.status, ExitCode.FAILED)


def _hint(status: int) -> str:
    return "; set EDUMEET_RECORDING_TOKEN, or give --token" if status == 401 else ""


def _reason(message: str) -> str:
    return message.removeprefix("Value error, ")
