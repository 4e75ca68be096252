"""Recordings: start, stop, cancel, delete; list, look, follow, and fetch."""

import time
from asyncio import sleep
from typing import Annotated

from fastapi import APIRouter, Header, Path, Query, Response

from edumeet_recording.api.deps import ApiDeps, Deps, RecordingsAdmin, RecordingsReader, RecordingsWriter
from edumeet_recording.api.new_recording import new_job
from edumeet_recording.api.paging import decode_cursor, encode_cursor
from edumeet_recording.api.recording_reads import unknown_recording
from edumeet_recording.domain.job import FINAL
from edumeet_recording.store import views
from edumeet_recording.wire.http import IDENTIFIER, EventsQuery, RecordingsQuery, StartRecording
from edumeet_recording.wire.views import JobEventPage, Recording, RecordingPage

TARGET_TIMEOUT_S = 2.0
"""How long the answer to a start with `forwarding: client` waits for the node's ports."""
TARGET_POLL_S = 0.02

router = APIRouter(prefix="/api/recordings", tags=["recordings"])

JobId = Annotated[str, Path(alias="jobId", pattern=IDENTIFIER)]
IdempotencyKey = Annotated[
    str | None, Header(alias="Idempotency-Key", min_length=1, max_length=255, pattern=r"^[\x20-\x7e]*$")
]


@router.post("/start", status_code=201, responses={200: {"model": Recording, "description": "The key named this one"}})
async def start(
    body: StartRecording,
    deps: Deps,
    caller: RecordingsWriter,
    response: Response,
    idempotency_key: IdempotencyKey = None,
) -> Recording:
    """Start recording a peer. The answer of `forwarding: client` names the target in `rtpForwarding`."""
    outcome = await deps.commands.start(new_job(body, caller, idempotency_key))
    response.status_code = 201 if outcome.created else 200
    response.headers["Location"] = f"/api/recordings/{outcome.job_id}"
    if body.forwarding == "client":
        return await _with_target(deps, outcome.job_id, caller.tenant)
    return await deps.recordings.get(outcome.job_id, caller.tenant)


@router.post("/{jobId}/stop")
async def stop(job_id: JobId, deps: Deps, caller: RecordingsWriter) -> Recording:
    """End a recording and make its file; a second stop answers the same."""
    await deps.commands.stop(job_id, caller.tenant)
    return await deps.recordings.get(job_id, caller.tenant)


@router.post("/{jobId}/cancel")
async def cancel(job_id: JobId, deps: Deps, caller: RecordingsWriter) -> Recording:
    """End a recording and throw away what there is of it."""
    await deps.commands.cancel(job_id, caller.tenant)
    return await deps.recordings.get(job_id, caller.tenant)


@router.post("/{jobId}/retry")
async def retry(job_id: JobId, deps: Deps, caller: RecordingsWriter) -> Recording:
    """Make the file of a failed recording again from its tape, where that was kept."""
    await deps.commands.retry(job_id, caller.tenant)
    return await deps.recordings.get(job_id, caller.tenant)


@router.delete("/{jobId}", status_code=204)
async def delete(job_id: JobId, deps: Deps, caller: RecordingsWriter) -> None:
    """Delete an ended recording with its file."""
    await deps.commands.delete(job_id, caller.tenant)


@router.put("/{jobId}/legal-hold")
async def hold(job_id: JobId, deps: Deps, caller: RecordingsAdmin) -> Recording:
    """Put a recording under legal hold: it can be neither cancelled nor deleted, and its tape is kept."""
    await deps.commands.hold(job_id, caller.tenant, held=True, by=caller.subject)
    return await deps.recordings.get(job_id, caller.tenant)


@router.delete("/{jobId}/legal-hold")
async def release(job_id: JobId, deps: Deps, caller: RecordingsAdmin) -> Recording:
    """Lift a legal hold; a second time answers the same."""
    await deps.commands.hold(job_id, caller.tenant, held=False, by=caller.subject)
    return await deps.recordings.get(job_id, caller.tenant)


@router.get("")
async def list_recordings(
    query: Annotated[RecordingsQuery, Query()], deps: Deps, caller: RecordingsReader
) -> RecordingPage:
    """Recordings, newest first."""
    wanted = views.RecordingFilter(
        statuses=query.status,
        room_server_id=query.room_server_id,
        room_id=query.room_id,
        peer_id=query.peer_id,
        region=query.region,
        created_from=query.created_from,
        created_to=query.created_to,
    )
    after = None if query.cursor is None else decode_cursor(query.cursor)
    async with deps.reading() as conn:
        items, end = await views.page_of_recordings(conn, wanted, tenant=caller.tenant, after=after, most=query.limit)
    return RecordingPage(items=tuple(items), next_cursor=None if end is None else encode_cursor(end))


@router.get("/{jobId}")
async def get(job_id: JobId, deps: Deps, caller: RecordingsReader) -> Recording:
    """One recording with its live numbers."""
    return await deps.recordings.get(job_id, caller.tenant)


@router.get("/{jobId}/events")
async def events(
    job_id: JobId, query: Annotated[EventsQuery, Query()], deps: Deps, caller: RecordingsReader
) -> JobEventPage:
    """What happened to a recording, in order."""
    async with deps.reading() as conn:
        if await views.stored_recording(conn, job_id, caller.tenant) is None:
            raise unknown_recording(job_id)
        found = await views.events_of_job(conn, job_id, after=query.after, most=query.limit + 1)
    items = found[: query.limit]
    return JobEventPage(items=tuple(items), next_after=items[-1].seq if len(found) > query.limit else None)


async def _with_target(deps: ApiDeps, job_id: str, tenant: str | None) -> Recording:
    """The recording as soon as it has a target or cannot get one, or as it is when the time is up."""
    give_up_at = time.monotonic() + TARGET_TIMEOUT_S
    while True:
        found = await deps.recordings.get(job_id, tenant)
        if found.rtp_forwarding is not None or found.status in FINAL or time.monotonic() >= give_up_at:
            return found
        await sleep(TARGET_POLL_S)
