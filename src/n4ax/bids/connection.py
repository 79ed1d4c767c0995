"""Where tasks run: processes of this machine, jobs in a cluster's queue, or a scheduler elsewhere.

Dask hands the tasks out. A worker has one task at a time, which uses its threads itself, and
whatever dies takes nothing but the tasks that it was running along.
"""

import asyncio
import logging
import os
import signal
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

from n4ax.bids import jobs
from n4ax.bids.workers import Workers, listed_gpus, visible_gpus
from n4ax.signals import exit_on_signals, ignore_interrupts

if TYPE_CHECKING:
    import distributed
    from distributed import SpecCluster

TRIES = 3
"""A task ends as ``KilledWorker`` when so many workers have died of it."""

THREADS_ON_A_GPU = 3
"""Tasks at once in a worker with a GPU: one reads, one computes, one writes."""

SECONDS_TO_ANSWER = 10

_LOOPBACK = "127.0.0.1"

_COUNTED = (
    "OMP_NUM_THREADS",
    "OPENBLAS_NUM_THREADS",
    "MKL_NUM_THREADS",
    "NUMEXPR_NUM_THREADS",
    "VECLIB_MAXIMUM_THREADS",
)

_OF_THE_SCHEDULER = {
    "distributed.scheduler.allowed-failures": TRIES - 1,
    "distributed.scheduler.worker-saturation": 1.0,
}

_OF_THE_WORKERS = {
    "distributed.diagnostics.nvml": False,
    "distributed.worker.memory.target": False,  # results are tiny: nothing is worth spilling
    "distributed.worker.memory.spill": False,
    "distributed.worker.memory.pause": False,  # a paused worker would wait for ever
    "distributed.worker.memory.terminate": 0.95,
    "distributed.worker.multiprocessing-method": "spawn",
    "distributed.worker.profile.enabled": False,
}

_NO_NEWS = ("Compute Failed", "Task %s marked as failed", "Couldn't gather keys")
"""What the caller hears anyway, or need not: a result lost with its worker is computed again."""

_SET_BY_DASK = ("MALLOC_TRIM_THRESHOLD_", "PYTHONHASHSEED", "__DASK_PARENT_PID", "DASK_PARENT")
"""Variables that Dask sets in this process, in one version or another."""


@contextmanager
def connected(workers: Workers, scratch: Path) -> Iterator["distributed.Client"]:
    """A client of the workers, which are started now and ended with the block.

    On this machine the workers are there when the block begins; on a cluster the jobs have been
    accepted, and tasks wait for the first that starts. Results and exceptions come by
    ``distributed.as_completed``. An exception of a task is raised by ``future.result()``; a task
    of which ``TRIES`` workers died, one after the other, raises ``distributed.KilledWorker``. A
    task may run again after it has ended, when its worker dies before its result is here.

    The calling program is imported by local workers: if it is a script, it keeps what it does
    under ``if __name__ == "__main__"``.

    Parameters
    ----------
    workers
        Which workers.
    scratch
        A folder for what Dask keeps while it runs (``dask``) and for the output of jobs
        (``logs``); made if it is not there. For a cluster, on a disk that its nodes see.

    Yields
    ------
    distributed.Client
        Dask's default client as long as the block lasts.

    Raises
    ------
    ImportError
        distributed or dask-jobqueue is not installed; the message says how to.
    ValueError
        The cluster's programs are not on PATH, the cluster does not take the job or the options,
        there are fewer GPUs than asked for, or ``scratch`` cannot stand in a job script.
    OSError
        No scheduler answers at the address, or ``scratch`` cannot be made.
    """
    _check_installed(workers)
    with ExitStack() as stack:
        if workers.scheduler is not None:
            yield stack.enter_context(_of_a_scheduler(workers.scheduler))
            return
        stack.enter_context(_quiet())
        stack.enter_context(_environment(_variables(workers)))
        stack.enter_context(_settings(workers))
        (scratch / "dask").mkdir(parents=True, exist_ok=True)
        yield stack.enter_context(_client_of(_cluster(workers, scratch.resolve())))


