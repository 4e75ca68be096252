"""Whether the process lives, and whether what it needs is there; open to all, so it says little."""

import asyncio
from http import HTTPStatus
from importlib.metadata import version

from fastapi import APIRouter, Response

from edumeet_recording.api.deps import ApiDeps, Deps
from edumeet_recording.domain.errors import OrchestratorError
from edumeet_recording.wire.views import Liveness, Readiness

CHECK_TIMEOUT_S = 3.0

router = APIRouter(tags=["health"])


@router.get("/health")
async def live() -> Liveness:
    """The process answers."""
    return Liveness(version=version("edumeet-recording"))


@router.get("/health/ready", responses={503: {"model": Readiness, "description": "What is missing"}})
async def ready(deps: Deps, response: Response) -> Readiness:
    """503 while anything the service needs is missing."""
    missing: dict[str, str] = {}
    async with asyncio.TaskGroup() as group:
        for name in deps.checks:
            group.create_task(_check(deps, name, missing))
    if missing:
        response.status_code = HTTPStatus.SERVICE_UNAVAILABLE
    return Readiness(status="not_ready" if missing else "ready", missing=dict(sorted(missing.items())))


async def _check(deps: ApiDeps, name: str, missing: dict[str, str]) -> None:
    try:
        async with asyncio.timeout(CHECK_TIMEOUT_S):
            await deps.checks[name]()
    except TimeoutError:
        missing[name] = f"no answer within {CHECK_TIMEOUT_S:g} s"
    except OrchestratorError as error:
        missing[name] = error.message
