"""Workers that n4ax chooses: as many as the machine has room for."""

from pathlib import Path
from typing import Any

import pytest

from n4ax.bids import capacity as module
from n4ax.bids.capacity import WorkerChoice, find_shortage, plan_workers
from n4ax.bids.need import Need
from n4ax.errors import InputError


@pytest.mark.usefixtures("machine")
@pytest.mark.parametrize(
    ("choice", "images", "processes", "threads"),
    [
        ({}, 100, 3, 2),  # as many of 2 GB as fit into the free memory
        ({"memory_gb": 9}, 100, 4, 2),
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
    workers = plan_workers(WorkerChoice(**choice), None, images, 2.0)
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


@pytest.mark.usefixtures("machine")
@pytest.mark.parametrize(("need", "processes"), [(0.0, 8), (0.9, 7), (3.6, 1), (40.0, 1)])
def test_the_largest_image_decides_how_many_fit(need: float, processes: int) -> None:
    assert plan_workers(WorkerChoice(), None, 100, need).processes == processes


SHORTAGES: dict[str, tuple[dict[str, Any], float, str]] = {
    "one process too many": (
        {"processes": 4}, 4.5,
        "a.nii needs about 4.5 GB, and this machine has 16 GB for 4 images at a time: give "
        "--n-procs 3; otherwise such an image is tried again, alone, if its worker dies",
    ),
    "too little memory given": (
        {"processes": 2, "memory_gb": 4}, 3.0,
        "a.nii needs about 3.0 GB, and --memory-gb leaves 4 GB for 2 images at a time: give "
        "--memory-gb 6 or --n-procs 1; otherwise such an image is tried again, alone, if its "
        "worker dies",
    ),
    "a machine that is too small": (
        {}, 20.0,
        "a.nii needs about 20.0 GB, and this machine has 16 GB for 1 image at a time: use a "
        "machine that has more",
    ),
    "a job": (
        {"cluster": "slurm", "processes": 8, "memory_gb": 16}, 2.4,
        "a.nii needs about 2.4 GB, and a job has 16 GB for 8 images at a time: give --memory-gb "
        "20 or --n-procs 6; otherwise such an image is tried again, alone, if its worker dies",
    ),
    "a job that asks for nothing": (
        {"cluster": "pbs"}, 9.1,
        "a.nii needs about 9.1 GB, and a job has 8 GB for 1 image at a time: give --memory-gb 10",
    ),
}  # fmt: skip


@pytest.mark.usefixtures("machine")
@pytest.mark.parametrize(("choice", "need", "text"), SHORTAGES.values(), ids=SHORTAGES)
def test_images_that_do_not_fit(choice: dict[str, Any], need: float, text: str) -> None:
    workers = plan_workers(WorkerChoice(**choice), None, 100, need)
    shortage = find_shortage(workers, Need(need, "a.nii"))
    assert shortage is not None
    names = {"processes": "--n-procs", "memory_gb": "--memory-gb"}
    assert shortage.with_options(names) == text


@pytest.mark.usefixtures("machine")
def test_images_that_fit_need_no_note() -> None:
    for choice in ({}, {"processes": 4}, {"cluster": "slurm", "processes": 2}):
        workers = plan_workers(WorkerChoice(**choice), None, 100, 3.5)
        assert find_shortage(workers, Need(3.5, "a.nii")) is None
    running = plan_workers(WorkerChoice(scheduler="tls://10.0.0.5:8786"), None, 100, 99.0)
    assert find_shortage(running, Need(99.0, "a.nii")) is None
