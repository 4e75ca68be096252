"""The contract of object storage: the same on a folder and on S3, also where things go wrong."""

import asyncio
import os
import sys
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager, suppress
from datetime import UTC
from pathlib import Path

import httpx2
import pytest
from tests.s3 import s3_settings
from tests.waiting import eventually

from edumeet_recording.config import CommonSettings
from edumeet_recording.domain.errors import InvalidRequest, NotFound, Unavailable
from edumeet_recording.storage import objects as module
from edumeet_recording.storage.objects import PART_BYTES, ObjectStore

BAD_KEYS = {
    "empty": ["", "/", "a//b", "a/"],
    "elsewhere": ["/etc/passwd", "../up", "a/../b", "a/..", "a/./b", "a\\b"],
    "control": ["a\nb", "a\x00b", "a\x7fb", "a\u202eb", "\ud800"],
    "own meaning": ["a#1", "a?b"],
    "long": ["x" * 241, "ö" * 121, "/".join(["long"] * 300)],
}


@pytest.mark.parametrize(
    "key", ["flat", "tapes/job-1/cap-1/000001.tape", "Vorlesung Ökologie 50% {a}=~*.mp4", "." + "x" * 230]
)
async def test_bytes_come_back(objects: ObjectStore, key: str) -> None:
    await objects.put_bytes(key, b"first")
    await objects.put_bytes(key, b"second, longer")
    assert await objects.get(key) == b"second, longer"
    assert [info.key for info in await objects.list("")] == [key]


@pytest.mark.parametrize("size", [0, 1, PART_BYTES, 2 * PART_BYTES + 1])
async def test_files_come_back(objects: ObjectStore, tmp_path: Path, size: int) -> None:
    source = tmp_path / "source"
    source.write_bytes(os.urandom(size))
    await objects.put_file("a/file.mp4", source)
    assert b"".join([part async for part in objects.stream("a/file.mp4")]) == source.read_bytes()
    info = await objects.stat("a/file.mp4")
    assert info is not None
    assert info.bytes == size


async def test_stat_tells_size_age_and_change(objects: ObjectStore) -> None:
    assert await objects.stat("a/b") is None
    await objects.put_bytes("a/b", b"12345")
    before = await objects.stat("a/b")
    await objects.put_bytes("a/b", b"1234567")
    after = await objects.stat("a/b")
    assert before is not None
    assert after is not None
    assert (before.key, before.bytes, after.bytes) == ("a/b", 5, 7)
    assert before.etag != after.etag
    assert before.last_modified.utcoffset() == UTC.utcoffset(None)


async def test_what_is_not_there_is_not_found(objects: ObjectStore) -> None:
    for read in (objects.get("no/such"), anext(objects.stream("no/such"))):
        with pytest.raises(NotFound, match="no/such"):
            await read


async def test_delete_may_come_twice(objects: ObjectStore) -> None:
    await objects.put_bytes("a/b", b"x")
    await objects.delete("a/b")
    await objects.delete("a/b")
    assert await objects.stat("a/b") is None


async def test_a_prefix_is_a_folder(objects: ObjectStore) -> None:
    for key in ("a/1", "a/b/2", "ab/3", "c"):
        await objects.put_bytes(key, key.encode())
    assert [info.key for info in await objects.list("a")] == ["a/1", "a/b/2"]
    assert [info.key for info in await objects.list("")] == ["a/1", "a/b/2", "ab/3", "c"]
    await objects.delete_prefix("a")
    await objects.delete_prefix("a")
    assert await objects.list("a") == []
    assert [info.key for info in await objects.list("")] == ["ab/3", "c"]


async def test_many_objects_are_listed_and_deleted(objects: ObjectStore, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "DELETE_AT_ONCE", 10)
    keys = [f"tapes/{number:03}" for number in range(25)]
    async with asyncio.TaskGroup() as tasks:
        for key in keys:
            tasks.create_task(objects.put_bytes(key, b"x"))
    assert [info.key for info in await objects.list("tapes")] == keys
    await objects.delete_prefix("tapes")
    assert await objects.list("tapes") == []


