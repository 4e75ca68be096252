"""Podman's service for tests: a Docker API of its own, with its store in a folder, and an image without a registry.

The image has no files but empty folders; what a node needs is bound into its containers from this machine.
"""

import json
import os
import shutil
import subprocess
import sys
import tarfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

import edumeet_recording

IMAGE = "edumeet-recording-test"
START_TIMEOUT_S = 10.0
SYSTEM = ("/usr", "/bin", "/lib", "/lib64", "/etc")
PYTHON = tuple(dict.fromkeys((sys.prefix, os.path.realpath(sys.prefix), sys.base_prefix)))
SOURCES = str(Path(edumeet_recording.__file__).parents[1])
BINDS = tuple(f"{path}:{path}:ro" for path in (*SYSTEM, *PYTHON, SOURCES) if Path(path).exists())
CONFIGURATION = """\
[containers]
default_ulimits = ["nofile=20000:20000", "nproc=20000:20000"]
log_driver = "k8s-file"
"""


@dataclass(frozen=True, slots=True)
class Podman:
    """A service that runs, with the image."""

    url: str
    folder: Path

    def __call__(self, *arguments: str) -> str:
        """Podman's own word, past the Docker API; raises where it fails."""
        return self._run(*arguments).stdout

    def containers(self) -> list[dict[str, Any]]:
        """Those that run."""
        return json.loads(self("ps", "--format", "json"))

    def log(self, container: str) -> str:
        """What a container has written to its standard error."""
        return self._run("logs", container).stderr

    def _run(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        command = [*_podman(self.folder), *arguments]
        answer = subprocess.run(command, env=_environment(self.folder), capture_output=True, text=True, check=False)
        assert answer.returncode == 0, answer.stderr
        return answer


@contextmanager
def podman(folder: Path) -> Iterator[Podman]:
    """Podman's service with the image; skips the test where it cannot run containers here."""
    if os.getuid() != 0 or not shutil.which("podman"):
        pytest.skip("needs podman, and root to run it")
    (folder / "containers.conf").write_text(CONFIGURATION)
    url = f"unix://{folder}/api.sock"
    with (folder / "log").open("wb") as log:
        service = subprocess.Popen(
            [*_podman(folder), "system", "service", "--time=0", url], env=_environment(folder), stdout=log, stderr=log
        )
    try:
        made = Podman(url, folder)
        _check(made)
        _answers(folder / "api.sock")
        yield made
        made("rm", "--all", "--force", "--volumes")
    finally:
        service.terminate()
        service.wait(10)


def _podman(folder: Path) -> list[str]:
    # crun refuses machines with both versions of cgroups; runc does not
    runtime = ["--runtime", "runc"] if shutil.which("runc") else []
    store = ["--root", str(folder / "store"), "--runroot", str(folder / "run"), "--storage-driver", "vfs"]
    return ["podman", *store, "--cgroup-manager", "cgroupfs", *runtime]


def _environment(folder: Path) -> dict[str, str]:
    return {**os.environ, "CONTAINERS_CONF": str(folder / "containers.conf")}


def _import(made: Podman) -> None:
    archive = made.folder / "image.tar"
    with tarfile.open(archive, "w") as tar:
        for name in ("tmp", "proc", "sys", "dev", "var", "run", *(bind.split(":")[1].lstrip("/") for bind in BINDS)):
            entry = tarfile.TarInfo(name)
            entry.type, entry.mode = tarfile.DIRTYPE, 0o1777 if name == "tmp" else 0o755
            tar.addfile(entry)
    entrypoint = json.dumps([sys.executable, "-m", "edumeet_recording"])
    made("import", "--change", f"ENTRYPOINT {entrypoint}", "--change", f"ENV PYTHONPATH={SOURCES}", str(archive), IMAGE)


def _check(made: Podman) -> None:
    binds = [word for bind in BINDS for word in ("--volume", bind)]
    limits = ["--memory=512m", "--cpus=1", "--network=host", "--init"]
    try:
        _import(made)
        made("run", "--rm", *limits, *binds, "--entrypoint", sys.executable, IMAGE, "-c", "print()")
    except AssertionError as error:
        pytest.skip(f"podman runs no containers here: {str(error).strip().splitlines()[-1]}")


def _answers(socket: Path) -> None:
    deadline = time.monotonic() + START_TIMEOUT_S
    while not socket.exists():
        assert time.monotonic() < deadline, "podman's service does not come"
        time.sleep(0.05)
