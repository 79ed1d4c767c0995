"""Connect to workers: processes of this machine, jobs of a cluster, or a scheduler elsewhere.

Dask hands out the tasks. A worker runs one task at a time, which uses the worker's threads itself.
When a worker dies, only the tasks that it was running are lost.
"""

import asyncio
import logging
import os
import signal
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

from n4ax.bids import certificates, jobs
from n4ax.bids.environment import change_environment, choose_temporary_folder, choose_variables
from n4ax.bids.staging import make_temporary
from n4ax.bids.workers import Workers, count_gpus, list_visible_gpus
from n4ax.errors import InputError
from n4ax.extras import need_extra
from n4ax.signals import exit_on_signals, ignore_interrupts

if TYPE_CHECKING:
    import distributed
    from distributed import Security, SpecCluster

TRIES = 3
"""A task fails with ``KilledWorker`` after this many workers have died while running it."""

THREADS_ON_A_GPU = 3
"""Tasks at a time in a worker with a GPU: one reads, one computes and one writes."""

SECONDS_TO_ANSWER = 10

_LOOPBACK = "127.0.0.1"

_SCHEDULER_SETTINGS = {
    "distributed.scheduler.allowed-failures": TRIES - 1,
    "distributed.scheduler.worker-saturation": 1.0,
}

_WORKER_SETTINGS = {
    "distributed.admin.tick.interval": "500ms",  # at Dask's 20 ms it slows the work by 4 %
    "distributed.diagnostics.nvml": False,
    "distributed.worker.memory.target": False,  # results are tiny, so there is nothing to spill
    "distributed.worker.memory.spill": False,
    "distributed.worker.memory.pause": False,  # a paused worker would wait forever
    "distributed.worker.memory.terminate": 0.95,
    "distributed.worker.multiprocessing-method": "spawn",
    "distributed.worker.profile.enabled": False,
}

_UNWANTED_MESSAGES = ("Compute Failed", "Task %s marked as failed", "Couldn't gather keys")
"""The caller gets the exceptions anyway, and a result lost with its worker is computed again."""


@contextmanager
def connect(workers: Workers, scratch: Path) -> Iterator["distributed.Client"]:
    """Start the workers, give a client for them, and end them after the block.

    On this machine the workers are running when the block begins. On a cluster the jobs have been
    accepted by then, and tasks wait for the first job to start. Results and exceptions arrive by
    ``distributed.as_completed``, and ``future.result()`` raises the exception of a task. A task
    during which ``TRIES`` workers have died, one after the other, raises
    ``distributed.KilledWorker``. A task that has ended may run again if its worker dies before the
    result has arrived.

    Local workers import the calling program. A script must therefore do its work under
    ``if __name__ == "__main__"``.

    Parameters
    ----------
    workers
        The workers to start or to connect to.
    scratch
        A folder for Dask's temporary files (``dask``) and for the output of jobs (``logs``). It is
        made if it does not exist. For a cluster it must be on a disk that the nodes see.

    Yields
    ------
    distributed.Client
        Dask's default client while the block runs.

    Raises
    ------
    ImportError
        distributed or dask-jobqueue is not installed; the message says how to install it.
    ValueError
        The cluster's programs are not on PATH, the cluster does not accept the job or the options,
        there are fewer GPUs than asked for, or ``scratch`` cannot be used in a job script.
    OSError
        No scheduler answers at the address, or ``scratch`` cannot be made.
    """
    _check_installed(workers)
    with ExitStack() as stack:
        stack.enter_context(certificates.keep_connections_apart())
        if workers.scheduler is not None:
            yield stack.enter_context(_connect_to_scheduler(workers.scheduler))
            return
        stack.enter_context(_quiet())
        scratch = scratch.resolve()
        make_temporary(scratch / "dask")
        variables = choose_variables(workers) | choose_temporary_folder(scratch / "dask")
        stack.enter_context(change_environment(variables))
        stack.enter_context(_change_settings(workers))
        security = stack.enter_context(certificates.write_certificate(scratch / "dask"))
        if workers.cluster == "local":
            cluster = _start_local_cluster(workers, scratch, security)
        else:
            cluster = jobs.submit_jobs(workers, scratch, **_make_job_keywords(workers, security))
        yield stack.enter_context(_make_client(cluster))


