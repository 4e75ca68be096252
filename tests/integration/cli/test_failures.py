"""Expected errors of real processes: one line, no traceback, the exit code that is promised."""

import asyncio
import signal
import socket
import sys
from collections.abc import AsyncGenerator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from edumeet_recording.cli.outcome import ExitCode
from edumeet_recording.config import environment_of_child

KEY = {"JWT_SECRET": "what the tests sign their tokens with"}
NOWHERE = "127.0.0.1:1"


@pytest.fixture
def taken_port() -> Iterator[int]:
    with socket.create_server(("127.0.0.1", 0)) as listening:
        yield listening.getsockname()[1]


async def run(folder: Path, *arguments: str, **settings: str) -> tuple[int | None, str]:
    """Exit code and standard error of a command that runs in an empty folder."""
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        "-m",
        "edumeet_recording",
        *arguments,
        env=environment_of_child(settings),
        cwd=folder,
        stderr=asyncio.subprocess.PIPE,
    )
    try:
        async with asyncio.timeout(60):
            _output, errors = await process.communicate()
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
    return process.returncode, errors.decode()


def told(errors: str) -> str:
    """The line that says what is wrong; what else was logged is no traceback."""
    assert "Traceback" not in errors
    (line,) = (line for line in errors.splitlines() if line.startswith("error: "))
    return line


async def test_a_service_that_is_not_there(tmp_path: Path) -> None:
    code, errors = await run(tmp_path, "nodes", "list", "--url", f"http://{NOWHERE}")
    assert code == ExitCode.UNREACHABLE
    assert errors.splitlines() == [told(errors)]
    assert NOWHERE in errors


@pytest.mark.parametrize("url", ["nonsense", "ftp://127.0.0.1", "http://[::1"])
async def test_a_url_that_is_none(tmp_path: Path, url: str) -> None:
    code, errors = await run(tmp_path, "recordings", "list", EDUMEET_RECORDING_URL=url)
    assert code in {ExitCode.UNREACHABLE, ExitCode.USAGE}
    assert errors.splitlines() == [told(errors)]


async def test_a_wrong_setting(tmp_path: Path) -> None:
    code, errors = await run(tmp_path, "orchestrator", **KEY, DATABASE_POOL_SIZE="many")
    assert code == ExitCode.USAGE
    assert "DATABASE_POOL_SIZE" in told(errors)


@pytest.mark.parametrize("command", ["orchestrator", "node"])
async def test_a_port_that_is_taken(tmp_path: Path, taken_port: int, command: str, postgres_dsn: str) -> None:
    settings = {"PORT": str(taken_port), "NODE_PORT": str(taken_port), "DATABASE_URL": postgres_dsn}
    code, errors = await run(tmp_path, command, **KEY, **settings)
    assert code == ExitCode.UNREACHABLE
    assert (str(taken_port) if command == "orchestrator" else "NODE_PORT") in told(errors)


async def test_a_key_that_is_none(tmp_path: Path) -> None:
    code, errors = await run(tmp_path, "orchestrator", JWT_PUBLIC_KEY="nonsense")
    assert code == ExitCode.USAGE
    assert "JWT_PUBLIC_KEY" in told(errors)


@pytest.mark.parametrize("command", [["orchestrator"], ["db", "upgrade"]], ids=" ".join)
async def test_a_database_that_is_not_there(tmp_path: Path, command: list[str]) -> None:
    code, errors = await run(tmp_path, *command, **KEY, DATABASE_URL=f"postgresql://user:pass@{NOWHERE}/db")
    assert code == ExitCode.UNREACHABLE
    assert "database" in told(errors)
    assert "pass" not in told(errors)


async def test_a_peer_that_makes_no_sense(tmp_path: Path) -> None:
    code, errors = await run(tmp_path, "simulate-room", "--peer", "alice=mp3")
    assert code == ExitCode.USAGE
    assert "Traceback" not in errors


HANGS = """
import asyncio, sys
from edumeet_recording.cli.running import run_until_signalled
from edumeet_recording.telemetry import configure_logging

async def work(stop):
    print("up", flush=True)
    await stop.wait()
    print("asked", flush=True)
    await asyncio.sleep(60)

configure_logging("info", "console")
run_until_signalled(work)
"""


BREAKS = """
import asyncio, threading
from edumeet_recording.cli import running
from edumeet_recording.telemetry import configure_logging

async def work(stop):
    print("up", flush=True)
    stop.set()
    try:
        await asyncio.sleep(60)
    finally:
        if HOLDS:
            await asyncio.to_thread(threading.Event().wait)
        raise ValueError("a defect")

running.CLEAN_END_S, running.LAST_RESORT_S = 0.2, 2
configure_logging("info", "console")
running.run_until_signalled(work)
"""


@asynccontextmanager
async def hanging(script: str = HANGS) -> AsyncGenerator[asyncio.subprocess.Process]:
    """A process that has come up, and will not end in time when it is asked to."""
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-c", script, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE
    )
    try:
        await said(process, b"up")
        yield process
    finally:
        if process.returncode is None:
            process.kill()
        await process.communicate()


async def said(process: asyncio.subprocess.Process, line: bytes) -> None:
    assert process.stdout is not None
    assert (await process.stdout.readline()).strip() == line


@pytest.mark.parametrize("first", [signal.SIGINT, signal.SIGTERM])
async def test_a_second_sigint_ends_it_at_once(first: signal.Signals) -> None:
    async with hanging() as process:
        process.send_signal(first)
        await said(process, b"asked")
        process.send_signal(signal.SIGINT)
        async with asyncio.timeout(2):
            assert await process.wait() == -signal.SIGINT


async def test_what_does_not_end_is_cut_off() -> None:
    async with hanging() as process:
        process.send_signal(signal.SIGINT)
        await said(process, b"asked")
        async with asyncio.timeout(15):
            assert await process.wait() == 0
        assert process.stderr is not None
        assert b"did not end in time" in await process.stderr.read()


@pytest.mark.parametrize(("holds", "told"), [(False, "ValueError: a defect"), (True, "Timeout (0:00:02)!")])
async def test_what_cannot_go_on_ends_as_a_failure_even_where_its_end_hangs(holds: bool, told: str) -> None:
    async with hanging(BREAKS.replace("HOLDS", str(holds))) as process:
        async with asyncio.timeout(10):
            assert await process.wait() == 1
        assert process.stderr is not None
        assert told in (await process.stderr.read()).decode()
