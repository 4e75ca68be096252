"""S3 servers for tests, each with a bucket `recordings`: moto and rclone, both from wheels."""

import socket
import subprocess
import sys
import sysconfig
import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx2
from pydantic import SecretStr

from edumeet_recording.config import CommonSettings

ACCESS_KEY, SECRET_KEY = "an-access-key", "a-secret-key"
START_TIMEOUT_S = 30


@contextmanager
def moto() -> Iterator[str]:
    """URL of moto's S3."""
    port = _free_port()
    with _serving([sys.executable, "-m", "moto.server", "-H", "127.0.0.1", "-p", str(port)], port) as url:
        httpx2.put(f"{url}/recordings").raise_for_status()
        yield url


@contextmanager
def rclone(root: Path) -> Iterator[str]:
    """URL of rclone's S3 over the folder `root`."""
    (root / "recordings").mkdir()
    port = _free_port()
    program = str(Path(sysconfig.get_path("scripts")) / "rclone")
    keys = f"{ACCESS_KEY},{SECRET_KEY}"
    with _serving([program, "serve", "s3", str(root), f"--addr=127.0.0.1:{port}", f"--auth-key={keys}"], port) as url:
        yield url


def s3_settings(endpoint: str) -> CommonSettings:
    """Settings of a prefix of its own in the bucket `recordings`."""
    return CommonSettings(
        storage_url=f"s3://recordings/site/{uuid.uuid4().hex}",
        storage_endpoint=endpoint,
        storage_allow_http=True,
        storage_access_key=SecretStr(ACCESS_KEY),
        storage_secret_key=SecretStr(SECRET_KEY),
    )


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


@contextmanager
def _serving(command: list[str], port: int) -> Iterator[str]:
    """The URL of a server that `command` runs on `port`."""
    with subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as process:
        try:
            deadline = time.monotonic() + START_TIMEOUT_S
            while True:
                try:
                    socket.create_connection(("127.0.0.1", port), timeout=1).close()
                    break
                except OSError:
                    assert process.poll() is None, f"{command[0]} ended"
                    assert time.monotonic() < deadline, f"{command[0]} does not answer"
                    time.sleep(0.05)
            yield f"http://127.0.0.1:{port}"
        finally:
            process.kill()
