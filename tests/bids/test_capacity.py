"""Workers that n4ax chooses: as many as the machine has room for."""

from pathlib import Path
from typing import Any

import pytest

from n4ax.bids import capacity as module
from n4ax.bids.capacity import WorkerChoice, plan_workers
from n4ax.errors import InputError


@pytest.mark.usefixtures("machine")
@pytest.mark.parametrize(
    ("choice", "images", "processes", "threads"),
    [
        ({}, 100, 3, 2),  # as many as fit into the free memory
        ({"memory_gb": 16}, 100, 8, 1),  # as many as there are cores
        ({"memory_gb": 16}, 2, 2, 4),  # as many as there are images
        ({"memory_gb": 0.9}, 100, 1, 8),
        ({"processes": 4}, 100, 4, 2),
        ({"processes": 20}, 100, 20, 1),
        ({"threads": 5}, 100, 3, 5),
        ({"cluster": "slurm"}, 100, 1, 1),
        ({"cluster": "slurm", "processes": 3, "threads": 2}, 100, 3, 2),
    ],
)
def test_processes_and_threads(
    choice: dict[str, Any], images: int, processes: int, threads: int
) -> None:
    workers = plan_workers(WorkerChoice(**choice), None, images)
    assert (workers.processes, workers.threads) == (processes, threads)


@pytest.mark.usefixtures("machine")
def test_gpus_are_used_unless_the_engine_is_cpu(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "count_gpus", lambda: 2)
    monkeypatch.setattr(module, "find_spec", lambda _: True)
    assert plan_workers(WorkerChoice(), None, 9).gpus == 2
    assert plan_workers(WorkerChoice(), "xla", 9).gpus == 2
    assert plan_workers(WorkerChoice(), "cpu", 9).gpus == 0
    assert plan_workers(WorkerChoice(cluster="slurm"), None, 9).gpus == 0
    monkeypatch.setattr(module, "find_spec", lambda _: None)
    assert plan_workers(WorkerChoice(), None, 9).gpus == 0


@pytest.mark.usefixtures("machine")
def test_more_memory_than_there_is() -> None:
    with pytest.raises(InputError, match="memory_gb 17 is more than the 16 GB of this machine"):
        plan_workers(WorkerChoice(memory_gb=17), None, 9)
    assert plan_workers(WorkerChoice(memory_gb=17, cluster="slurm"), None, 9).memory_gb == 17


@pytest.mark.usefixtures("machine")
def test_options_of_a_cluster_are_read_from_a_file(tmp_path: Path) -> None:
    file = tmp_path / "site.json"
    file.write_text('{"interface": "lo"}')
    workers = plan_workers(WorkerChoice(cluster="slurm", options=file), None, 9)
    assert workers.options == {"interface": "lo"}
    file.write_text("[1]")
    with pytest.raises(InputError, match=r"options is \[1\]; expected keywords"):
        plan_workers(WorkerChoice(cluster="slurm", options=file), None, 9)
