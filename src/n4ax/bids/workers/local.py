"""Workers that are processes of this machine."""

import logging
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from n4ax.bids.workers.description import Workers, count_gpus, list_visible_gpus
from n4ax.bids.workers.restarting import Restarting, explain
from n4ax.bids.workers.scheduling import make_scheduler_class
from n4ax.errors import InputError
from n4ax.signals import ignore_interrupts

if TYPE_CHECKING:
    from distributed import Security, SpecCluster

THREADS_ON_A_GPU = 3
"""Tasks at a time in a worker with a GPU: one reads, one computes and one writes."""

LOOPBACK = "127.0.0.1"


def start_processes(
    workers: Workers, scratch: Path, security: "Security", preload: str
) -> tuple["SpecCluster", Callable[[], None]]:
    """Start the workers of this machine; a worker that does not start is tried a second time.

    Workers that Dask gives up later are started again by :class:`Restarting`.

    Parameters
    ----------
    workers
        The workers.
    scratch
        Folder for temporary files.
    security
        The certificate with which the scheduler and the workers recognise each other.
    preload
        Name of the module that prepares a worker.

    Returns
    -------
    SpecCluster
        The workers, which are running.
    callable
        A function that puts a single worker in their place, which has their memory.

    Raises
    ------
    OSError
        A worker does not start.
    """
    reached = {"host": LOOPBACK, "protocol": "tls://", "security": security}
    shared = reached | {
        "local_directory": str(scratch / "dask"),
        "preload": [preload],
        "silence_logs": logging.CRITICAL,  # what matters comes as an exception
    }
    with ignore_interrupts():  # Ctrl-C would reach workers that cannot handle it yet
        try:
            cluster = _start_cluster(workers, reached, shared)
        except RuntimeError:  # such as that one of them was killed for want of memory
            try:
                cluster = _start_cluster(workers, reached, shared)
            except RuntimeError as error:
                raise OSError(f"the workers could not be started: {explain(error)}") from error
        cluster.restarting = Restarting(cluster)
        cluster.sync(cluster.restarting.start)

    def leave_one() -> None:
        with ignore_interrupts():
            cluster.worker_spec = {"alone": _specify_one(workers, shared)}
            cluster.sync(cluster._correct_state)

    return cluster, leave_one


def _start_cluster(workers: Workers, reached: dict[str, Any], shared: Mapping[str, Any]) -> Any:
    from distributed import SpecCluster

    scheduler = {
        **reached,
        "port": 0,
        "dashboard": False,
        # By default it takes port 8787, and warns if that port is in use.
        "dashboard_address": f"{LOOPBACK}:0",
    }
    return SpecCluster(
        scheduler={"cls": make_scheduler_class(), "options": scheduler},
        workers=_specify(workers, shared),
        security=reached["security"],
    )


def _specify(workers: Workers, shared: Mapping[str, Any]) -> dict[int, dict[str, Any]]:
    """What Dask has to know to start the workers."""
    from distributed import Nanny

    own = {
        "nthreads": THREADS_ON_A_GPU if workers.gpus else 1,
        "memory_limit": _share_memory(workers, workers.gpus or workers.processes),
    }
    return {
        number: {"cls": Nanny, "options": {**shared, **own, "env": variables}}
        for number, variables in enumerate(_list_environments(workers))
    }


def _specify_one(workers: Workers, shared: Mapping[str, Any]) -> dict[str, Any]:
    """What Dask has to know to start the worker that is alone."""
    from distributed import Nanny

    own = {"nthreads": 1, "memory_limit": _share_memory(workers, 1)}
    return {"cls": Nanny, "options": {**shared, **own, "env": _list_environments(workers)[0]}}


def _share_memory(workers: Workers, processes: int) -> int | None:
    return None if workers.memory_gb is None else int(workers.memory_gb * 1e9 / processes)


def _list_environments(workers: Workers) -> list[dict[str, str]]:
    """The variables that differ between local workers, for each worker."""
    if not workers.gpus:
        return [{} for _ in range(workers.processes)]
    seen = count_gpus()
    if workers.gpus > seen:
        raise InputError(
            "{gpus} is {0}, but this machine shows {1} (in CUDA_VISIBLE_DEVICES or, if that is not "
            "set, in nvidia-smi -L): ask for fewer, or for 0",
            workers.gpus,
            seen,
        )
    names = list_visible_gpus() or [str(number) for number in range(seen)]
    return [
        {"CUDA_VISIBLE_DEVICES": name, "XLA_PYTHON_CLIENT_PREALLOCATE": "false"}
        for name in names[: workers.gpus]
    ]
