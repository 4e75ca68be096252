from pathlib import Path

import pytest

from edumeet_recording.node import load
from edumeet_recording.node.load import LoadMeter
from edumeet_recording.node.machine import Memory

STAT = "cpu  {busy} 0 0 {idle} 0 0 0 0 0 0\ncpu0 1 1 1 1\n"
NETWORK = (
    "Inter-|   Receive\n face |bytes packets\n    lo: {received} 1 0 0 0 0 0 0 {sent} 1\n  eth0: 50 1 0 0 0 0 0 0 7 1\n"
)


LIMITS = {"warn_percent": 80.0, "refuse_percent": 90.0}


@pytest.fixture
def proc(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    for name in ("_STAT", "_NETWORK"):
        monkeypatch.setattr(load, name, tmp_path / name)
    monkeypatch.setattr(load, "memory", lambda: Memory(100, 60))
    tick(tmp_path, 0, 0, 0)
    return tmp_path


def tick(proc: Path, busy: int, idle: int, received: int) -> None:
    (proc / "_STAT").write_text(STAT.format(busy=busy, idle=idle))
    (proc / "_NETWORK").write_text(NETWORK.format(received=received, sent=2 * received))


def test_rates_are_over_the_time_since_the_last_measurement(proc: Path) -> None:
    meter = LoadMeter(proc, lambda: 7, **LIMITS, now=10.0)
    tick(proc, 30, 70, 4000)
    measured = meter.measure(now=12.0)
    assert (measured.cpu_percent, measured.network_in_bytes_per_s, measured.spool_bytes) == (30.0, 2000, 7)
    assert measured.network_out_bytes_per_s == 4000
    assert measured.memory_bytes == 60
    tick(proc, 40, 70, 4000)
    assert meter.measure(now=13.0).cpu_percent == 100.0


def test_a_disk_that_fills_up_is_warned_of_then_takes_no_more_captures_and_back(
    proc: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Usage:
        percent = 0.0

        def __init__(self, _: Path) -> None:
            self.used, self.free = int(self.percent * 1e9), int((100 - self.percent) * 1e9)

    monkeypatch.setattr("shutil.disk_usage", Usage)
    meter = LoadMeter(proc, lambda: 0, **LIMITS, now=0.0)
    seen: list[tuple[bool, bool]] = []
    for now, Usage.percent in enumerate((79.9, 80, 89.9, 90, 89.5, 88.9, 79.5, 78.9)):
        measured = meter.measure(now=1.0 + now)
        seen.append((measured.warning is not None, measured.refusal is not None))
    warned, refused = (True, False), (True, True)
    assert seen == [(False, False), warned, warned, refused, refused, warned, warned, (False, False)]
    Usage.percent = 93
    assert meter.measure(now=20.0).refusal == "the spool's disk is 93 % full, 7.0 GB are free"