def make_job_script(workers: Workers, scratch: Path) -> str:
    """The script that is submitted for each job, apart from the address of the scheduler.

    Parameters
    ----------
    workers
        Workers of a cluster. The cluster's programs need not be on this machine.
    scratch
        As for `connect`.

    Returns
    -------
    str
        A shell script.

    Raises
    ------
    ImportError, ValueError
        As for `connect`.
    """
    if workers.cluster == "local":
        raise InputError("{cluster} is 'local', which has no jobs: choose another cluster")
    _check_installed(workers)
    # dask-jobqueue makes its folders immediately, and this function must leave nothing behind.
    with ExitStack() as stack:
        stack.enter_context(_quiet())
        stack.enter_context(_change_settings(workers))
        jobs.check_scratch(scratch.resolve())
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="n4ax-")))
        (folder / "dask").mkdir()
        security = stack.enter_context(certificates.write_certificate(folder / "dask"))
        cluster = jobs.prepare_cluster(workers, folder, **_make_job_keywords(workers, security))
        stack.callback(cluster.close)
        return cluster.job_script().replace(str(folder), str(scratch.resolve()))


def dask_setup(_worker: object) -> None:
    """Prepare a worker so that it leaves no half-written file when it is told to end.

    Dask calls this function by its name in every worker.
    """
    exit_on_signals()
    certificates.dask_setup(_worker)
    logging.getLogger("distributed.worker").addFilter(_UnwantedMessages())


def _check_installed(workers: Workers) -> None:
    with need_extra("bids", "a study"):
        import cryptography  # noqa: F401
        import distributed  # noqa: F401
    if workers.scheduler is not None or workers.cluster == "local":
        return
    with need_extra("cluster", f"cluster={workers.cluster!r}"):
        import dask_jobqueue  # noqa: F401


@contextmanager
def _connect_to_scheduler(address: str) -> Iterator["distributed.Client"]:
    import dask.config
    from distributed import Client

    if address.startswith("tls:") and not dask.config.get("distributed.comm.tls.ca-file"):
        raise InputError(
            "{scheduler} is {0}, which asks for a certificate: name its files in the settings "
            "distributed.comm.tls of Dask, such as in ~/.config/dask/distributed.yaml",
            address,
        )
    with _quiet():
        try:
            client = Client(address, timeout=SECONDS_TO_ANSWER)
        except (OSError, ValueError) as error:
            raise OSError(
                f"no Dask scheduler answered at {address} within {SECONDS_TO_ANSWER} s; check that "
                "it is running, that this machine can connect to it, and that its certificate is "
                "the one in Dask's settings if it has one"
            ) from error
        with client:
            yield client


@contextmanager
def _make_client(cluster: "SpecCluster") -> Iterator["distributed.Client"]:
    from distributed import Client, Nanny

    try:
        with Client(cluster) as client:
            yield client
    finally:
        nannies = [worker for worker in cluster.workers.values() if isinstance(worker, Nanny)]
        with _quiet(logging.CRITICAL):  # Dask logs an error for a worker that is just restarting
            cluster.sync(_end_workers, nannies)
            cluster.close()


async def _end_workers(nannies: Sequence["distributed.Nanny"]) -> None:
    """End local workers at once, even in the middle of a task, and leave nothing half-written."""
    for nanny in nannies:
        nanny.close_gracefully()  # otherwise it would start its worker again
        if nanny.pid:
            with suppress(ProcessLookupError):
                os.kill(nanny.pid, signal.SIGTERM)
    await asyncio.gather(*(nanny.close(timeout=2) for nanny in nannies), return_exceptions=True)