async def test_a_range_is_streamed(objects: ObjectStore, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "PART_BYTES", 100)
    data = os.urandom(1050)
    await objects.put_bytes("ranged", data)

    async def read(start: int, end: int | None) -> bytes:
        return b"".join([part async for part in objects.stream("ranged", start, end)])

    assert await read(0, None) == data
    assert await read(0, 1) == data[:1]
    assert await read(99, 301) == data[99:301]
    assert await read(1049, None) == data[1049:]
    assert await read(5, 5) == b""


@asynccontextmanager
async def _ignoring_ranges(data: bytes, *answers: tuple[int, bytes]) -> AsyncGenerator[tuple[ObjectStore, list[bytes]]]:
    """A storage that has `data` under each key, and what it was asked for; `answers`: length and body of its GETs."""
    asked = list[bytes]()

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        length, body = len(data), b""
        if (await reader.readuntil(b"\r\n\r\n")).startswith(b"GET "):
            length, body = answers[min(len(asked), len(answers) - 1)]
            asked.append(body)
        writer.write(b'HTTP/1.1 200 OK\r\nLast-Modified: Thu, 01 Jan 2026 00:00:00 GMT\r\nETag: "1"\r\n')
        writer.write(b"Connection: close\r\nContent-Length: %d\r\n\r\n" % length + body)
        with suppress(ConnectionError):
            await writer.drain()
        writer.close()

    server = await asyncio.start_server(answer, "127.0.0.1", 0)
    async with server:
        port = server.sockets[0].getsockname()[1]
        yield ObjectStore.open(s3_settings(f"http://127.0.0.1:{port}")), asked


@pytest.mark.parametrize("breaks_off", [False, True])
async def test_a_server_that_ignores_ranges_sends_an_object_once(
    breaks_off: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "PART_BYTES", 1000)
    data = os.urandom(50_500)
    whole = len(data), data
    answers = [whole, (len(data), data[:30_000]), whole] if breaks_off else [whole]
    async with _ignoring_ranges(data, *answers) as (objects, asked):
        assert b"".join([part async for part in objects.stream("a", 700)]) == data[700:]
    # a range in vain, and all of it; obstore too asks for the rest of what broke off by a range, in vain
    assert len(asked) == (2 + 1 + 2 if breaks_off else 2)


async def test_an_object_that_became_shorter_meanwhile_is_unavailable() -> None:
    async with _ignoring_ranges(b"four", (3, b"now")) as (objects, _):
        with pytest.raises(Unavailable, match="no byte 3"):
            await anext(objects.stream("a", 3))


async def test_a_signed_url_needs_no_credentials(objects: ObjectStore, settings: CommonSettings) -> None:
    await objects.put_bytes("a/ü b.webm", b"picture")
    url = await objects.signed_url("a/ü b.webm", 60)
    if settings.storage_url.startswith("file:"):
        assert url is None
    else:
        assert url is not None
        async with httpx2.AsyncClient() as client:
            answer = await client.get(url)
        assert (answer.content, answer.headers["content-type"]) == (b"picture", "video/webm")


async def test_a_file_is_adopted_by_a_folder_only_and_once(
    objects: ObjectStore, settings: CommonSettings, tmp_path: Path
) -> None:
    spooled = tmp_path / "spooled"
    spooled.write_bytes(b"tape")
    is_folder = settings.storage_url.startswith("file:")
    assert objects.adopt("tapes/j/c/000000.tape", spooled) == is_folder
    assert objects.adopt("tapes/j/c/000000.tape", spooled) is False
    spooled.unlink()
    if is_folder:
        assert await objects.get("tapes/j/c/000000.tape") == b"tape"


async def test_check_leaves_nothing(objects: ObjectStore) -> None:
    await objects.check()
    assert await objects.list("") == []


@pytest.mark.parametrize("fault", BAD_KEYS)
async def test_a_bad_key_reaches_no_storage(tmp_path: Path, fault: str) -> None:
    objects = ObjectStore.open(CommonSettings(storage_url=tmp_path.as_uri()))
    for key in BAD_KEYS[fault]:
        for call in (
            objects.put_bytes(key, b""),
            objects.put_file(key, Path(__file__)),
            objects.get(key),
            anext(objects.stream(key, 0, 1)),
            objects.stat(key),
            objects.delete(key),
            objects.delete_prefix(key),
            objects.signed_url(key, 60),
        ):
            with pytest.raises(InvalidRequest):
                await call
    assert os.listdir(tmp_path) == []


