"""Whether the process lives, and whether what it needs is there; open to all, so it says little."""

import asyncio
import time
from collections.abc import Awaitable, Callable, Mapping
from http import HTTPStatus
from importlib.metadata import version
from typing import Annotated

from fastapi import APIRouter, Depends, Request, Response

from edumeet_recording.api.deps import Deps
from edumeet_recording.domain.errors import OrchestratorError
from edumeet_recording.wire.views import Liveness, Readiness

CHECK_TIMEOUT_S = 3.0
FRESH_S = 2.0
"""An outcome is told again for this long: whoever asks in a loop must not make us write to the storage in one."""

router = APIRouter(tags=["health"])


class Prober:
    """Runs the named checks side by side; a check raises a domain error that says what is missing."""

    def __init__(self, checks: Mapping[str, Callable[[], Awaitable[None]]]) -> None:
        self._checks = checks
        self._missing: dict[str, str] = {}
        self._probed_at = float("-inf")
        self._lock = asyncio.Lock()

    async def missing(self) -> dict[str, str]:
        """What is missing, and why."""
        async with self._lock:
            if time.monotonic() - self._probed_at >= FRESH_S:
                self._missing = await self._probe()
                self._probed_at = time.monotonic()
            return self._missing

    async def _probe(self) -> dict[str, str]:
        missing: dict[str, str] = {}
        async with asyncio.TaskGroup() as group:
            for name, check in self._checks.items():
                group.create_task(_check(name, check, missing))
        return dict(sorted(missing.items()))


async def _check(name: str, check: Callable[[], Awaitable[None]], missing: dict[str, str]) -> None:
    try:
        async with asyncio.timeout(CHECK_TIMEOUT_S):
            await check()
    except TimeoutError:
        missing[name] = f"no answer within {CHECK_TIMEOUT_S:g} s"
    except OrchestratorError as error:
        missing[name] = error.message


async def _prober_of(request: Request) -> Prober:
    return request.app.state.prober


@router.get("/health")
async def live() -> Liveness:
    """The process answers."""
    return Liveness(version=version("edumeet-recording"))


@router.get("/health/ready", responses={503: {"model": Readiness, "description": "What is missing"}})
async def ready(prober: Annotated[Prober, Depends(_prober_of)], deps: Deps, response: Response) -> Readiness:
    """503 while anything the service needs is missing."""
    missing = await prober.missing()
    if missing:
        response.status_code = HTTPStatus.SERVICE_UNAVAILABLE
    return Readiness(status="not_ready" if missing else "ready", missing=missing, leads=deps.leads())
