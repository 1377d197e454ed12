"""How many cores a process may use: by affinity, by control groups, by what it is told."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path

import pytest

from tinygraph.runtime.threads import available

CORES = 8


@pytest.fixture(autouse=True)
def _cores(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: set(range(CORES)), raising=False)
    monkeypatch.setattr(os, "process_cpu_count", lambda: CORES, raising=False)


def files(root: Path, contents: Mapping[str, str]) -> Path:
    for name, text in contents.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return root


V2 = "sys/fs/cgroup/"
V1 = "sys/fs/cgroup/cpu,cpuacct/"
MINE = "proc/self/cgroup"
QUOTAS: dict[str, tuple[dict[str, str], int]] = {
    "no control groups": ({}, CORES),
    "no quota": ({MINE: "0::/a/b\n", V2 + "a/b/cpu.max": "max 100000\n"}, CORES),
    "whole cores": ({MINE: "0::/a/b\n", V2 + "a/b/cpu.max": "300000 100000\n"}, 3),
    "rounded up": ({MINE: "0::/a/b\n", V2 + "a/b/cpu.max": "210000 100000\n"}, 3),
    "less than one": ({MINE: "0::/a\n", V2 + "a/cpu.max": "1000 100000\n"}, 1),
    "more than there are": ({MINE: "0::/a\n", V2 + "a/cpu.max": "6400000 100000\n"}, CORES),
    "that of a group around it": (
        {MINE: "0::/a/b\n", V2 + "a/b/cpu.max": "500000 100000\n", V2 + "a/cpu.max": "400000 100000"},
        4,
    ),
    "a container sees itself as the root": ({MINE: "0::/\n", V2 + "cpu.max": "200000 100000\n"}, 2),
    "another one's quota": ({MINE: "0::/a\n", V2 + "b/cpu.max": "200000 100000\n"}, CORES),
    "a name with a colon": ({MINE: "0::/a:b\n", V2 + "a:b/cpu.max": "200000 100000\n"}, 2),
    "version 1": (
        {
            MINE: "5:memory:/m\n4:cpu,cpuacct:/x/y\n0::/\n",
            V1 + "x/y/cpu.cfs_quota_us": "250000\n",
            V1 + "x/y/cpu.cfs_period_us": "100000\n",
            "sys/fs/cgroup/memory/m/cpu.max": "100000 100000",
        },
        3,
    ),
    "version 1 without a quota": (
        {MINE: "4:cpu,cpuacct:/\n", V1 + "cpu.cfs_quota_us": "-1\n", V1 + "cpu.cfs_period_us": "100000\n"},
        CORES,
    ),
    "version 1, in a container": (
        {
            MINE: "4:cpu,cpuacct:/docker/123\n",
            "sys/fs/cgroup/cpu/cpu.cfs_quota_us": "50000\n",
            "sys/fs/cgroup/cpu/cpu.cfs_period_us": "25000\n",
        },
        2,
    ),
    "both versions": (
        {
            MINE: "4:cpu:/x\n0::/a\n",
            "sys/fs/cgroup/cpu/x/cpu.cfs_quota_us": "500000\n",
            "sys/fs/cgroup/cpu/x/cpu.cfs_period_us": "100000\n",
            "sys/fs/cgroup/unified/a/cpu.max": "400000 100000\n",
        },
        4,
    ),
    "nonsense": ({MINE: "0::/a\n", V2 + "a/cpu.max": "many\n"}, CORES),
    "a period of nothing": ({MINE: "0::/a\n", V2 + "a/cpu.max": "100 0\n"}, CORES),
}


@pytest.mark.parametrize(("contents", "cores"), QUOTAS.values(), ids=QUOTAS.keys())
def test_quotas_of_control_groups(tmp_path: Path, contents: dict[str, str], cores: int) -> None:
    assert available(files(tmp_path, contents)) == cores


def test_affinity(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: {3, 5})
    monkeypatch.setattr(os, "process_cpu_count", lambda: 2)
    assert available(tmp_path) == 2


def test_a_count_that_was_asked_for_is_taken_as_it_is(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(os, "process_cpu_count", lambda: 12)
    assert available(files(tmp_path, {MINE: "0::/\n", V2 + "cpu.max": "200000 100000\n"})) == 12


def test_systems_that_know_of_neither(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.delattr(os, "sched_getaffinity")
    monkeypatch.delattr(os, "process_cpu_count")
    monkeypatch.setattr(os, "cpu_count", lambda: 6)
    assert available(tmp_path) == 6
    monkeypatch.setattr(os, "cpu_count", lambda: None)
    assert available(tmp_path) == 1
