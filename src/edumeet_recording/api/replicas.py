"""The orchestrators that serve this database."""

from datetime import timedelta

from fastapi import APIRouter

from edumeet_recording.api.deps import Deps, NodesReader
from edumeet_recording.control.replicas import DEAD_S
from edumeet_recording.store import replicas
from edumeet_recording.store.db import db_now
from edumeet_recording.wire.replicas import ReplicaList

router = APIRouter(tags=["nodes"])


@router.get("/api/replicas")
async def list_replicas(deps: Deps, caller: NodesReader) -> ReplicaList:  # noqa: ARG001 - the scope is the check
    """Who is there, who leads, and who holds how many links."""
    async with deps.reading() as conn:
        since = await db_now(conn) - timedelta(seconds=DEAD_S)
        return ReplicaList(items=tuple(await replicas.shown(conn, since)))
