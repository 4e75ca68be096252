"""The finished file: streamed in ranges (RFC 9110 §14) from a folder, redirected to a signed URL elsewhere."""

import re
from dataclasses import dataclass
from datetime import UTC
from http import HTTPStatus
from typing import Literal

from fastapi import APIRouter
from starlette.requests import Request
from starlette.responses import RedirectResponse, Response, StreamingResponse

from edumeet_recording.api.deps import Deps, RecordingsReader
from edumeet_recording.api.errors import problem
from edumeet_recording.api.recordings import JobId
from edumeet_recording.domain.codecs import Container
from edumeet_recording.domain.errors import Conflict, NotFound
from edumeet_recording.domain.job import FINAL
from edumeet_recording.store import views
from edumeet_recording.store.views import StoredRecording

SIGNED_URL_S = 900
MEDIA_TYPE = {Container.MP4: "video/mp4", Container.WEBM: "video/webm", Container.MKV: "video/x-matroska"}

_UNSAFE = re.compile(r"[^A-Za-z0-9_-]+")
_RANGE = re.compile(r"bytes=(\d{0,18})-(\d{0,18})")

router = APIRouter(prefix="/api/recordings", tags=["recordings"])


@dataclass(frozen=True, slots=True)
class ByteRange:
    """Bytes `start` up to and without `end`."""

    start: int
    end: int


def wanted_range(header: str | None, size: int) -> ByteRange | Literal["unsatisfiable"] | None:
    """What a Range header asks of `size` bytes; None for the whole: no header, or one we need not understand."""
    matched = _RANGE.fullmatch(header.replace(" ", "")) if header else None
    if matched is None or matched.group() == "bytes=-":
        return None
    first, last = matched.groups()
    if not first:
        start, end = max(0, size - int(last)), size
    else:
        start, end = int(first), min(size, int(last) + 1) if last else size
        if last and int(last) < int(first):
            return None
    return ByteRange(start, end) if start < end else "unsatisfiable"


def download_name(stored: StoredRecording) -> str:
    """A file name that is safe in a header and on every file system: letters, digits, `_`, `-` and one dot."""
    room, peer = (_UNSAFE.sub("_", text).strip("_")[:40] or "unnamed" for text in (stored.room_id, stored.peer_id))
    return f"{room}-{peer}-{stored.began_at.astimezone(UTC):%Y%m%dT%H%M%SZ}.{stored.container}"


@router.head("/{jobId}/download", include_in_schema=False)
@router.get(
    "/{jobId}/download",
    response_class=Response,
    responses={
        200: {"content": {mime: {} for mime in MEDIA_TYPE.values()}, "description": "The whole file"},
        206: {"content": {mime: {} for mime in MEDIA_TYPE.values()}, "description": "The bytes of the Range header"},
        302: {"description": "A signed URL of the object storage"},
    },
)
async def download(job_id: JobId, request: Request, deps: Deps, caller: RecordingsReader) -> Response:
    """The finished file, or the part of it that a Range header names."""
    async with deps.reading() as conn:
        stored = await views.stored_recording(conn, job_id, caller.tenant)
    if stored is None:
        raise NotFound(f"there is no recording {job_id}")
    key, size = _file_of(stored)
    url = await deps.storage.signed_url(key, SIGNED_URL_S)
    if url is not None:
        return RedirectResponse(url, HTTPStatus.FOUND)
    if await deps.storage.stat(key) is None:
        raise NotFound("the file is not in the storage any more", code="file_missing")
    etag = f'"{stored.file_sha256}"'
    is_same = request.headers.get("if-range", etag) == etag
    wanted = wanted_range(request.headers.get("range"), size) if is_same else None
    if wanted == "unsatisfiable":
        status = HTTPStatus.REQUESTED_RANGE_NOT_SATISFIABLE
        detail, whole = f"the file has {size} bytes", {"Content-Range": f"bytes */{size}"}
        return problem(request.url.path, status, "range_not_satisfiable", detail, headers=whole)
    part = wanted or ByteRange(0, size)
    headers = {
        "Accept-Ranges": "bytes",
        "Content-Disposition": f'attachment; filename="{download_name(stored)}"',
        "Content-Length": str(part.end - part.start),
        "ETag": etag,
    }
    if wanted:
        headers["Content-Range"] = f"bytes {part.start}-{part.end - 1}/{size}"
    status = HTTPStatus.PARTIAL_CONTENT if wanted else HTTPStatus.OK
    media_type = MEDIA_TYPE[stored.container]
    if request.method == "HEAD":
        return Response(None, status, headers, media_type)
    return StreamingResponse(deps.storage.stream(key, part.start, part.end), status, headers, media_type)


def _file_of(stored: StoredRecording) -> tuple[str, int]:
    """Key and size of the file; raises where there is none yet (409), or none at all (404)."""
    if stored.file_key is not None and stored.file_bytes is not None:
        return stored.file_key, stored.file_bytes
    if stored.status in FINAL:
        raise NotFound(f"the recording is {stored.status} and has no file", code="no_file")
    raise Conflict(f"the recording is {stored.status}; its file is not made yet", code="not_finished")
