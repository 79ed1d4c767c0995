"""How many workers there are, how large, and where: what is asked for, and checked."""

import os
import re
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass, field
from math import isfinite
from typing import Any, Literal, get_args

Cluster = Literal["local", "slurm", "pbs", "lsf", "sge"]

_LEAST_GB = 0.5  # Python with NumPy, numba and Dask takes this much before it does anything

_LISTS = ("job_extra_directives", "job_script_prologue", "worker_extra_args")


@dataclass(frozen=True)
class Workers:
    """How many workers there are, how large, and where.

    Parameters
    ----------
    cluster
        ``"local"``: processes of this machine. The others: jobs that are submitted to SLURM, PBS,
        LSF or Grid Engine, which needs ``pip install 'n4ax[cluster]'``.
    scheduler
        Address of a Dask scheduler that runs already, ``"tcp://host:port"``. Its workers are used
        as they are, and nothing else that is said here counts.
    processes
        Worker processes: in all on this machine, in each job on a cluster.
    threads
        Threads of each process.
    memory_gb
        Memory in GB (10^9 bytes): of all processes together on this machine, where ``None`` sets
        no limit; of each job on a cluster, where ``None`` is 8. A process that takes more than
        its share is ended and started again, and its task with it.
    jobs
        Jobs to submit.
    queue, account
        Where they are submitted, and on whose account; ``None`` leaves it to the cluster.
    walltime
        Longest time of a job, ``"HH:MM:SS"``; ``None`` leaves it to the queue.
    options
        Further keywords of dask-jobqueue's class, such as ``{"job_extra_directives":
        ["--gres=gpu:1"], "job_script_prologue": ["module load cuda"], "interface": "ib0"}``.
        They go before what is said here; lists are added to what n4ax puts into them.
    gpus
        On this machine: one process for each of so many GPUs, which sees no other, in the place
        of ``processes``.

    Raises
    ------
    ValueError
        A value that cannot be, or values that do not go together.
    """

    cluster: Cluster = "local"
    scheduler: str | None = None
    processes: int = 1
    threads: int = 1
    memory_gb: float | None = None
    jobs: int = 1
    queue: str | None = None
    walltime: str | None = None
    account: str | None = None
    options: Mapping[str, Any] = field(default_factory=dict)
    gpus: int = 0

    def __post_init__(self) -> None:
        if self.scheduler is not None:
            _check_address(self.scheduler)
            return
        if self.cluster not in get_args(Cluster):
            known = ", ".join(map(repr, get_args(Cluster)))
            raise ValueError(f"cluster is {self.cluster!r}; expected one of {known}")
        for name, least in (("processes", 1), ("threads", 1), ("jobs", 1), ("gpus", 0)):
            _check_whole(name, getattr(self, name), least)
        _check_memory(self.memory_gb, self.gpus or self.processes)
        if self.cluster == "local":
            self._check_local()
        else:
            self._check_cluster(self.cluster)

    def _check_local(self) -> None:
        for name in ("queue", "walltime", "account", "options"):
            if getattr(self, name):
                raise ValueError(
                    f"{name} is {getattr(self, name)!r}, which goes with a cluster, and cluster is "
                    f"'local': leave {name} out, or choose another cluster"
                )

    def _check_cluster(self, cluster: str) -> None:
        if self.gpus:
            raise ValueError(
                f"gpus is {self.gpus}, which goes with cluster 'local': ask {cluster} for GPUs by "
                'options, such as {"job_extra_directives": ["--gres=gpu:1"]}'
            )
        if self.walltime is not None and not re.fullmatch(
            r"\d{1,4}:[0-5]\d:[0-5]\d", str(self.walltime)
        ):
            raise ValueError(
                f"walltime is {self.walltime!r}; expected HH:MM:SS, such as '04:00:00'"
            )
        if not isinstance(self.options, Mapping):
            raise ValueError(
                f"options is {self.options!r}; expected keywords of dask-jobqueue with their "
                'values, such as {"job_extra_directives": ["--gres=gpu:1"]}'
            )
        for name, value in self.options.items():
            if name in _LISTS and not isinstance(value, list | tuple):
                raise ValueError(
                    f"options has {name} {value!r}; expected a list, such as [{str(value)!r}]"
                )
        cores = self.processes * self.threads
        if cluster == "sge" and cores > 1 and "-pe " not in str(self.options):
            raise ValueError(
                f"a job of {cores} cores needs a parallel environment of Grid Engine, whose name "
                "differs from site to site (qconf -spl lists them): name it in options, such as "
                f'{{"job_extra_directives": ["-pe smp {cores}"]}}'
            )


def _check_address(address: str) -> None:
    if not re.fullmatch(r"(tcp|tls)://(\[[\da-fA-F:.]+\]|[^\s:/\[\]]+):\d{1,5}", address):
        raise ValueError(
            f"scheduler is {address!r}; expected its address, such as 'tcp://10.0.0.5:8786', which "
            "dask scheduler prints when it starts"
        )


def _check_whole(name: str, value: object, least: int) -> None:
    if not isinstance(value, int) or isinstance(value, bool) or value < least:
        raise ValueError(f"{name} is {value!r}; expected a whole number of at least {least}")


def _check_memory(memory: float | None, processes: int) -> None:
    if memory is None:
        return
    least = _LEAST_GB * processes
    if not isinstance(memory, int | float) or not isfinite(memory) or memory < least:
        raise ValueError(
            f"memory_gb is {memory!r}; expected at least {least:g}, {_LEAST_GB:g} for each process"
        )


def visible_gpus() -> int:
    """How many NVIDIA GPUs a process of this machine sees, without starting JAX or CUDA.

    Returns
    -------
    int
        As many as ``CUDA_VISIBLE_DEVICES`` lists where it is set, else as ``nvidia-smi -L``; 0
        where there is neither.
    """
    listed = listed_gpus()
    if listed is not None:
        return len(listed)
    try:
        done = subprocess.run(
            ["nvidia-smi", "-L"], capture_output=True, text=True, timeout=30, check=True
        )
    except (OSError, subprocess.SubprocessError):
        return 0
    return sum(line.startswith("GPU ") for line in done.stdout.splitlines())


def listed_gpus() -> list[str] | None:
    """What CUDA_VISIBLE_DEVICES lists, read as CUDA does: what is not a device ends the list."""
    text = os.environ.get("CUDA_VISIBLE_DEVICES")
    if text is None:
        return None
    listed: list[str] = []
    for name in map(str.strip, text.split(",")):
        if not re.fullmatch(r"\d+|(GPU|MIG)-\S+", name):
            break
        listed.append(name)
    return listed
