"""Follows recordings over the watchers' WebSocket: connects again, and resumes after the last event it has seen."""

import asyncio
import random
from collections.abc import AsyncGenerator, Mapping
from contextlib import aclosing

from pydantic import TypeAdapter, ValidationError
from websockets.asyncio.client import connect
from websockets.exceptions import InvalidStatus, InvalidURI, WebSocketException

from edumeet_recording.client.connection import ATTEMPTS
from edumeet_recording.client.errors import ApiError
from edumeet_recording.domain.errors import Forbidden, InvalidRequest, OrchestratorError, Unavailable
from edumeet_recording.wire.events import (
    RecordingDelta,
    RecordingsFilter,
    RecordingsSnapshot,
    SubscribeRecordings,
    WatchError,
    WatchMessage,
)
from edumeet_recording.wire.views import Problem

RecordingsMessage = RecordingsSnapshot | RecordingDelta

_MESSAGE: TypeAdapter[WatchMessage] = TypeAdapter(WatchMessage)
_FIRST_PAUSE_S = 0.25


class RecordingsWatch:
    """What happens to the recordings that fit a filter, from now on."""

    def __init__(self, base_url: str, headers: Mapping[str, str], wanted: RecordingsFilter) -> None:
        self._url = f"{base_url.replace('http', 'ws', 1)}/ws"
        self._headers = headers
        self._wanted = wanted
        self._since: int | None = None

    async def messages(self) -> AsyncGenerator[RecordingsMessage]:
        """A snapshot, then deltas, for ever; another snapshot where too much was missed to resume.

        Raises `ApiError` or `Forbidden` where the token is not good for this, and `Unavailable` once several attempts
        in a row have failed.
        """
        failures = 0
        while True:
            try:
                async with aclosing(self._session()) as session:
                    async for message in session:
                        failures, self._since = 0, message.seq
                        yield message
            except Unavailable:
                failures += 1
                if failures == ATTEMPTS:
                    raise
                await asyncio.sleep(_FIRST_PAUSE_S * 2**failures * random.uniform(0.5, 1))  # noqa: S311 -- spreads load

    async def _session(self) -> AsyncGenerator[RecordingsMessage]:
        """One connection; raises `Unavailable` when it ends."""
        subscription = SubscribeRecordings(type="subscribe_recordings", filter=self._wanted, since=self._since)
        try:
            async with connect(self._url, additional_headers=self._headers, compression=None) as connection:
                await connection.send(subscription.model_dump_json(by_alias=True, exclude_none=True))
                async for text in connection:
                    message = _MESSAGE.validate_json(text)
                    if isinstance(message, WatchError):
                        raise _error_of(message)
                    if isinstance(message, RecordingsMessage):
                        yield message
        except InvalidStatus as error:
            raise _denial(error) from error
        except (InvalidURI, ValidationError) as error:
            raise Unavailable(f"{self._url} is not a recording service of this release: {error}") from error
        except (OSError, TimeoutError, WebSocketException) as error:
            reason = str(error) or type(error).__name__
            raise Unavailable(f"{self._url} cannot be followed: {reason}", code="unreachable") from error
        raise Unavailable(f"{self._url} closed the connection", code="unreachable")


def _denial(refusal: InvalidStatus) -> OrchestratorError:
    """The handshake's refusal, where it is a problem document of ours."""
    try:
        return ApiError(Problem.model_validate_json(refusal.response.body or b""))
    except ValidationError:
        return Unavailable(f"the handshake was answered with {refusal.response.status_code}", code="unreachable")


def _error_of(refusal: WatchError) -> OrchestratorError:
    if refusal.code == "missing_scope":
        return Forbidden(refusal.message, code=refusal.code)
    if refusal.code == "unavailable":
        return Unavailable(refusal.message)
    return InvalidRequest(refusal.message, code=refusal.code)
