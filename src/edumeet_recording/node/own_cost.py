"""What the node's own processes, its main one and those that capture, take of the machine."""

import os
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

_PROC = Path("/proc")
_TICKS_PER_S = os.sysconf("SC_CLK_TCK")


@dataclass(frozen=True, slots=True)
class OwnCost:
    """Thousandths of a core that were used, and that were waited for; bytes a second written."""

    mcpu: float
    waited_mcpu: float
    written_bytes_per_s: float


@dataclass(frozen=True, slots=True)
class _Used:
    ticks: int
    waited_ns: int
    written: int


class OwnCostMeter:
    """Rates are over the time since the last `measure`; a process that is new counts from the next one on."""

    def __init__(self, now: float) -> None:
        self._at = now
        self._last: dict[int, _Used] = {}

    def measure(self, pids: Iterable[int], now: float) -> OwnCost:
        """What `pids` took until `now`, in seconds of a monotonic clock."""
        this = {pid: used for pid in pids if (used := _used(pid)) is not None}
        seconds = max(now - self._at, 1e-3)
        both = [(self._last[pid], used) for pid, used in this.items() if pid in self._last]
        self._at, self._last = now, this
        return OwnCost(
            mcpu=1000 * sum(new.ticks - old.ticks for old, new in both) / _TICKS_PER_S / seconds,
            waited_mcpu=sum(new.waited_ns - old.waited_ns for old, new in both) / 1e6 / seconds,
            written_bytes_per_s=sum(new.written - old.written for old, new in both) / seconds,
        )


def _used(pid: int) -> _Used | None:
    """proc_pid_stat(5): utime and stime are fields 14 and 15, after a name that may hold anything; proc_pid_io(5).

    schedstat (the kernel's sched-stats.rst): nanoseconds on a core, then waiting for one, of the first thread.
    """
    try:
        fields = (_PROC / str(pid) / "stat").read_text().rpartition(")")[2].split()
        waited_ns = int((_PROC / str(pid) / "schedstat").read_text().split()[1])
        io = dict(line.split(": ") for line in (_PROC / str(pid) / "io").read_text().splitlines())
    except OSError:
        return None
    return _Used(int(fields[11]) + int(fields[12]), waited_ns, int(io["write_bytes"]))
