"""Measures the machine a node runs on: processor, memory, network, and the disk of the spool."""

import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from edumeet_recording.node.machine import memory
from edumeet_recording.wire.node_link import NodeLoad

MARGIN_PERCENT = 1.0
"""What the disk must be below a limit that was passed before it counts as below."""
_STAT = Path("/proc/stat")
_NETWORK = Path("/proc/net/dev")


@dataclass(frozen=True, slots=True)
class _Counters:
    busy: int
    total: int
    received: int
    sent: int
    at: float


class LoadMeter:
    """Rates are over the time since the last `measure`. `spool_bytes` says what waits to be shipped.

    Above `warn_percent` of use of the spool's disk the load has a warning, above `refuse_percent` a refusal.
    """

    def __init__(
        self, spool: Path, spool_bytes: Callable[[], int], *, warn_percent: float, refuse_percent: float, now: float
    ) -> None:
        self._warn_percent = warn_percent
        self._refuse_percent = refuse_percent
        self._warns = self._refuses = False
        self._spool = spool
        self._spool_bytes = spool_bytes
        self._last = _read_counters(now)

    def measure(self, now: float) -> NodeLoad:
        """The load at `now`, in seconds of a monotonic clock; blocks on the disk for a moment."""
        last, this = self._last, _read_counters(now)
        self._last = this
        disk = shutil.disk_usage(self._spool)
        used = 100.0 * disk.used / (disk.used + disk.free)
        self._warns = used >= self._warn_percent - (MARGIN_PERCENT if self._warns else 0)
        self._refuses = used >= self._refuse_percent - (MARGIN_PERCENT if self._refuses else 0)
        full = f"the spool's disk is {used:.0f} % full, {disk.free / 1e9:.1f} GB are free"
        return NodeLoad(
            cpu_percent=round(100.0 * (this.busy - last.busy) / max(this.total - last.total, 1), 1),
            memory_bytes=memory().used,
            disk_free_bytes=disk.free,
            disk_used_percent=round(used, 1),
            network_in_bytes_per_s=round((this.received - last.received) / max(this.at - last.at, 1e-3)),
            network_out_bytes_per_s=round((this.sent - last.sent) / max(this.at - last.at, 1e-3)),
            spool_bytes=self._spool_bytes(),
            refusal=full if self._refuses else None,
            warning=full if self._warns else None,
        )


def _read_counters(now: float) -> _Counters:
    """proc_stat(5): user nice system idle iowait irq softirq steal; proc_net_dev(5): bytes received are the first
    field, bytes sent the ninth.
    """
    cpu = [int(value) for value in _STAT.read_text().split("\n", 1)[0].split()[1:9]]
    networks = [line.split(":", 1)[1].split() for line in _NETWORK.read_text().splitlines()[2:]]
    return _Counters(
        busy=sum(cpu) - cpu[3] - cpu[4],
        total=sum(cpu),
        received=sum(int(fields[0]) for fields in networks),
        sent=sum(int(fields[8]) for fields in networks),
        at=now,
    )