def job_script(workers: Workers, scratch: Path) -> str:
    """What is submitted for each job, but for the address of the scheduler.

    Parameters
    ----------
    workers
        Workers of a cluster; its programs need not be on this machine.
    scratch
        As for `connected`.

    Returns
    -------
    str
        A shell script.

    Raises
    ------
    ImportError, ValueError
        As `connected`.
    """
    if workers.cluster == "local":
        raise ValueError("cluster is 'local', which has no jobs: choose another cluster")
    _check_installed(workers)
    # dask-jobqueue makes its folders at once, and this is to leave nothing behind.
    with _quiet(), _settings(workers), tempfile.TemporaryDirectory(prefix="n4ax-") as folder:
        jobs.check_folder(scratch.resolve())
        cluster = jobs.prepared(workers, Path(folder), **_of_jobs(workers))
        try:
            return cluster.job_script().replace(folder, str(scratch.resolve()))
        finally:
            cluster.close()


def dask_setup(_worker: object) -> None:
    """Prepare a worker: told to end, it leaves no half-written file. Dask calls it."""
    exit_on_signals()
    logging.getLogger("distributed.worker").addFilter(_News())


def _check_installed(workers: Workers) -> None:
    try:
        import distributed  # noqa: F401
    except ImportError as error:
        raise ImportError(f"{error.name} is missing: pip install 'n4ax[bids]'") from error
    if workers.scheduler is not None or workers.cluster == "local":
        return
    try:
        import dask_jobqueue  # noqa: F401
    except ImportError as error:
        raise ImportError(
            f"cluster {workers.cluster!r}: {error.name} is missing: pip install 'n4ax[cluster]'"
        ) from error


@contextmanager
def _of_a_scheduler(address: str) -> Iterator["distributed.Client"]:
    from distributed import Client

    with _quiet():
        try:
            client = Client(address, timeout=SECONDS_TO_ANSWER)
        except (OSError, ValueError) as error:
            raise OSError(
                f"no Dask scheduler answers at {address} within {SECONDS_TO_ANSWER} s; check that "
                "it runs and that this machine may connect to it"
            ) from error
        with client:
            yield client


@contextmanager
def _client_of(cluster: "SpecCluster") -> Iterator["distributed.Client"]:
    from distributed import Client, Nanny

    try:
        with Client(cluster) as client:
            yield client
    finally:
        with _quiet(logging.CRITICAL):  # a worker that is being started again is an error here
            cluster.sync(_end, [one for one in cluster.workers.values() if isinstance(one, Nanny)])
            cluster.close()


async def _end(nannies: Sequence["distributed.Nanny"]) -> None:
    """End local workers at once, in the middle of a task too, and with nothing half-written."""
    for nanny in nannies:
        nanny.close_gracefully()  # or it would start its worker again
        if nanny.pid:
            with suppress(ProcessLookupError):
                os.kill(nanny.pid, signal.SIGTERM)
    await asyncio.gather(*(nanny.close(timeout=2) for nanny in nannies), return_exceptions=True)


@contextmanager
def _quiet(least: int = logging.ERROR) -> Iterator[None]:
    """Nothing of distributed in the log below that level, and not that a task has failed.

    That is the caller's to say, who has the task's exception.
    """
    loggers = [logging.getLogger(f"distributed{part}") for part in ("", ".client", ".gc")]
    before = [logger.level for logger in loggers]
    scheduler, news = logging.getLogger("distributed.scheduler"), _News()
    for logger in loggers:
        logger.setLevel(least)
    scheduler.addFilter(news)
    try:
        yield
    finally:
        scheduler.removeFilter(news)
        for logger, level in zip(loggers, before, strict=True):
            logger.setLevel(level)


class _News(logging.Filter):
    def filter(self, record: logging.LogRecord) -> bool:
        return not str(record.msg).startswith(_NO_NEWS)


def _variables(workers: Workers) -> dict[str, str]:
    """Environment of the workers, as it must be before they start: libraries read it early."""
    variables: dict[str, str] = dict.fromkeys(_COUNTED, str(workers.threads))
    if workers.cluster == "local":  # what jobs say goes to their log files
        variables["DASK_LOGGING__DISTRIBUTED"] = "error"
    return variables


