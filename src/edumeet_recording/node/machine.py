"""What this process may take of the machine: all of it, or what its control groups leave of it (cgroups(7)).

A container's limits stand at the root of what it sees, a service's in its own group or one above it; version 1 has a
tree for each controller, version 2 one for all. The tightest limit on the way counts.
"""

import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

_GROUPS = Path("/proc/self/cgroup")
_TREE = Path("/sys/fs/cgroup")
_MEMORY = Path("/proc/meminfo")
_UNIFIED = ""
"""The controller of version 2's only tree, as /proc/self/cgroup names it."""


@dataclass(frozen=True, slots=True)
class Memory:
    """Bytes: what there is, and what of it is in use and could not be freed at once."""

    total: int
    used: int


def cores(reserved: float = 0) -> float:
    """Cores that may be used, in fractions where a quota says so, and no more than `reserved` unless that is 0."""
    quotas = (quota_of(_quota(folder)) for folder in _folders("cpu"))
    limits = [quota for quota in (*quotas, reserved or None) if quota is not None]
    return min([len(os.sched_getaffinity(0)), *limits])


def memory() -> Memory:
    """The machine's memory, or that of the group that may have less."""
    fields = {name: int(value.split()[0]) * 1024 for name, value in _fields(_MEMORY, ":")}
    least = Memory(fields["MemTotal"], fields["MemTotal"] - fields["MemAvailable"])
    for folder in _folders("memory"):
        limit = _read(folder / "memory.max") or _read(folder / "memory.limit_in_bytes")
        if limit.isdecimal() and int(limit) < least.total:
            least = Memory(int(limit), _used(folder))
    return least


def quota_of(text: str) -> float | None:
    """Cores of a quota, microseconds in so many of a period: `150000 100000`, or `max` or -1 where there is none."""
    quota, _, period = text.partition(" ")
    return int(quota) / int(period) if quota.isdecimal() and period.isdecimal() else None


def groups_of(text: str) -> dict[str, str]:
    """The group of each controller, from /proc/self/cgroup."""
    lines = [line.split(":", 2) for line in text.splitlines()]
    return {controller: path for _, controllers, path in lines for controller in controllers.split(",")}


def _folders(controller: str) -> Iterator[Path]:
    """Where limits of ours may stand, from the root down; not each is there."""
    groups = groups_of(_read(_GROUPS))
    for tree, path in ((_TREE, groups.get(_UNIFIED)), (_TREE / controller, groups.get(controller))):
        if path is not None:
            parts = Path(path).parts[1:]
            yield from (tree.joinpath(*parts[:depth]) for depth in range(len(parts) + 1))


def _quota(folder: Path) -> str:
    quota, period = _read(folder / "cpu.cfs_quota_us"), _read(folder / "cpu.cfs_period_us")
    return _read(folder / "cpu.max") or f"{quota} {period}"


def _used(folder: Path) -> int:
    """Without the files that are only cached, as container engines count."""
    used = _read(folder / "memory.current") or _read(folder / "memory.usage_in_bytes")
    cached = dict(_fields(folder / "memory.stat", " "))
    return int(used or 0) - int(cached.get("total_inactive_file") or cached.get("inactive_file") or 0)


def _fields(path: Path, separator: str) -> list[tuple[str, str]]:
    found = [line.partition(separator) for line in _read(path).splitlines()]
    return [(name, value.strip()) for name, _, value in found]


def _read(path: Path) -> str:
    """Empty where there is no such file."""
    try:
        return path.read_text().strip()
    except OSError:
        return ""
