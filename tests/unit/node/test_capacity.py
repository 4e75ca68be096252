"""What a node measures of itself, and what it makes of it."""

import os
from pathlib import Path

import pytest

from edumeet_recording.domain.price import capacity_mcpu
from edumeet_recording.node import calibration, own_cost
from edumeet_recording.node.calibration import Calibration, disk_bytes_per_s, keep_calibration, kept_calibration
from edumeet_recording.node.capacity import CapacityMeter
from edumeet_recording.node.own_cost import OwnCostMeter
from edumeet_recording.wire.node_link import NodeLoad

STAT = "{pid} (a) name) R " + "0 " * 10 + "{user} {system} 0 0\n"
TICKS_PER_S = os.sysconf("SC_CLK_TCK")


@pytest.fixture
def proc(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(own_cost, "_PROC", tmp_path)
    return tmp_path


def used(proc: Path, pid: int, seconds: float, *, waited_s: float = 0, written: int = 0) -> None:
    """What the kernel tells of a process since its start."""
    folder = proc / str(pid)
    folder.mkdir(exist_ok=True)
    ticks = int(seconds * TICKS_PER_S)
    (folder / "stat").write_text(STAT.format(pid=pid, user=ticks // 2, system=ticks - ticks // 2))
    (folder / "schedstat").write_text(f"1 {int(waited_s * 1e9)} 1\n")
    (folder / "io").write_text(f"rchar: 1\nwrite_bytes: {written}\n")


def test_own_processes_are_added_up_and_new_ones_count_later(proc: Path) -> None:
    meter = OwnCostMeter(now=0.0)
    used(proc, 1, 10)
    assert meter.measure([1, 999], now=1.0).mcpu == 0
    used(proc, 1, 11, waited_s=0.5, written=3000)
    used(proc, 2, 500)
    cost = meter.measure([1, 2], now=3.0)
    assert (cost.mcpu, cost.waited_mcpu, cost.written_bytes_per_s) == (500, 250, 1500)
    used(proc, 2, 501)
    assert meter.measure([1, 2], now=4.0).mcpu == 1000


def not_kept(_calibration: Calibration) -> None:
    raise OSError("no space left on device")


def test_what_captures_cost_changes_what_the_node_takes(proc: Path) -> None:
    meter = CapacityMeter(2, Calibration(disk_bytes_per_s=1e6), not_kept, now=0.0)
    for second in range(600):
        used(proc, 1, second * 0.4)
        load = meter.measure(NodeLoad(), [1], promised_mcpu=800, now=float(second))
    assert capacity_mcpu(2) * 1.5 < (load.capacity_mcpu or 0) < capacity_mcpu(2) * 2
    assert load.capacity_bytes_per_s == 800_000
    assert (load.refusal, load.sheds) == (None, False)


def test_waiting_for_a_core_is_as_hot_as_using_it(proc: Path) -> None:
    meter = CapacityMeter(2, Calibration(), not_kept, now=0.0)
    for second in range(20):
        used(proc, 1, second * 1.0, waited_s=second * 0.9)
        load = meter.measure(NodeLoad(), [1], promised_mcpu=0, now=float(second))
        if second == 5:
            assert (load.refusal, load.sheds) == ("capturing wants 95 % of its cores", False)
    assert load.sheds
    full = meter.measure(NodeLoad(refusal="the disk is full"), [1], promised_mcpu=0, now=20.0)
    assert full.refusal == "the disk is full"


def test_what_was_learned_is_known_at_the_next_start(proc: Path, tmp_path: Path) -> None:
    kept: list[Calibration] = []

    def keep(calibration: Calibration) -> None:
        kept.append(calibration)
        keep_calibration(tmp_path, calibration)

    meter = CapacityMeter(2, Calibration(disk_bytes_per_s=1e6), keep, now=0.0)
    for second in range(600):
        used(proc, 1, second * 0.4)
        load = meter.measure(NodeLoad(), [1], promised_mcpu=800, now=float(second))
    assert 5 < len(kept) < 20, "not with each heartbeat"
    again = CapacityMeter(2, kept_calibration(tmp_path), keep, now=0.0).measure(NodeLoad(), [1], 0, now=1.0)
    assert again.capacity_mcpu == pytest.approx(load.capacity_mcpu, rel=0.05)
    assert again.capacity_bytes_per_s == load.capacity_bytes_per_s


def test_a_calibration_is_kept(tmp_path: Path) -> None:
    assert kept_calibration(tmp_path) == Calibration()
    found = Calibration(cost_factor=0.5, disk_bytes_per_s=1e8)
    keep_calibration(tmp_path / "node", found)
    assert kept_calibration(tmp_path / "node") == found
    (tmp_path / "node" / calibration.FILE).write_text("{")
    assert kept_calibration(tmp_path / "node") == Calibration()


def test_the_disk_is_measured_and_left_clean(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(calibration, "TEST_BYTES", 1024 * 1024)
    assert disk_bytes_per_s(tmp_path) > 0
    assert list(tmp_path.iterdir()) == []


def test_the_fastest_network_that_is_up_counts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(calibration, "_NETWORKS", tmp_path)
    assert calibration.network_bytes_per_s() is None
    for name, state, speed in (
        ("lo", "unknown", "-1"),
        ("eth0", "up", "1000"),
        ("eth1", "down", "10000"),
        ("v", "up", "x"),
    ):
        (tmp_path / name).mkdir()
        (tmp_path / name / "operstate").write_text(f"{state}\n")
        (tmp_path / name / "speed").write_text(f"{speed}\n")
    assert calibration.network_bytes_per_s() == 125e6