@contextmanager
def _environment(variables: Mapping[str, str]) -> Iterator[None]:
    """These variables in this process, which hands them down, and all as before at the end."""
    tracker = "ignore:resource_tracker:UserWarning"  # printed when this process is killed
    warnings = ",".join(filter(None, (os.environ.get("PYTHONWARNINGS"), tracker)))
    variables = {**variables, "PYTHONWARNINGS": warnings}
    before = {name: os.environ.get(name) for name in (*variables, *_SET_BY_DASK)}
    os.environ.update(variables)
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                os.environ.pop(name, None)
            else:
                os.environ[name] = value


@contextmanager
def _settings(workers: Workers) -> Iterator[None]:
    import dask.config
    import distributed  # noqa: F401  # or its defaults would come over what is set here

    settings: dict[str, Any] = {**_OF_THE_SCHEDULER, **_OF_THE_WORKERS}
    if workers.cluster == "local":  # a process that is stopped for a while is not a lost node
        settings["distributed.scheduler.worker-ttl"] = None
    else:
        settings |= jobs.settings(workers.cluster)
    with dask.config.set(settings):
        yield


def _scheduler_class() -> type:
    """Dask's scheduler, but a worker is given a task when it is free for it, and not before.

    Dask counts a worker's death against all tasks that it has been given, also those that only
    wait: in Dask's own scheduler, few tasks wait at the workers.
    """
    from distributed import Scheduler

    class PatientScheduler(Scheduler):
        def is_rootish(self, ts: Any) -> bool:
            bound = ts.resource_restrictions or ts.worker_restrictions or ts.host_restrictions
            return (not bound and not ts.dependencies) or super().is_rootish(ts)

    return PatientScheduler


def _cluster(workers: Workers, scratch: Path) -> "SpecCluster":
    if workers.cluster == "local":
        try:
            return _local_cluster(workers, scratch)
        except RuntimeError as error:
            reason = str(error).splitlines()[-1:] or ["no reason given"]
            raise OSError(f"the workers could not be started: {reason[0]}") from error
    return jobs.submitted(workers, scratch, **_of_jobs(workers))


def _of_jobs(workers: Workers) -> dict[str, Any]:
    """By what the scheduler and the workers of jobs are set up as those of this machine."""
    exports = _variables(workers)
    for name, value in _OF_THE_WORKERS.items():
        spelled = name.upper().replace(".", "__").replace("-", "_")
        exports[f"DASK_{spelled}"] = str(value)
    return {"scheduler": _scheduler_class(), "exports": exports, "preload": __name__}


def _local_cluster(workers: Workers, scratch: Path) -> "SpecCluster":
    from distributed import Nanny, SpecCluster

    shared = {
        "host": _LOOPBACK,
        "nthreads": THREADS_ON_A_GPU if workers.gpus else 1,
        "memory_limit": _memory_of_each(workers),
        "local_directory": str(scratch / "dask"),
        "preload": [__name__],
    }
    with ignore_interrupts():  # or Ctrl-C comes to workers that cannot take it yet
        return SpecCluster(
            scheduler={
                "cls": _scheduler_class(),
                "options": {
                    "host": _LOOPBACK,
                    "port": 0,
                    "dashboard": False,
                    # Or it takes 8787, and says so if it cannot.
                    "dashboard_address": f"{_LOOPBACK}:0",
                },
            },
            workers={
                number: {"cls": Nanny, "options": {**shared, "env": variables}}
                for number, variables in enumerate(_environments(workers))
            },
        )


def _memory_of_each(workers: Workers) -> int | None:
    if workers.memory_gb is None:
        return None
    return int(workers.memory_gb * 1e9 / (workers.gpus or workers.processes))


def _environments(workers: Workers) -> list[dict[str, str]]:
    """What each local worker has in its environment that the others have not."""
    if not workers.gpus:
        return [{} for _ in range(workers.processes)]
    seen = visible_gpus()
    if workers.gpus > seen:
        raise ValueError(
            f"gpus is {workers.gpus}; this machine shows {seen} (by CUDA_VISIBLE_DEVICES, or "
            "nvidia-smi -L where that is not set): ask for fewer, or for 0"
        )
    names = listed_gpus() or [str(number) for number in range(seen)]
    return [
        {"CUDA_VISIBLE_DEVICES": name, "XLA_PYTHON_CLIENT_PREALLOCATE": "false"}
        for name in names[: workers.gpus]
    ]
