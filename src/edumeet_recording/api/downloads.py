"""The finished file and what lies beside it: streamed in ranges (RFC 9110 §14), or redirected to a signed URL."""

import re
from dataclasses import dataclass
from datetime import UTC
from http import HTTPStatus
from pathlib import PurePosixPath
from typing import Annotated, Any, Literal

from fastapi import APIRouter, Path
from starlette.requests import Request
from starlette.responses import RedirectResponse, Response, StreamingResponse

from edumeet_recording.api.deps import ApiDeps, Deps, RecordingsReader
from edumeet_recording.api.errors import problem
from edumeet_recording.api.recordings import JobId
from edumeet_recording.domain.codecs import FileFormat
from edumeet_recording.domain.errors import Conflict, NotFound
from edumeet_recording.domain.job import FINAL
from edumeet_recording.storage.objects import CONTENT_TYPES
from edumeet_recording.store import views
from edumeet_recording.store.views import StoredRecording

SIGNED_URL_S = 900
_FILES = {"content": {CONTENT_TYPES[f".{each}"]: {} for each in FileFormat}}
_ASSETS = {"content": {CONTENT_TYPES[suffix]: {} for suffix in (".jpg", ".json", ".mp4", ".webm", ".mkv")}}

_UNSAFE = re.compile(r"[^A-Za-z0-9_-]+")
_RANGE = re.compile(r"bytes=(\d{0,18})-(\d{0,18})")

router = APIRouter(prefix="/api/recordings", tags=["recordings"])


AssetName = Annotated[str, Path(pattern=r"^[A-Za-z0-9_][A-Za-z0-9._-]{0,199}$")]


@dataclass(frozen=True, slots=True)
class Served:
    """An object of the storage as it is answered."""

    key: str
    bytes: int
    sha256: str
    disposition: str

    @property
    def media_type(self) -> str:
        """By its extension."""
        return CONTENT_TYPES[PurePosixPath(self.key).suffix]


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
    return f"{room}-{peer}-{stored.began_at.astimezone(UTC):%Y%m%dT%H%M%SZ}.{stored.format}"


@router.head("/{jobId}/download", include_in_schema=False)
@router.get(
    "/{jobId}/download",
    response_class=Response,
    responses={
        200: {**_FILES, "description": "The whole file"},
        206: {**_FILES, "description": "The bytes of the Range header"},
        302: {"description": "A signed URL of the object storage"},
    },
)
async def download(job_id: JobId, request: Request, deps: Deps, caller: RecordingsReader) -> Response:
    """The finished file, or the part of it that a Range header names."""
    async with deps.reading() as conn:
        stored = await views.stored_recording(conn, job_id, caller.tenant)
    if stored is None:
        raise NotFound(f"there is no recording {job_id}")
    return await _served(_file_of(stored), request, deps)


@router.get(
    "/{jobId}/assets/{name}",
    response_class=Response,
    responses={
        200: {**_ASSETS, "description": "All of it"},
        206: {**_ASSETS, "description": "The bytes of the Range header"},
        302: {"description": "A signed URL of the object storage"},
    },
)
async def asset(job_id: JobId, name: AssetName, request: Request, deps: Deps, caller: RecordingsReader) -> Response:
    """What lies beside the file, by a name of the report's `assets`: poster, thumbnails, waveform, parts, manifest."""
    async with deps.reading() as conn:
        stored = await views.stored_recording(conn, job_id, caller.tenant)
    if stored is None:
        raise NotFound(f"there is no recording {job_id}")
    return await _served(_asset_of(stored, name), request, deps)


async def _served(served: Served, request: Request, deps: ApiDeps) -> Response:
    url = await deps.storage.signed_url(served.key, SIGNED_URL_S)
    if url is not None:
        return RedirectResponse(url, HTTPStatus.FOUND)
    if await deps.storage.stat(served.key) is None:
        raise NotFound("the file is not in the storage any more", code="file_missing")
    etag = f'"{served.sha256}"'
    is_same = request.headers.get("if-range", etag) == etag
    wanted = wanted_range(request.headers.get("range"), served.bytes) if is_same else None
    if wanted == "unsatisfiable":
        status = HTTPStatus.REQUESTED_RANGE_NOT_SATISFIABLE
        detail, whole = f"the file has {served.bytes} bytes", {"Content-Range": f"bytes */{served.bytes}"}
        return problem(request.url.path, status, "range_not_satisfiable", detail, headers=whole)
    part = wanted or ByteRange(0, served.bytes)
    headers = {
        "Accept-Ranges": "bytes",
        "Content-Disposition": served.disposition,
        "Content-Length": str(part.end - part.start),
        "ETag": etag,
    }
    if wanted:
        headers["Content-Range"] = f"bytes {part.start}-{part.end - 1}/{served.bytes}"
    status = HTTPStatus.PARTIAL_CONTENT if wanted else HTTPStatus.OK
    if request.method == "HEAD":
        return Response(None, status, headers, served.media_type)
    return StreamingResponse(deps.storage.stream(served.key, part.start, part.end), status, headers, served.media_type)


def _file_of(stored: StoredRecording) -> Served:
    """The finished file; raises where there is none yet (409), or none at all (404)."""
    if stored.file_key is not None and stored.file_bytes is not None:
        disposition = f'attachment; filename="{download_name(stored)}"'
        return Served(stored.file_key, stored.file_bytes, stored.file_sha256 or "", disposition)
    if stored.status in FINAL:
        raise NotFound(f"the recording is {stored.status} and has no file", code="no_file")
    raise Conflict(f"the recording is {stored.status}; its file is not made yet", code="not_finished")


def _asset_of(stored: StoredRecording, name: str) -> Served:
    """An asset that the report lists under this name; nothing else can be had."""
    listed: Any = (stored.report or {}).get("assets", [])
    found = next((each for each in listed if each["name"] == name), None)
    if found is None or stored.file_key is None:
        raise NotFound(f"the recording has no asset {name}", code="no_asset")
    folder = stored.file_key.rpartition("/")[0]
    return Served(f"{folder}/{name}", found["bytes"], found["sha256"], f'inline; filename="{name}"')
