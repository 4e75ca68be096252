from pathlib import Path

import pytest

from edumeet_recording.node import load
from edumeet_recording.node.load import LoadMeter, memory_bytes

STAT = "cpu  {busy} 0 0 {idle} 0 0 0 0 0 0\ncpu0 1 1 1 1\n"
NETWORK = "Inter-|   Receive\n face |bytes packets\n    lo: {received} 1 0\n  eth0: 50 1 0\n"


@pytest.fixture
def proc(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    for name in ("_STAT", "_NETWORK", "_MEMORY"):
        monkeypatch.setattr(load, name, tmp_path / name)
    (tmp_path / "_MEMORY").write_text("MemTotal: 100 kB\nMemFree: 1 kB\nMemAvailable: 40 kB\n")
    tick(tmp_path, 0, 0, 0)
    return tmp_path


def tick(proc: Path, busy: int, idle: int, received: int) -> None:
    (proc / "_STAT").write_text(STAT.format(busy=busy, idle=idle))
    (proc / "_NETWORK").write_text(NETWORK.format(received=received))


def test_rates_are_over_the_time_since_the_last_measurement(proc: Path) -> None:
    meter = LoadMeter(proc, lambda: 7, now=10.0)
    tick(proc, 30, 70, 4000)
    measured = meter.measure(now=12.0)
    assert (measured.cpu_percent, measured.network_in_bytes_per_s, measured.spool_bytes) == (30.0, 2000, 7)
    assert measured.memory_bytes == 60 * 1024
    tick(proc, 40, 70, 4000)
    assert meter.measure(now=13.0).cpu_percent == 100.0


@pytest.mark.parametrize(("used", "refuses"), [(89, False), (90, True), (100, True)])
def test_a_disk_that_is_nearly_full_takes_no_more_captures(
    proc: Path, monkeypatch: pytest.MonkeyPatch, used: int, refuses: bool
) -> None:
    class Usage:
        def __init__(self, _: Path) -> None:
            self.used, self.free = used, 100 - used

    monkeypatch.setattr("shutil.disk_usage", Usage)
    measured = LoadMeter(proc, lambda: 0, now=0.0).measure(now=1.0)
    assert measured.disk_used_percent == used
    assert (measured.refusal is not None) is refuses


def test_a_field_that_proc_does_not_have_is_nothing(proc: Path) -> None:
    assert memory_bytes("MemNone") == 0
