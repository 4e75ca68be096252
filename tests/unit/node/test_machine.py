"""Limits of control groups, as containers and services have them, in both versions."""

import os
from pathlib import Path

import pytest

from edumeet_recording.node import machine
from edumeet_recording.node.machine import Memory, cores, groups_of, memory, quota_of

KB = 1024
CORES = len(os.sched_getaffinity(0))


@pytest.fixture
def tree(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    for name in ("_GROUPS", "_MEMORY"):
        monkeypatch.setattr(machine, name, tmp_path / name)
    monkeypatch.setattr(machine, "_TREE", tmp_path / "tree")
    write(tmp_path / "_MEMORY", "MemTotal: 100 kB\nMemFree: 1 kB\nMemAvailable: 40 kB")
    write(tmp_path / "_GROUPS", "0::/")
    return tmp_path / "tree"


def write(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(f"{text}\n")


def test_a_machine_without_limits_is_ours(tree: Path) -> None:
    assert cores() == CORES
    assert memory() == Memory(100 * KB, 60 * KB)
    write(tree / "cpu.max", "max 100000")
    write(tree / "memory.max", "max")
    assert cores() == CORES
    assert memory() == Memory(100 * KB, 60 * KB)


def test_what_is_reserved_is_no_more_than_there_is(tree: Path) -> None:
    assert cores(0.5) == 0.5
    assert cores(CORES + 1) == CORES
    write(tree / "cpu.max", "25000 100000")
    assert cores(0.5) == 0.25


def test_a_container_finds_its_limits_at_the_root_of_what_it_sees(tree: Path) -> None:
    write(tree / "cpu.max", "50000 100000")
    write(tree / "memory.max", str(50 * KB))
    write(tree / "memory.current", str(30 * KB))
    write(tree / "memory.stat", f"anon 1\ninactive_file {10 * KB}\nactive_file 5")
    assert cores() == 0.5
    assert memory() == Memory(50 * KB, 20 * KB)


def test_a_container_of_version_1_does_not_see_the_path_it_is_told(tree: Path, tmp_path: Path) -> None:
    write(tmp_path / "_GROUPS", "4:memory:/docker/ab\n3:cpu,cpuacct:/docker/ab\n0::/")
    write(tree / "cpu" / "cpu.cfs_quota_us", "25000")
    write(tree / "cpu" / "cpu.cfs_period_us", "100000")
    write(tree / "memory" / "memory.limit_in_bytes", str(80 * KB))
    write(tree / "memory" / "memory.usage_in_bytes", str(70 * KB))
    write(tree / "memory" / "memory.stat", f"inactive_file 1\ntotal_inactive_file {20 * KB}")
    assert cores() == 0.25
    assert memory() == Memory(80 * KB, 50 * KB)


def test_a_service_has_the_tightest_limit_on_the_way_to_its_group(tree: Path, tmp_path: Path) -> None:
    write(tmp_path / "_GROUPS", "0::/system.slice/node.service")
    write(tree / "system.slice" / "cpu.max", "75000 100000")
    write(tree / "system.slice" / "node.service" / "cpu.max", "90000 100000")
    write(tree / "system.slice" / "node.service" / "memory.max", str(90 * KB))
    write(tree / "system.slice" / "memory.max", str(95 * KB))
    assert cores() == 0.75
    assert memory().total == 90 * KB


def test_cores_of_quotas() -> None:
    quotas = {"max 100000": None, "-1 100000": None, "": None, "150000 100000": 1.5}
    assert {text: quota_of(text) for text in quotas} == quotas


def test_groups_of_both_versions() -> None:
    text = "9:name=systemd:/\n3:cpu,cpuacct:/a:b\n0::/user.slice"
    assert groups_of(text) == {"name=systemd": "/", "cpu": "/a:b", "cpuacct": "/a:b", "": "/user.slice"}
