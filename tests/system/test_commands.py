"""The commands against a service that runs: what they answer, for people and for programs, and how they end."""

import asyncio
import json
import sys
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio
from tests.system.conftest import ROOM_SERVER, Service

from edumeet_recording.cli.outcome import ExitCode
from edumeet_recording.config import environment_of_child
from edumeet_recording.domain.job import JobStatus
from edumeet_recording.sim.publisher import PeerMedia
from edumeet_recording.sim.room_server import SimulatedRoomServer, SimulatorOptions

pytestmark = pytest.mark.asyncio(loop_scope="module")

STREAM = ("--stream", "opus:111:1001:5004")
START = ("recordings", "start", ROOM_SERVER, "room-1")


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def rooms(service: Service) -> AsyncIterator[SimulatedRoomServer]:
    peers = {f"peer-{number}": PeerMedia(video=None, index=number) for number in range(3)}
    options = SimulatorOptions(server_id=ROOM_SERVER, orchestrator_url=service.url, peers=peers)
    async with SimulatedRoomServer(options) as server:
        await server.registered()
        yield server


async def run(service: Service, *arguments: str, token: str | None = None) -> tuple[int | None, str, str]:
    """Exit code, standard output and standard error of a command."""
    settings = {"EDUMEET_RECORDING_URL": service.url, "EDUMEET_RECORDING_TOKEN": token or service.token}
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        "-m",
        "edumeet_recording",
        *arguments,
        env=environment_of_child(settings),
        cwd=service.folder,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    output, errors = await process.communicate()
    return process.returncode, output.decode(), errors.decode()


def _size(path: str) -> int:
    return Path(path).stat().st_size


async def answer(service: Service, *arguments: str) -> Any:
    """What a command that succeeds says in JSON; nothing else is on its standard output."""
    code, output, errors = await run(service, *arguments, "--json")
    assert code == ExitCode.OK, errors
    return json.loads(output)


async def test_a_recording_from_start_to_file(service: Service, rooms: SimulatedRoomServer, tmp_path: Path) -> None:
    started = await answer(service, *START, "peer-0", *STREAM, "--format", "webm")
    job = started["jobId"]
    await service.until(job, JobStatus.RECORDING)
    (listed,) = await answer(service, "recordings", "list", "--peer", "peer-0")
    assert listed["jobId"] == job

    code, output, errors = await run(service, "recordings", "download", job)
    assert code == ExitCode.REFUSED
    assert (output, errors.count("\n")) == ("", 1)
    assert "stop it first" in errors

    async with asyncio.TaskGroup() as tasks:
        watching = tasks.create_task(run(service, "recordings", "watch", job, "--json"))
        # once its first event is told the watcher is there for the rest
        stopped = tasks.create_task(answer(service, "recordings", "stop", job, "--wait"))
    assert stopped.result()["status"] == "completed"
    code, output, _errors = watching.result()
    assert code == ExitCode.OK
    assert all(json.loads(line)["event"]["jobId"] == job for line in output.splitlines())

    fetched = await answer(service, "recordings", "download", job, "-o", str(tmp_path), "--assets")
    assert _size(fetched["path"]) == fetched["file"]["bytes"]
    assert "waveform.json" in {path.rpartition("/")[2] for path in fetched["assets"]}
    assert all(_size(path) for path in fetched["assets"])
    code, output, _errors = await run(service, "recordings", "report", job)
    assert json.loads(output)["jobId"] == job
    code, output, errors = await run(service, "recordings", "report", job, "--page", str(tmp_path / "report.html"))
    assert code == ExitCode.OK, errors
    assert _size(str(tmp_path / "report.html")) > 5000
    told = await answer(service, "recordings", "show", job)
    assert told["recording"]["status"] == "completed"
    assert [each["seq"] for each in told["events"]] == list(range(1, len(told["events"]) + 1))
    assert await answer(service, "recordings", "delete", job) == {"deleted": job}
    assert (await run(service, "recordings", "show", job))[0] == ExitCode.NOT_FOUND


async def test_tables_are_for_people(service: Service, rooms: SimulatedRoomServer) -> None:
    job = (await answer(service, *START, "peer-1", *STREAM))["jobId"]
    await service.until(job, JobStatus.RECORDING)
    for command in (
        ["recordings", "list"],
        ["recordings", "show", job],
        ["nodes", "list"],
        ["recordings", "cancel", job],
    ):
        code, output, errors = await run(service, *command)
        assert (code, errors) == (ExitCode.OK, "")
        assert job in output or ROOM_SERVER in output


async def test_a_node_is_drained_and_taken_back(service: Service, rooms: SimulatedRoomServer) -> None:
    (node,) = [each for each in await answer(service, "nodes", "list") if each["kind"] == "ffmpeg-node"]
    assert (await answer(service, "nodes", "drain", node["id"]))["isDraining"] is True
    waiting = await answer(service, *START, "peer-2", *STREAM)
    assert (waiting["status"], waiting["reason"]) == ("pending", "no_capacity")
    assert "draining" in waiting["reasonDetail"]
    assert (await answer(service, "nodes", "undrain", node["id"]))["isDraining"] is False
    assert (await service.until(waiting["jobId"], JobStatus.RECORDING)).status is JobStatus.RECORDING
    assert (await answer(service, "nodes", "show", node["id"]))["id"] == node["id"]
    await answer(service, "recordings", "cancel", waiting["jobId"])


@pytest.mark.parametrize(
    ("arguments", "token", "code"),
    [
        (["recordings", "list"], "no token of ours", ExitCode.NOT_ALLOWED),
        (["recordings", "watch"], "no token of ours", ExitCode.NOT_ALLOWED),
        (["recordings", "stop", "unknown"], None, ExitCode.NOT_FOUND),
        (["recordings", "watch", "unknown"], None, ExitCode.NOT_FOUND),
        (["nodes", "show", "unknown"], None, ExitCode.NOT_FOUND),
        (["recordings", "start", "unknown", "room", "peer", *STREAM], None, ExitCode.USAGE),
    ],
)
async def test_a_no_is_one_line_and_a_code(
    service: Service, arguments: list[str], token: str | None, code: ExitCode
) -> None:
    found, output, errors = await run(service, *arguments, token=token)
    assert found == code
    assert output == ""
    assert errors.startswith("error: ")
    assert errors.count("\n") == 1
