"""Storages by region: each object is where its key says, and nowhere else."""

from pathlib import Path

import pytest

from edumeet_recording.config import CommonSettings
from edumeet_recording.domain.errors import Unavailable
from edumeet_recording.storage.regional import RegionalStore


@pytest.fixture
def folders(tmp_path: Path) -> Path:
    return tmp_path


@pytest.fixture
def objects(folders: Path) -> RegionalStore:
    storages = f'{{"eu-1": "{(folders / "eu-1").as_uri()}", "us-1": {{"url": "{(folders / "us-1").as_uri()}"}}}}'
    settings = CommonSettings(_env_file=None, storage_url=(folders / "default").as_uri(), storages=storages)
    return RegionalStore.open(settings)


def where(folders: Path) -> list[str]:
    return sorted(str(path.relative_to(folders)) for path in folders.rglob("*") if path.is_file())


async def test_an_object_is_where_its_key_says(objects: RegionalStore, folders: Path) -> None:
    for key in ("a/tape", "@eu-1/a/tape", "@us-1/a/tape"):
        await objects.put_bytes(key, key.encode())
        assert await objects.get(key) == key.encode()
        assert b"".join([part async for part in objects.stream(key, 1, 3)]) == key.encode()[1:3]
        info = await objects.stat(key)
        assert info is not None
        assert info.bytes == len(key)
        assert await objects.signed_url(key, 60) is None
    assert where(folders) == ["default/a/tape", "eu-1/a/tape", "us-1/a/tape"]


async def test_files_go_there_too(objects: RegionalStore, folders: Path, tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"12")
    await objects.put_file("@us-1/b/file", tmp_path / "file")
    assert objects.adopt("@eu-1/b/file", tmp_path / "file")
    (tmp_path / "file").unlink()
    assert where(folders) == ["eu-1/b/file", "us-1/b/file"]


async def test_what_is_deleted_is_deleted_everywhere(objects: RegionalStore, folders: Path) -> None:
    for key in ("a/1", "@eu-1/a/2", "@us-1/a/3", "@us-1/b"):
        await objects.put_bytes(key, b"x")
    await objects.delete_everywhere("a")
    assert where(folders) == ["us-1/b"]


async def test_a_region_without_a_storage_is_waited_for_not_replaced(objects: RegionalStore, folders: Path) -> None:
    with pytest.raises(Unavailable, match="no storage is configured for region asia"):
        await objects.put_bytes("@asia/a/tape", b"x")
    assert where(folders) == []


async def test_a_check_names_the_region(objects: RegionalStore, folders: Path) -> None:
    await objects.check()
    (folders / "eu-1").rmdir()
    (folders / "eu-1").write_text("not a folder any more")
    with pytest.raises(Unavailable, match="storage of region eu-1: "):
        await objects.check()
