"""Runs a program that refuses to be root, and takes it down with its parent.

A script of its own that imports only the standard library: `unprivileged.py PARENT_PID FOLDER PROGRAM ARGUMENT…`
becomes PROGRAM. As root it first enters a user namespace in which root is called `nobody`, so that files keep their
owner; where namespaces are forbidden it becomes `nobody` for good. FOLDER is given to whoever the program runs as.
A signal (SIGINT) tells the program when its parent has died.
"""

import ctypes
import os
import pwd
import signal
import sys
from pathlib import Path

CLONE_NEWUSER = 0x10000000
PR_SET_PDEATHSIG = 1

_libc = ctypes.CDLL(None, use_errno=True)


def _call(function: str, *arguments: int) -> None:
    if getattr(_libc, function)(*arguments) != 0:
        code = ctypes.get_errno()
        raise OSError(code, f"{function}: {os.strerror(code)}")


def _enter_namespace(uid: int, gid: int) -> None:
    """Be `uid` and `gid` in a user namespace of our own; outside we stay who we are (user_namespaces(7))."""
    outer_uid, outer_gid = os.geteuid(), os.getegid()
    _call("unshare", CLONE_NEWUSER)
    Path("/proc/self/setgroups").write_text("deny")
    Path("/proc/self/gid_map").write_text(f"{gid} {outer_gid} 1")
    Path("/proc/self/uid_map").write_text(f"{uid} {outer_uid} 1")


def _give(folder: Path, uid: int, gid: int) -> None:
    if folder.stat().st_uid == uid:
        return
    for root, _, files in os.walk(folder):
        for path in (root, *(f"{root}/{name}" for name in files)):
            os.chown(path, uid, gid, follow_symlinks=False)


def _namespaces_work(uid: int, gid: int) -> bool:
    """Try in a child: a namespace that was entered but not mapped could not be left again."""
    child = os.fork()
    if child == 0:
        try:
            _enter_namespace(uid, gid)
        except OSError:
            os._exit(1)
        os._exit(0)
    return os.waitpid(child, 0)[1] == 0


def _stop_being_root(folder: Path) -> None:
    nobody = pwd.getpwnam("nobody")
    if _namespaces_work(nobody.pw_uid, nobody.pw_gid):
        _give(folder, os.geteuid(), os.getegid())
        _enter_namespace(nobody.pw_uid, nobody.pw_gid)
    else:
        _give(folder, nobody.pw_uid, nobody.pw_gid)
        os.setgroups([])
        os.setgid(nobody.pw_gid)
        os.setuid(nobody.pw_uid)


def main(parent: int, folder: Path, command: list[str]) -> None:
    """Become `command`; ends the process with a sentence where that cannot be."""
    if os.geteuid() == 0:
        _stop_being_root(folder)
    for path in (folder, Path(command[0])):
        if not os.access(path, os.X_OK):
            sys.exit(
                f"FATAL: {path} cannot be reached without root's privileges, and PostgreSQL refuses to run with them: "
                "set STATE_DIR to a folder that other users can reach, start as a normal user, or set DATABASE_URL"
            )
    # after the change of user, which clears it (prctl(2))
    _call("prctl", PR_SET_PDEATHSIG, signal.SIGINT)
    if os.getppid() != parent:
        sys.exit("FATAL: the parent has died")
    os.execv(command[0], command)  # noqa: S606 - a shell is what is not wanted


if __name__ == "__main__":
    main(int(sys.argv[1]), Path(sys.argv[2]), sys.argv[3:])
