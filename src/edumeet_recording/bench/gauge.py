"""Measures what process trees cost: processor seconds, and memory with shared pages shared out (proc(5))."""

import os
from collections.abc import Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

_TICKS_A_SECOND = os.sysconf("SC_CLK_TCK")


@dataclass(frozen=True, slots=True)
class Cost:
    """Of some processes and all their descendants. `pss_bytes`: a page that n processes share counts 1/n."""

    user_s: float
    system_s: float
    pss_bytes: int
    rss_bytes: int

    @property
    def cpu_s(self) -> float:
        """User and system time."""
        return self.user_s + self.system_s


def cost(pids: Iterable[int]) -> Cost:
    """What they have cost so far, and what they hold now."""
    family = [each for pid in pids for each in (pid, *_descendants(pid))]
    times = [_times(pid) for pid in family]
    memory = [_memory(pid) for pid in family]
    return Cost(
        user_s=sum(user for user, _ in times),
        system_s=sum(system for _, system in times),
        pss_bytes=sum(each.get("Pss", 0) for each in memory),
        rss_bytes=sum(each.get("Rss", 0) for each in memory),
    )


def _descendants(pid: int) -> Iterator[int]:
    for children in Path(f"/proc/{pid}/task").glob("*/children"):
        with suppress(OSError):
            for child in children.read_text().split():
                yield int(child)
                yield from _descendants(int(child))


def _times(pid: int) -> tuple[float, float]:
    """utime and cutime, stime and cstime: children that have ended count too."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    user, system, children_user, children_system = map(int, fields[11:15])
    return (user + children_user) / _TICKS_A_SECOND, (system + children_system) / _TICKS_A_SECOND


def _memory(pid: int) -> dict[str, int]:
    lines = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()[1:]
    return {name: int(rest.split()[0]) * 1024 for name, _, rest in (line.partition(":") for line in lines)}