@contextmanager
def _quiet(least: int = logging.ERROR) -> Iterator[None]:
    """Hide distributed's log messages below a level, and those about tasks that failed.

    The caller has the exceptions of the tasks and reports them.
    """
    loggers = [logging.getLogger(f"distributed{part}") for part in ("", ".client", ".gc")]
    before = [logger.level for logger in loggers]
    scheduler = logging.getLogger("distributed.scheduler")
    unwanted = _UnwantedMessages()
    for logger in loggers:
        logger.setLevel(least)
    scheduler.addFilter(unwanted)
    try:
        yield
    finally:
        scheduler.removeFilter(unwanted)
        for logger, level in zip(loggers, before, strict=True):
            logger.setLevel(level)


class _UnwantedMessages(logging.Filter):
    def filter(self, record: logging.LogRecord) -> bool:
        return not str(record.msg).startswith(_UNWANTED_MESSAGES)


@contextmanager
def _change_settings(workers: Workers) -> Iterator[None]:
    import dask.config
    import distributed  # noqa: F401  # its defaults, loaded later, would override these settings

    settings: dict[str, Any] = {**_SCHEDULER_SETTINGS, **_WORKER_SETTINGS}
    if workers.cluster == "local":  # a process that was suspended for a while is not lost
        settings["distributed.scheduler.worker-ttl"] = None
    else:
        settings |= jobs.choose_settings(workers.cluster)
    with dask.config.set(settings):
        yield


def _make_scheduler_class() -> type:
    """Dask's scheduler, but a worker gets a task only when it is free to run it.

    Dask counts the death of a worker against all tasks that the worker was given, including those
    that it had not started. When there are only a few tasks, Dask's own scheduler gives all of
    them to the workers at once, where they wait.
    """
    from distributed import Scheduler

    class PatientScheduler(Scheduler):
        def is_rootish(self, ts: Any) -> bool:
            bound = ts.resource_restrictions or ts.worker_restrictions or ts.host_restrictions
            return (not bound and not ts.dependencies) or super().is_rootish(ts)

    return PatientScheduler


def _make_job_keywords(workers: Workers, security: "Security") -> dict[str, Any]:
    """Keywords that set up the scheduler and the workers of jobs like those of this machine."""
    exports = choose_variables(workers)
    for name, value in _WORKER_SETTINGS.items():
        spelled = name.upper().replace(".", "__").replace("-", "_")
        exports[f"DASK_{spelled}"] = str(value)
    return {
        "scheduler": _make_scheduler_class(),
        "security": security,
        "exports": exports,
        "preload": __name__,
        "preload_nanny": certificates.__name__,
    }


def _start_local_cluster(workers: Workers, scratch: Path, security: "Security") -> "SpecCluster":
    from distributed import Nanny, SpecCluster

    reached = {"host": _LOOPBACK, "protocol": "tls://", "security": security}
    shared = {
        **reached,
        "nthreads": THREADS_ON_A_GPU if workers.gpus else 1,
        "memory_limit": _share_memory(workers),
        "local_directory": str(scratch / "dask"),
        "preload": [__name__],
    }
    scheduler = {
        **reached,
        "port": 0,
        "dashboard": False,
        # By default it takes port 8787, and warns if that port is in use.
        "dashboard_address": f"{_LOOPBACK}:0",
    }
    nannies = {
        number: {"cls": Nanny, "options": {**shared, "env": variables}}
        for number, variables in enumerate(_list_environments(workers))
    }
    try:
        with ignore_interrupts():  # Ctrl-C would reach workers that cannot handle it yet
            return SpecCluster(
                scheduler={"cls": _make_scheduler_class(), "options": scheduler},
                workers=nannies,
                security=security,
            )
    except RuntimeError as error:
        reason = str(error).splitlines()[-1:] or ["no reason was given"]
        raise OSError(f"the workers could not be started: {reason[0]}") from error


def _share_memory(workers: Workers) -> int | None:
    if workers.memory_gb is None:
        return None
    return int(workers.memory_gb * 1e9 / (workers.gpus or workers.processes))


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
