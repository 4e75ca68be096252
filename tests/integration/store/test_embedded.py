"""The embedded PostgreSQL comes up as root and as anybody, survives kills, has one owner, and leaves nothing behind."""

import asyncio
import os
import pwd
import signal
import subprocess
import sys
import sysconfig
import tempfile
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import asyncpg
import pytest
from tests.leftovers import children
from tests.waiting import eventually

import edumeet_recording
from edumeet_recording.domain.errors import Unavailable
from edumeet_recording.store import embedded
from edumeet_recording.store.embedded import embedded_postgres, program

ROOT = Path(__file__).parents[3]
SOURCES = Path(edumeet_recording.__file__).parents[1]


async def _ask(dsn: str, question: str) -> object:
    connection = await asyncpg.connect(dsn)
    try:
        return await connection.fetchval(question)
    finally:
        await connection.close()


def _postmaster(state_dir: Path) -> int:
    return int((state_dir / "postgres/data/postmaster.pid").read_text().split()[0])


def _user_of(pid: int) -> int:
    return Path(f"/proc/{pid}").stat().st_uid


def _working_in(folder: Path) -> list[int]:
    """Living processes with `folder` as their working directory: a server and all its helpers."""
    found = list[int]()
    for cwd in Path("/proc").glob("[0-9]*/cwd"):
        try:
            if Path(os.readlink(cwd)).is_relative_to(folder):
                found.append(int(cwd.parent.name))
        except OSError:
            continue
    return found


