"""Choose the workers of a study by what the user asks for and by what this machine has room for."""

from dataclasses import dataclass
from importlib.util import find_spec
from math import ceil
from pathlib import Path
from typing import Any

from n4ax.bids.need import Need
from n4ax.bids.workers.description import Cluster, Workers, count_gpus
from n4ax.bids.workers.jobs import JOB_GB
from n4ax.errors import InputError
from n4ax.settings import EngineName
from n4ax.texts import parse_json, read_text_file

_LEAST_GB = 0.5
"""What a process may need at least, as :class:`n4ax.bids.workers.description.Workers` has it."""


@dataclass(frozen=True)
class WorkerChoice:
    """The workers that the user asks for, as far as the user asks for any.

    Attributes
    ----------
    processes, threads
        As for :class:`n4ax.bids.workers.description.Workers`; ``None`` leaves the choice to n4ax.
    memory_gb, cluster, scheduler, jobs, queue, walltime, account
        As for :class:`n4ax.bids.workers.description.Workers`.
    options
        A JSON file with the ``options`` of :class:`n4ax.bids.workers.description.Workers`.
    """

    processes: int | None = None
    threads: int | None = None
    memory_gb: float | None = None
    cluster: Cluster = "local"
    scheduler: str | None = None
    jobs: int = 1
    queue: str | None = None
    walltime: str | None = None
    account: str | None = None
    options: Path | None = None


def plan_workers(
    choice: WorkerChoice, engine: EngineName | None, tasks: int, need: float = 0.0
) -> Workers:
    """The workers that the user asks for, with the rest chosen by the resources of this machine.

    Parameters
    ----------
    choice
        What the user asks for.
    engine
        The engine that the user asks for; GPUs are not used for ``"cpu"``.
    tasks
        The number of images, or of groups of them; more processes than that are not started.
    need
        Memory in GB that the largest image needs; the number of processes is chosen by it.

    Raises
    ------
    InputError
        A value is out of range, or ``options`` is not a JSON file.
    """
    from dask.system import CPU_COUNT  # in a container, only the cores that it may use

    is_here = choice.cluster == "local" and choice.scheduler is None
    if is_here and choice.memory_gb is not None:
        _check_memory(choice.memory_gb)
    room = choice.memory_gb or _free_gigabytes()
    fitting = max(1, min(CPU_COUNT, tasks, int(room / max(need, _LEAST_GB))))
    processes = choice.processes or (fitting if is_here else 1)
    cores = CPU_COUNT if is_here else processes
    return Workers(
        cluster=choice.cluster,
        scheduler=choice.scheduler,
        processes=processes,
        threads=choice.threads or max(1, cores // processes),
        memory_gb=choice.memory_gb,
        jobs=choice.jobs,
        queue=choice.queue,
        walltime=choice.walltime,
        account=choice.account,
        options=_read_options(choice.options),
        gpus=count_gpus() if is_here and engine != "cpu" and find_spec("jax_plugins") else 0,
    )


def find_shortage(workers: Workers, need: Need) -> InputError | None:
    """Say which image does not fit into the memory of a process, and what to ask for instead.

    Parameters
    ----------
    workers
        The workers.
    need
        What the largest image needs.

    Returns
    -------
    InputError or None
        What does not fit, which is no error yet; ``None`` if all images fit, or if that is unknown.
    """
    if workers.scheduler is not None or workers.gpus:
        return None
    total = JOB_GB if workers.are_jobs else _total_gigabytes()
    room, processes = workers.memory_gb or total, workers.processes
    if need.gigabytes <= room / processes:
        return None
    whole, fitting = ceil(need.gigabytes * processes), int(room / need.gigabytes)
    advice = [f"{{memory_gb:{whole}}}"] if workers.are_jobs or whole <= total else []
    advice += [f"{{processes:{fitting}}}"] if fitting else []
    what = f"give {' or '.join(advice)}" if advice else "use a machine that has more"
    again = "; otherwise such an image is tried again, alone, if its worker dies"
    has = "a job has" if workers.are_jobs else "this machine has"
    if workers.are_local and workers.memory_gb:
        has = "{memory_gb} leaves"
    return InputError(
        f"{{0}} needs about {{1:.1f}} GB, and {has} {{2:.3g}} GB for {{3}} at a time: {what}"
        + (again if processes > 1 else ""),
        need.path,
        need.gigabytes,
        room,
        _count_images(processes),
    )


def _count_images(number: int) -> str:
    return "1 image" if number == 1 else f"{number} images"


def _check_memory(memory_gb: float) -> None:
    total = _total_gigabytes()
    if memory_gb > total:
        raise InputError(
            "{memory_gb} {0:g} is more than the {1:.0f} GB of this machine; expected a number of "
            "GB, or a number with a unit such as 16000MB",
            memory_gb,
            total,
        )


def _free_gigabytes() -> float:
    import psutil

    return min(psutil.virtual_memory().available / 1e9, _total_gigabytes())


def _total_gigabytes() -> float:
    """Memory of this machine in GB; in a container, only what it may use."""
    from distributed.system import MEMORY_LIMIT

    return MEMORY_LIMIT / 1e9


def _read_options(path: Path | None) -> Any:
    """Read the options of a cluster. The workers check that they are an object of JSON."""
    if path is None:
        return {}
    try:
        return parse_json(read_text_file(path))
    except ValueError as error:
        raise InputError("{options} {0} is not JSON: {1}", path, error) from None
