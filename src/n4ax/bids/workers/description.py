"""How many workers there are, how large they are, and where they run."""

import os
import re
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass, field
from math import isfinite
from typing import Any, Literal, get_args

from n4ax.errors import InputError

Cluster = Literal["local", "slurm", "pbs", "lsf", "sge"]

_MIN_GB = 0.5  # Python with NumPy, numba and Dask takes this much before it does any work

_LISTS = ("job_extra_directives", "job_script_prologue", "worker_extra_args")

_GPU_EXAMPLE = '{"job_extra_directives": ["--gres=gpu:1"]}'


@dataclass(frozen=True)
class Workers:
    """How many workers there are, how large they are, and where they run.

    Parameters
    ----------
    cluster
        ``"local"`` starts processes on this machine. The others submit jobs to SLURM, PBS, LSF or
        Grid Engine, which needs ``pip install 'n4ax[cluster]'``.
    scheduler
        Address of a Dask scheduler that is already running, ``"tls://host:port"``. Its workers are
        used as they are, and all other parameters are ignored.
    processes
        Number of worker processes: in total on this machine, or in each job of a cluster.
    threads
        Threads of each process.
    memory_gb
        Memory in GB (10^9 bytes). On this machine it is shared by all processes, and ``None`` sets
        no limit. On a cluster it is the memory of each job, and ``None`` means 8. A process that
        takes more than its share is ended and started again, and its task with it.
    jobs
        Number of jobs to submit.
    queue, account
        The queue that jobs are submitted to and the account that they are charged to; ``None``
        leaves the choice to the cluster.
    walltime
        Time limit of a job, ``"HH:MM:SS"``; ``None`` leaves it to the queue. Shortly before it, the
        workers of the job take no new images. Jobs that have ended are submitted again.
    options
        Further keywords of dask-jobqueue's class, such as ``{"job_extra_directives":
        ["--gres=gpu:1"], "job_script_prologue": ["module load cuda"], "interface": "ib0"}``.
        They take precedence over the other parameters; lists are added to those that n4ax makes.
    gpus
        On this machine: start one process for each of this many GPUs instead of ``processes``.
        Each process sees only its own GPU.

    Raises
    ------
    InputError
        A value is out of range, or two values contradict each other.
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
            raise InputError("{cluster} is {0!r}; expected one of {1}", self.cluster, known)
        for name, least in (("processes", 1), ("threads", 1), ("jobs", 1), ("gpus", 0)):
            _check_whole(name, getattr(self, name), least)
        _check_memory(self.memory_gb, self.gpus or self.processes)
        if self.cluster == "local":
            self._check_local()
        else:
            self._check_cluster()

    @property
    def are_local(self) -> bool:
        """Whether the workers are processes of this machine that n4ax starts."""
        return self.cluster == "local" and self.scheduler is None

    @property
    def are_jobs(self) -> bool:
        """Whether the workers are jobs that n4ax submits to a cluster."""
        return self.cluster != "local" and self.scheduler is None

    def _check_local(self) -> None:
        for name in ("queue", "walltime", "account", "options"):
            if getattr(self, name):
                raise InputError(
                    f"{{{name}}} is {{0!r}}, but {{cluster}} is 'local', which submits no jobs: "
                    f"leave out {{{name}}}, or choose another cluster",
                    getattr(self, name),
                )

    def _check_cluster(self) -> None:
        if self.gpus:
            raise InputError(
                "{gpus} is {0}, which is only for {cluster} 'local': ask {1} for GPUs with "
                "{options}, such as {2}",
                self.gpus,
                self.cluster,
                _GPU_EXAMPLE,
            )
        if self.walltime is not None and not re.fullmatch(
            r"\d{1,4}:[0-5]\d:[0-5]\d", str(self.walltime)
        ):
            raise InputError(
                "{walltime} is {0!r}; expected HH:MM:SS, such as '04:00:00'", self.walltime
            )
        _check_options(self.options)
        cores = self.processes * self.threads
        if self.cluster == "sge" and cores > 1 and "-pe " not in str(self.options):
            raise InputError(
                "a job of {0} cores needs a parallel environment of Grid Engine. Its name differs "
                "from site to site (qconf -spl lists them): give it in {options}, such as {1}",
                cores,
                f'{{"job_extra_directives": ["-pe smp {cores}"]}}',
            )


def _check_address(address: str) -> None:
    if not re.fullmatch(r"(tcp|tls)://(\[[\da-fA-F:.]+\]|[^\s:/\[\]]+):\d{1,5}", address):
        raise InputError(
            "{scheduler} is {0!r}; expected an address such as 'tls://10.0.0.5:8786', which "
            "dask scheduler prints when it starts",
            address,
        )


def _check_whole(name: str, value: object, least: int) -> None:
    if not isinstance(value, int) or isinstance(value, bool) or value < least:
        raise InputError(
            f"{{{name}}} is {{0!r}}; expected a whole number of at least {{1}}", value, least
        )


def _check_memory(memory: float | None, processes: int) -> None:
    if memory is None:
        return
    least = _MIN_GB * processes
    if not isinstance(memory, int | float) or not isfinite(memory) or memory < least:
        raise InputError(
            "{memory_gb} is {0!r}; expected at least {1:g} ({2:g} GB for each process)",
            memory,
            least,
            _MIN_GB,
        )


def _check_options(options: object) -> None:
    if not isinstance(options, Mapping):
        raise InputError(
            "{options} is {0!r}; expected keywords of dask-jobqueue with their values, such as {1}",
            options,
            _GPU_EXAMPLE,
        )
    for name, value in options.items():
        if name in _LISTS and not isinstance(value, list | tuple):
            raise InputError(
                "{options} has {0} {1!r}; expected a list, such as {2!r}", name, value, [str(value)]
            )


def count_gpus() -> int:
    """Count the NVIDIA GPUs that a process of this machine sees, without starting JAX or CUDA.

    Returns
    -------
    int
        How many GPUs ``CUDA_VISIBLE_DEVICES`` lists if it is set, otherwise how many
        ``nvidia-smi -L`` lists; 0 if there is neither.
    """
    listed = list_visible_gpus()
    if listed is not None:
        return len(listed)
    try:
        done = subprocess.run(
            # The user's PATH says which; its driver is part of the system.
            ["nvidia-smi", "-L"],  # noqa: S607  # nosec B603 B607
            capture_output=True,
            text=True,
            timeout=30,
            check=True,
        )
    except (OSError, subprocess.SubprocessError):
        return 0
    return sum(line.startswith("GPU ") for line in done.stdout.splitlines())


def list_visible_gpus() -> list[str] | None:
    """List the GPUs in ``CUDA_VISIBLE_DEVICES``; ``None`` if the variable is not set.

    As in CUDA, the first entry that is not a device ends the list.
    """
    text = os.environ.get("CUDA_VISIBLE_DEVICES")
    if text is None:
        return None
    listed: list[str] = []
    for name in map(str.strip, text.split(",")):
        if not re.fullmatch(r"\d+|(GPU|MIG)-\S+", name):
            break
        listed.append(name)
    return listed
