"""The storages that the contract suite runs on: a folder, moto's S3, rclone's S3."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.s3 import moto, rclone, s3_settings

from edumeet_recording.config import CommonSettings
from edumeet_recording.storage.objects import ObjectStore


@pytest.fixture(scope="session")
def moto_url() -> Iterator[str]:
    """URL of moto's S3."""
    with moto() as url:
        yield url


@pytest.fixture(scope="session")
def rclone_url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """URL of rclone's S3."""
    with rclone(tmp_path_factory.mktemp("rclone")) as url:
        yield url


@pytest.fixture(scope="session", params=["folder", "moto", "rclone"])
def endpoint(request: pytest.FixtureRequest) -> str | None:
    """URL of an S3 server; None for a folder."""
    return None if request.param == "folder" else request.getfixturevalue(f"{request.param}_url")


@pytest.fixture
def settings(endpoint: str | None, tmp_path: Path) -> CommonSettings:
    """Settings of a storage without objects."""
    if endpoint is None:
        return CommonSettings(storage_url=(tmp_path / "made by us").as_uri())
    return s3_settings(endpoint)


@pytest.fixture
def objects(settings: CommonSettings) -> ObjectStore:
    """A storage without objects."""
    return ObjectStore.open(settings)
