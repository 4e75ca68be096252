"""Files come whole, go on where they broke off, and are refused when they are not what was promised."""

import hashlib
import os
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import httpx2
import pytest

from edumeet_recording.client import ApiError, Asset, RecordingClient
from edumeet_recording.client.download import Damaged
from edumeet_recording.domain.codecs import Container, FileFormat
from edumeet_recording.domain.errors import Conflict
from edumeet_recording.wire.views import Recording, RecordingFile

Handler = Callable[[httpx2.Request], httpx2.Response]
ClientOf = Callable[[Handler], RecordingClient]

CONTENT = bytes(range(256)) * 40
SHA256 = hashlib.sha256(CONTENT).hexdigest()


class _BreaksOff(httpx2.AsyncByteStream):
    def __init__(self, content: bytes) -> None:
        self._content = content

    async def __aiter__(self) -> AsyncIterator[bytes]:
        yield self._content
        raise httpx2.ReadError("reset")


@pytest.fixture
def finished(recording: Recording) -> Recording:
    file = RecordingFile(
        bytes=len(CONTENT),
        sha256=SHA256,
        container=Container.MP4,
        format=FileFormat.MP4,
        url="/api/recordings/job-1/download",
        report_url="/api/recordings/job-1/report",
    )
    return recording.model_copy(update={"file": file})


def ranged(request: httpx2.Request) -> httpx2.Response:
    """A service that keeps to RFC 9110 §14."""
    wanted = request.headers.get("range")
    if wanted is None:
        return httpx2.Response(200, content=CONTENT)
    assert request.headers["if-range"] == f'"{SHA256}"'
    return httpx2.Response(206, content=CONTENT[int(wanted.removeprefix("bytes=").removesuffix("-")) :])


async def test_a_file_comes_whole_and_its_progress_is_told(
    client_of: ClientOf, finished: Recording, tmp_path: Path
) -> None:
    told: list[tuple[int, int]] = []
    target = tmp_path / "new" / "file.mp4"
    async with client_of(ranged) as client:
        assert await client.download(finished, target, lambda *at: told.append(at)) == target
    assert target.read_bytes() == CONTENT
    assert told[-1] == (len(CONTENT), len(CONTENT))
    assert [path.name for path in target.parent.iterdir()] == ["file.mp4"]


async def test_what_breaks_off_goes_on_where_it_was(client_of: ClientOf, finished: Recording, tmp_path: Path) -> None:
    ranges: list[str | None] = []

    def service(request: httpx2.Request) -> httpx2.Response:
        ranges.append(request.headers.get("range"))
        if len(ranges) == 1:
            return httpx2.Response(200, stream=_BreaksOff(CONTENT[:1000]))
        return ranged(request)

    async with client_of(service) as client:
        await client.download(finished, tmp_path / "file.mp4")
    assert ranges == [None, "bytes=1000-"]
    assert (tmp_path / "file.mp4").read_bytes() == CONTENT


async def test_an_earlier_process_is_continued(client_of: ClientOf, finished: Recording, tmp_path: Path) -> None:
    (tmp_path / f"file.mp4.{SHA256[:12]}.part").write_bytes(CONTENT[:500])
    async with client_of(ranged) as client:
        await client.download(finished, tmp_path / "file.mp4")
    assert (tmp_path / "file.mp4").read_bytes() == CONTENT


async def test_a_service_that_ignores_the_range_starts_over(
    client_of: ClientOf, finished: Recording, tmp_path: Path
) -> None:
    (tmp_path / f"file.mp4.{SHA256[:12]}.part").write_bytes(b"x" * 500)
    async with client_of(lambda _request: httpx2.Response(200, content=CONTENT)) as client:
        await client.download(finished, tmp_path / "file.mp4")
    assert (tmp_path / "file.mp4").read_bytes() == CONTENT


async def test_a_damaged_file_is_refused_and_not_kept(client_of: ClientOf, finished: Recording, tmp_path: Path) -> None:
    async with client_of(lambda _request: httpx2.Response(200, content=CONTENT[:-1] + b"!")) as client:
        with pytest.raises(Damaged):
            await client.download(finished, tmp_path / "file.mp4")
    assert os.listdir(tmp_path) == []


async def test_a_signed_url_gets_no_token(client_of: ClientOf, finished: Recording, tmp_path: Path) -> None:
    def service(request: httpx2.Request) -> httpx2.Response:
        if request.url.host == "service":
            return httpx2.Response(302, headers={"Location": "http://bucket/key?signature=x"})
        assert "authorization" not in request.headers
        return httpx2.Response(200, content=CONTENT)

    async with client_of(service) as client:
        await client.download(finished, tmp_path / "file.mp4")
    assert (tmp_path / "file.mp4").read_bytes() == CONTENT


async def test_a_file_that_is_gone_is_an_error(client_of: ClientOf, finished: Recording, tmp_path: Path) -> None:
    async with client_of(lambda _request: httpx2.Response(404, text="")) as client:
        with pytest.raises(ApiError):
            await client.download(finished, tmp_path / "file.mp4")


async def test_what_lies_beside_the_file_comes_by_the_names_of_the_report(client_of: ClientOf, tmp_path: Path) -> None:
    listed = {"name": "poster 1.jpg", "kind": "poster", "bytes": len(CONTENT), "sha256": SHA256, "atS": 1.0}

    def service(request: httpx2.Request) -> httpx2.Response:
        if request.url.path.endswith("/report"):
            return httpx2.Response(200, json={"assets": [listed]})
        assert request.url.raw_path == b"/api/recordings/job%2F1/assets/poster%201.jpg"
        return ranged(request)

    async with client_of(service) as client:
        (asset,) = await client.assets("job/1")
        assert (asset.name, asset.kind) == ("poster 1.jpg", "poster")
        assert await client.asset(asset, tmp_path / "poster.jpg") == tmp_path / "poster.jpg"
    assert (tmp_path / "poster.jpg").read_bytes() == CONTENT


async def test_a_damaged_asset_is_refused(client_of: ClientOf, tmp_path: Path) -> None:
    asset = Asset("poster.jpg", "poster", len(CONTENT), "0" * 64, "/poster.jpg")
    async with client_of(ranged) as client:
        with pytest.raises(Damaged):
            await client.asset(asset, tmp_path / "poster.jpg")


async def test_a_report_is_had_as_a_page(client_of: ClientOf) -> None:
    def service(request: httpx2.Request) -> httpx2.Response:
        assert request.headers["accept"] == "text/html"
        return httpx2.Response(200, text="<!doctype html>")

    async with client_of(service) as client:
        assert await client.report_page("job-1") == "<!doctype html>"


async def test_without_a_file_nothing_is_asked(client_of: ClientOf, recording: Recording, tmp_path: Path) -> None:
    def service(_request: httpx2.Request) -> httpx2.Response:
        raise AssertionError("nothing is to be asked")

    async with client_of(service) as client:
        with pytest.raises(Conflict, match="is pending and has no file"):
            await client.download(recording, tmp_path / "file.mp4")