class Owner:
    """Another process that owns an embedded server."""

    def __init__(self, state_dir: Path, *launcher: str, python: str = sys.executable) -> None:
        self.process = subprocess.Popen(
            [*launcher, python, "-m", "tests.postgres", str(state_dir)],
            cwd=ROOT,
            env={"PYTHONPATH": ":".join((str(SOURCES), sysconfig.get_path("purelib")))},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        assert self.process.stdout
        self.dsn = self.process.stdout.readline().strip()

    def let_go(self) -> str:
        """Ask it to end; what it said on stderr."""
        return self.process.communicate(timeout=20)[1]

    def kill(self) -> None:
        self.process.kill()
        self.process.communicate()


def _everybody_reaches(path: Path) -> bool:
    return all(folder.stat().st_mode & 0o001 for folder in (path, *path.parents))


def _python_for_everybody() -> str:
    """An interpreter that is not in root's home, as version managers like to have it."""
    name = f"python{sys.version_info.major}.{sys.version_info.minor}"
    found = (Path(sys.executable).resolve(), Path("/usr/bin") / name, Path("/usr/local/bin") / name)
    for path in found:
        if path.exists() and _everybody_reaches(path):
            return str(path)
    pytest.skip(f"no {name} that a normal user could run")


@pytest.fixture
def state_dir() -> Iterator[Path]:
    """A folder to be, in one with an unusual mode that others can reach; at the end no process works in it any more."""
    with tempfile.TemporaryDirectory() as top:
        Path(top).chmod(0o755)
        parent = Path(top, "parent")
        parent.mkdir(mode=0o751)
        yield parent / "state"
        assert parent.stat().st_mode & 0o7777 == 0o751
        assert not _working_in(parent)


async def test_starts_stops_and_keeps_its_data(state_dir: Path) -> None:
    before = children()
    async with embedded_postgres(state_dir) as dsn:
        await _ask(dsn, "CREATE TABLE kept AS SELECT 42 AS answer")
    assert children() == before
    async with embedded_postgres(state_dir) as dsn:
        assert await _ask(dsn, "SELECT answer FROM kept") == 42
        assert await _ask(dsn, "SHOW data_checksums") == "on"
        assert await _ask(dsn, "SHOW fsync") == "on"


async def test_is_closed_to_others(state_dir: Path) -> None:
    async with embedded_postgres(state_dir) as dsn:
        password = state_dir / "postgres/password"
        assert password.stat().st_mode & 0o777 == 0o600
        assert (state_dir / "postgres").stat().st_mode & 0o777 == 0o700
        with pytest.raises(asyncpg.InvalidPasswordError):
            await _ask(dsn.replace(password.read_text(), "guess"), "SELECT 1")
        assert await _ask(dsn, "SHOW listen_addresses") == "127.0.0.1"
        assert await _ask(dsn, "SHOW unix_socket_directories") == ""


async def test_an_error_in_the_block_comes_out_as_it_is(state_dir: Path) -> None:
    with pytest.raises(KeyError, match="mine"):
        async with embedded_postgres(state_dir):
            raise KeyError("mine")


async def test_a_killed_server_comes_back_under_the_same_dsn(state_dir: Path) -> None:
    async with embedded_postgres(state_dir) as dsn:
        await _ask(dsn, "CREATE TABLE kept AS SELECT 42 AS answer")
        for _ in range(2):
            killed = _postmaster(state_dir)
            os.kill(killed, signal.SIGKILL)
            await eventually(partial(_back_without, killed, dsn, state_dir), timeout=15)


async def _back_without(killed: int, dsn: str, state_dir: Path) -> bool:
    try:
        return _postmaster(state_dir) != killed and await _ask(dsn, "SELECT answer FROM kept") == 42
    except (OSError, IndexError, asyncpg.PostgresError):
        return False


@pytest.mark.parametrize("server_too", [False, True])
async def test_a_killed_owner_takes_its_server_along(state_dir: Path, server_too: bool) -> None:
    owner = Owner(state_dir)
    await _ask(owner.dsn, "CREATE TABLE kept AS SELECT 42 AS answer")
    server = _postmaster(state_dir)
    owner.kill()
    if server_too:
        os.kill(server, signal.SIGKILL)
    # at once, while the old server may still be on its way out
    async with embedded_postgres(state_dir) as dsn:
        assert await _ask(dsn, "SELECT answer FROM kept") == 42
        assert _postmaster(state_dir) != server


async def test_without_a_successor_the_server_of_a_killed_owner_ends_within_seconds(state_dir: Path) -> None:
    owner = Owner(state_dir)
    assert _working_in(state_dir)
    owner.kill()
    await eventually(lambda: not _working_in(state_dir), timeout=5)


async def test_an_orphan_that_was_not_told_is_ended(state_dir: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(embedded, "STOP_STEP_S", 0.3)
    owner = Owner(state_dir)
    orphan = _postmaster(state_dir)
    os.kill(orphan, signal.SIGSTOP)
    owner.kill()
    # stopped, it hears nothing but a kill
    async with embedded_postgres(state_dir) as dsn:
        assert await _ask(dsn, "SELECT 1") == 1
        assert orphan not in _working_in(state_dir)


async def test_a_stale_pid_of_somebody_else_is_ignored(state_dir: Path) -> None:
    async with embedded_postgres(state_dir):
        pass
    # what a container finds after its restart: a pid that lives, but is not a server
    (state_dir / "postgres/data/postmaster.pid").write_text(f"{os.getppid()}\n{state_dir}/postgres/data\n0\n")
    async with embedded_postgres(state_dir) as dsn:
        assert await _ask(dsn, "SELECT 1") == 1


async def test_a_second_starter_is_told_who_owns_it(state_dir: Path) -> None:
    owner = Owner(state_dir)
    try:
        with pytest.raises(Unavailable, match=f"process {owner.process.pid}"):
            async with embedded_postgres(state_dir):
                pass
        assert await _ask(owner.dsn, "SELECT 1") == 1
    finally:
        owner.let_go()


async def test_interrupted_while_it_is_made_it_is_made_anew(state_dir: Path) -> None:
    (state_dir / "postgres/data.new").mkdir(parents=True)
    (state_dir / "postgres/data.new/PG_VERSION").write_text("half")
    async with embedded_postgres(state_dir) as dsn:
        assert await _ask(dsn, "SELECT 1") == 1


async def test_cancelled_while_it_starts_it_leaves_nothing(state_dir: Path) -> None:
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0.3), embedded_postgres(state_dir):
            pass
    await eventually(lambda: not _working_in(state_dir))


async def test_what_does_not_start_says_why(state_dir: Path) -> None:
    async with embedded_postgres(state_dir):
        pass
    (state_dir / "postgres/data/PG_VERSION").write_text("9\n")
    with pytest.raises(Unavailable, match=r"did not start.*incompatible"):
        async with embedded_postgres(state_dir):
            pass


async def test_a_folder_that_cannot_be_made_is_named(state_dir: Path) -> None:
    taken = state_dir.parent / "taken"
    taken.touch()
    with pytest.raises(Unavailable, match=str(taken)):
        async with embedded_postgres(taken):
            pass


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can become somebody else")
@pytest.mark.skipif(not _everybody_reaches(ROOT / "tests"), reason="this tree lies where only root can reach it")
async def test_runs_as_a_normal_user(state_dir: Path) -> None:
    user = pwd.getpwnam("daemon")
    home = state_dir.parent / "home"
    home.mkdir()
    os.chown(home, user.pw_uid, user.pw_gid)
    become = ("setpriv", f"--reuid={user.pw_uid}", f"--regid={user.pw_gid}", "--clear-groups")
    owner = Owner(home, *become, python=_python_for_everybody())
    try:
        assert await _ask(owner.dsn, "SELECT 1") == 1
        assert _user_of(_postmaster(home)) == user.pw_uid
    finally:
        assert owner.let_go() == ""


@pytest.mark.skipif(os.geteuid() != 0, reason="only root needs another user")
@pytest.mark.skipif(not _everybody_reaches(program("postgres")), reason="installed where only root can reach it")
async def test_root_without_namespaces_becomes_nobody(state_dir: Path, tmp_path: Path) -> None:
    # the kernel refuses new user namespaces in a chroot (unshare(2)), as most containers do everywhere
    enter = 'mount --rbind / "$1" && exec chroot "$@"'
    work_in = 'cd "$0" && exec "$@"'
    new_root = ("unshare", "--mount", "sh", "-c", enter, "sh", str(tmp_path), "sh", "-c", work_in, str(ROOT))
    owner = Owner(state_dir, *new_root)
    try:
        assert await _ask(owner.dsn, "CREATE TABLE kept AS SELECT 42 AS answer") is None
        assert _user_of(_postmaster(state_dir)) == pwd.getpwnam("nobody").pw_uid
    finally:
        assert owner.let_go() == ""
    async with embedded_postgres(state_dir) as dsn:
        assert await _ask(dsn, "SELECT answer FROM kept") == 42
        assert _user_of(_postmaster(state_dir)) == 0


@pytest.mark.skipif(os.geteuid() != 0, reason="only root needs another user")
async def test_a_folder_only_roots_privileges_can_reach_is_refused_with_a_way_out(state_dir: Path) -> None:
    user = pwd.getpwnam("daemon")
    home = state_dir.parent / "home"
    home.mkdir(mode=0o700)
    os.chown(home, user.pw_uid, user.pw_gid)
    with pytest.raises(Unavailable, match="set DATABASE_URL"):
        async with embedded_postgres(home / "state"):
            pass