async def test_an_unwritten_file_does_not_appear(objects: ObjectStore, tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        await objects.put_file("a/b", tmp_path / "not there")
    assert await objects.list("") == []


@pytest.mark.parametrize("url", ["ftp://x/y", "/just/a/path", "s3://", "nonsense"])
def test_a_url_that_names_no_storage_is_refused(url: str) -> None:
    with pytest.raises(InvalidRequest, match="STORAGE_URL"):
        ObjectStore.open(CommonSettings(storage_url=url))


def test_a_folder_that_cannot_be_is_unavailable(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(Unavailable, match="file"):
        ObjectStore.open(CommonSettings(storage_url=(tmp_path / "file" / "folder").as_uri()))


async def test_an_empty_url_is_a_folder_under_the_state_dir(tmp_path: Path) -> None:
    objects = ObjectStore.open(CommonSettings(storage_url="", state_dir=tmp_path))
    await objects.put_bytes("a/b", b"x")
    assert (tmp_path / "storage/a/b").read_bytes() == b"x"


async def test_half_written_files_go_with_their_folder(tmp_path: Path) -> None:
    objects = ObjectStore.open(CommonSettings(storage_url=tmp_path.as_uri()))
    await objects.put_bytes("a/b", b"x")
    (tmp_path / "a/c#1").touch()
    assert [info.key for info in await objects.list("a")] == ["a/b"]
    await objects.delete_prefix("a")
    assert not (tmp_path / "a").exists()


async def _all_fail(objects: ObjectStore, tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"x")
    for call in (
        objects.check(),
        objects.put_bytes("a", b"x"),
        objects.put_file("a", tmp_path / "file"),
        objects.get("a"),
        objects.stat("a"),
        objects.list("a"),
        objects.delete("a"),
        objects.delete_prefix("a"),
    ):
        async with asyncio.timeout(10):
            with pytest.raises(Unavailable, match="the storage could not"):
                await call


async def test_an_endpoint_that_refuses_is_unavailable(tmp_path: Path) -> None:
    await _all_fail(ObjectStore.open(s3_settings("http://127.0.0.1:1")), tmp_path)


async def test_an_endpoint_that_says_nothing_is_unavailable(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "ANSWER_TIMEOUT_S", 0.3)
    connected = list[asyncio.StreamWriter]()
    silent = await asyncio.start_server(lambda _, writer: connected.append(writer), "127.0.0.1", 0)
    async with silent:
        port = silent.sockets[0].getsockname()[1]
        await _all_fail(ObjectStore.open(s3_settings(f"http://127.0.0.1:{port}")), tmp_path)
        await eventually(lambda: connected)
        for writer in connected:
            writer.close()


async def test_a_bucket_that_is_not_there_is_unavailable(moto_url: str) -> None:
    objects = ObjectStore.open(s3_settings(moto_url).model_copy(update={"storage_url": "s3://no-such-bucket/x"}))
    for call in (objects.put_bytes("a", b"x"), objects.list("a"), objects.check()):
        with pytest.raises(Unavailable):
            await call


async def test_given_keys_are_not_mixed_with_the_environment(moto_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN"):
        monkeypatch.setenv(name, "from-the-environment")
    url = await ObjectStore.open(s3_settings(moto_url)).signed_url("a", 60)
    assert url is not None
    assert "Credential=an-access-key%2F" in url
    assert "Token" not in url


async def test_a_process_that_ends_right_after_its_last_object_ends_clean(tmp_path: Path) -> None:
    program = (
        "import asyncio, pathlib, sys\n"
        "from edumeet_recording.config import CommonSettings\n"
        "from edumeet_recording.storage.objects import ObjectStore\n"
        "objects = ObjectStore.open(CommonSettings(storage_url=pathlib.Path(sys.argv[1]).as_uri()))\n"
        "async def main():\n"
        "    for _ in range(20):\n"
        "        await objects.stat('a')\n"
        # asyncio.run would close the loop, which takes time, which hides what is tested
        "asyncio.new_event_loop().run_until_complete(main())\n"
    )

    async def ends_clean() -> None:
        process = await asyncio.create_subprocess_exec(sys.executable, "-c", program, str(tmp_path))
        assert await process.wait() == 0

    # without _settle_at_exit about every third one aborts
    async with asyncio.TaskGroup() as tasks:
        for _ in range(6):
            tasks.create_task(ends_clean())
