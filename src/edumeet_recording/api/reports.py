"""The report of a recording: JSON, or a page for people where that is asked for (`Accept: text/html`)."""

import json
from pathlib import PurePosixPath
from typing import Annotated, Any

from fastapi import APIRouter, Header
from starlette.responses import HTMLResponse, Response

from edumeet_recording.api.deps import ApiDeps, Deps, RecordingsReader
from edumeet_recording.api.downloads import download_name
from edumeet_recording.api.recordings import JobId
from edumeet_recording.domain.errors import NotFound, OrchestratorError
from edumeet_recording.media.report import AssetKind
from edumeet_recording.media.report_page import SECURITY_POLICY, Subject, page
from edumeet_recording.store import views
from edumeet_recording.store.views import StoredRecording

MAX_EMBEDDED_BYTES = 2_000_000
"""Of a poster or a waveform: what is larger is none that a node of ours made."""

router = APIRouter(prefix="/api/recordings", tags=["recordings"])


@router.get(
    "/{jobId}/report",
    response_model=dict[str, object],
    responses={200: {"content": {"text/html": {}}, "description": "The report, by `Accept` as JSON or as a page"}},
)
async def report(
    job_id: JobId, deps: Deps, caller: RecordingsReader, accept: Annotated[str, Header()] = "*/*"
) -> dict[str, object] | Response:
    """What finalizing found: duration, gaps, loss, drift, warnings, checksums."""
    async with deps.reading() as conn:
        stored = await views.stored_recording(conn, job_id, caller.tenant)
        shown = await views.recording(conn, job_id, caller.tenant) if _wants_page(accept) else None
    if stored is None:
        raise NotFound(f"there is no recording {job_id}")
    if stored.report is None:
        raise NotFound(f"the recording is {stored.status} and has no report", code="no_report")
    if shown is None:
        return stored.report
    name = shown.peer_info.get("displayName")
    subject = Subject(
        room_id=shown.room_id,
        peer_id=shown.peer_id,
        display_name=name if isinstance(name, str) else None,
        status=shown.status,
        reason=shown.reason_detail or shown.reason,
        file_name=download_name(stored),
    )
    poster = await _embedded(deps, stored, AssetKind.POSTER)
    waveform = await _embedded(deps, stored, AssetKind.WAVEFORM)
    text = page(stored.report, subject, poster=poster, waveform=json.loads(waveform) if waveform else None)
    return HTMLResponse(text, headers={"Content-Security-Policy": SECURITY_POLICY})


def _wants_page(accept: str) -> bool:
    """A browser names `text/html` and never JSON; who names both can read both, and JSON says more."""
    return "text/html" in accept and "json" not in accept


async def _embedded(deps: ApiDeps, stored: StoredRecording, kind: AssetKind) -> bytes | None:
    """What lies beside the file, as the report lists it; a page can do without."""
    listed: Any = (stored.report or {}).get("assets", [])
    found = next((one for one in listed if one["kind"] == kind and one["bytes"] <= MAX_EMBEDDED_BYTES), None)
    if found is None or stored.file_key is None:
        return None
    key = str(PurePosixPath(stored.file_key).with_name(found["name"]))
    try:
        return b"".join([piece async for piece in deps.storage.stream(key, 0, found["bytes"])])
    except OrchestratorError:
        return None
