"""Workers that can be asked for, and the GPUs of this machine."""

from pathlib import Path
from typing import Any

import pytest

from n4ax.bids.workers.description import Workers, count_gpus
from n4ax.errors import InputError
from tests.bids.worker_tasks import write_program

pytestmark = pytest.mark.usefixtures("nothing_is_left")

BAD = {
    "cluster": ({"cluster": "moab"}, "cluster is 'moab'; expected one of 'local', 'slurm'"),
    "processes": ({"processes": 0}, "processes is 0; expected a whole number of at least 1"),
    "threads": ({"threads": 1.5}, "threads is 1.5; expected a whole number"),
    "jobs": ({"jobs": True}, "jobs is True; expected a whole number"),
    "gpus": ({"gpus": -1}, "gpus is -1; expected a whole number of at least 0"),
    "memory": (
        {"memory_gb": 0.9, "processes": 4},
        r"memory_gb is 0.9; expected at least 2 \(0.5 GB for each process\)",
    ),
    "not a number": ({"memory_gb": float("nan")}, "memory_gb is nan; expected at least 0.5 "),
    "queue": (
        {"queue": "short"},
        "queue is 'short', but cluster is 'local', which submits no jobs: leave out queue",
    ),
    "options": (
        {"options": {"interface": "lo"}},
        "options is .*, but cluster is 'local', .*: leave out options",
    ),
    "walltime": ({"cluster": "slurm", "walltime": "2h"}, "walltime is '2h'; expected HH:MM:SS"),
    "minutes": ({"cluster": "pbs", "walltime": "1:75:00"}, "expected HH:MM:SS, such as '04:00:00'"),
    "GPUs of a cluster": ({"cluster": "slurm", "gpus": 1}, "ask slurm for GPUs with options"),
    "a list": ({"cluster": "lsf", "options": ["-x"]}, "expected keywords of dask-jobqueue"),
    "a line": (
        {"cluster": "pbs", "options": {"job_script_prologue": "module load cuda"}},
        r"job_script_prologue 'module load cuda'; expected a list, such as \['module load",
    ),
    "cores of SGE": ({"cluster": "sge", "threads": 4}, r'"job_extra_directives": \["-pe smp 4"\]'),
    "address": ({"scheduler": "10.0.0.5"}, "scheduler is '10.0.0.5'; expected an address"),
}


@pytest.mark.parametrize(("given", "message"), BAD.values(), ids=BAD.keys())
def test_values_that_are_refused(given: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError, match=message) as caught:
        Workers(**given)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("listed", "count"),
    [("0", 1), ("2,5", 2), ("", 0), ("-1", 0), ("0,-1,1", 1), ("GPU-8f0, MIG-a1/2/3", 2)],
)
def test_gpus_that_are_listed(listed: str, count: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", listed)
    assert count_gpus() == count


def test_gpus_that_the_driver_shows(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    monkeypatch.setenv("PATH", str(tmp_path))
    assert count_gpus() == 0
    write_program(tmp_path / "nvidia-smi", 'echo "GPU 0: H100 (UUID: GPU-1)"; echo "GPU 1: H100"')
    assert count_gpus() == 2
    write_program(tmp_path / "nvidia-smi", 'echo "NVIDIA-SMI has failed"; exit 9')
    assert count_gpus() == 0
