"""How many threads are started: what the environment says, and what the system allows."""

import os
from pathlib import Path

import pytest

from n4ax import processors
from n4ax.engines.cpu.threads import MOST_THREADS, Threads
from n4ax.processors import VARIABLES, choose_thread_count, count_processors, find_quota

ITK, OPENMP, SLURM = VARIABLES


def write_groups(root: Path, groups: str, **files: str) -> Path:
    """A root with the groups of a process, and files of the groups; ``__`` is a slash."""
    for name, text in {"proc/self/cgroup": groups, **files}.items():
        path = root / name.replace("__", "/")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return root


VERSION_2 = "0::/\n"
VERSION_1 = "12:pids:/docker/1f\n4:cpu,cpuacct:/docker/1f\n1:name=systemd:/docker/1f\n"


@pytest.mark.parametrize(
    ("groups", "files", "quota"),
    [
        (VERSION_2, {}, None),
        (VERSION_2, {"cpu.max": "max 100000\n"}, None),
        (VERSION_2, {"cpu.max": "200000 100000\n"}, 2.0),
        (VERSION_2, {"cpu.max": "150000 100000\n"}, 1.5),
        (VERSION_2, {"cpu.max": "nonsense"}, None),
        # A job of a batch system: the limit is that of a group above the process.
        (
            "0::/slurm/job_7/step_0\n",
            {"slurm/job_7/cpu.max": "400000 100000", "slurm/job_7/step_0/cpu.max": "max 100000"},
            4.0,
        ),
        ("0::/a/b\n", {"a/cpu.max": "300000 100000", "a/b/cpu.max": "50000 100000"}, 0.5),
        # Docker with version 1: the path is that of the host, which is not seen inside.
        (
            VERSION_1,
            {"cpu,cpuacct/cpu.cfs_quota_us": "250000", "cpu,cpuacct/cpu.cfs_period_us": "100000"},
            2.5,
        ),
        (
            VERSION_1,
            {
                "cpu/docker/1f/cpu.cfs_quota_us": "200000",
                "cpu/docker/1f/cpu.cfs_period_us": "100000",
                "cpu/cpu.cfs_quota_us": "-1",
                "cpu/cpu.cfs_period_us": "100000",
            },
            2.0,
        ),
        (VERSION_1, {"cpu/cpu.cfs_quota_us": "-1", "cpu/cpu.cfs_period_us": "100000"}, None),
        ("3:cpuset:/x\n", {"cpuset/cpu.cfs_quota_us": "1", "cpu.max": "1 1"}, None),
        ("", {}, None),
        ("nonsense\n", {"cpu.max": "1"}, None),
    ],
)
def test_quota_is_that_of_the_control_groups(
    tmp_path: Path, groups: str, files: dict[str, str], quota: float | None
) -> None:
    placed = {f"sys/fs/cgroup/{name}": text for name, text in files.items()}
    assert find_quota(write_groups(tmp_path, groups, **placed)) == quota


def test_no_quota_is_found_where_there_are_no_control_groups(tmp_path: Path) -> None:
    assert find_quota(tmp_path) is None


@pytest.mark.parametrize(
    ("affinity", "quota", "count"),
    [(64, None, 64), (64, 2.0, 2), (64, 1.5, 2), (64, 0.25, 1), (2, 8.0, 2), (1, None, 1)],
)
def test_quota_and_affinity_limit_the_processors(
    monkeypatch: pytest.MonkeyPatch, affinity: int, quota: float | None, count: int
) -> None:
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: set(range(affinity)), raising=False)
    monkeypatch.setattr(processors, "find_quota", lambda: quota)
    assert count_processors() == count
    for name in VARIABLES:
        monkeypatch.delenv(name, raising=False)
    assert Threads().count == min(count, MOST_THREADS)


def test_processors_are_counted_where_there_is_no_affinity(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.delattr(os, "sched_getaffinity", raising=False)
    monkeypatch.setattr(os, "cpu_count", lambda: 10)
    monkeypatch.setattr(processors, "find_quota", lambda: None)
    assert count_processors() == 10
    monkeypatch.setattr(os, "cpu_count", lambda: None)
    assert count_processors() == 1


@pytest.mark.parametrize(
    ("environ", "count"),
    [
        ({}, 12),
        ({ITK: "3", OPENMP: "5", SLURM: "7"}, 3),
        ({OPENMP: "5", SLURM: "7"}, 5),
        ({SLURM: "7"}, 7),
        ({OPENMP: "4,3,2"}, 4),
        ({OPENMP: " 6 "}, 6),
        ({ITK: "64"}, 12),  # more threads than processors would wait for each other
        ({ITK: "", OPENMP: "2"}, 2),
        ({ITK: "0", OPENMP: "2"}, 2),
        ({ITK: "-4"}, 12),
        ({OPENMP: "many"}, 12),
        ({OPENMP: "2.5"}, 12),
        ({OPENMP: "0" * 5000 + "3"}, 3),
        ({OPENMP: "9" * 5000}, 12),
    ],
)
def test_first_variable_that_is_set_decides(
    monkeypatch: pytest.MonkeyPatch, environ: dict[str, str], count: int
) -> None:
    monkeypatch.setattr(processors, "count_processors", lambda: 12)
    assert choose_thread_count(environ) == count


def test_number_that_is_named_goes_first(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(OPENMP, "1")
    assert Threads(2).count == 2
    assert Threads().count == 1
