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

from n4ax.bids.staging import make_temporary
from n4ax.bids.workers import certificates, jobs
from n4ax.bids.workers.description import Workers
from n4ax.bids.workers.environment import (
    change_environment,
    choose_temporary_folder,
    choose_variables,
)
from n4ax.bids.workers.leaving import prepare_to_leave
from n4ax.bids.workers.local import start_processes
from n4ax.bids.workers.logs import quieten, write_briefly
from n4ax.bids.workers.scheduling import make_scheduler_class
from n4ax.errors import InputError
from n4ax.extras import need_extra
from n4ax.paths import resolve_links
from n4ax.signals import exit_on_signals

if TYPE_CHECKING:
    import distributed
    from distributed import Security, SpecCluster

SECONDS_TO_ANSWER = 10

_SCHEDULER_SETTINGS = {
    "distributed.scheduler.allowed-failures": 0,  # who tries a task again gives it more room
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


@contextmanager
def connect(workers: Workers, scratch: Path) -> Iterator["distributed.Client"]:
    """Start the workers, give a client for them, and end them after the block.

    On this machine the workers are running when the block begins. On a cluster the jobs have been
    accepted by then, and tasks wait for the first job to start. Results and exceptions arrive by
    ``distributed.as_completed``, and ``future.result()`` raises the exception of a task. A task
    whose worker has died raises ``distributed.KilledWorker``. A task that has ended may run again
    if its worker dies before the result has arrived. A task whose job was ended, and has said so,
    is run again too. Jobs that have ended are submitted again while there are tasks.

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
        stack.enter_context(quieten())
        scratch = resolve_links(scratch)
        make_temporary(scratch / "dask")
        variables = choose_variables(workers) | choose_temporary_folder(scratch / "dask")
        stack.enter_context(change_environment(variables))
        stack.enter_context(_change_settings(workers))
        security = stack.enter_context(certificates.write_certificate(scratch / "dask"))
        cluster: Any
        if workers.cluster == "local":
            cluster, alone = start_processes(workers, scratch, security, __name__)
        else:
            keywords = _make_job_keywords(workers, security)
            cluster, alone = jobs.submit_jobs(workers, scratch, **keywords)
        cluster.leave_one = alone
        yield stack.enter_context(_make_client(cluster))


def leave_one_worker(client: "distributed.Client") -> None:
    """Put a single worker in the place of all others, with all the memory that they had.

    No task may be running that is not to be run again. On this machine one process has all of the
    memory, on a cluster one process has a job to itself, which is queued anew. The workers of a
    scheduler that was running already stay as they are, since n4ax did not start them.
    """
    leave_one = getattr(client.cluster, "leave_one", None)
    if leave_one is not None:
        leave_one()


def find_problem(client: "distributed.Client") -> str:
    """Why the workers have been given up; empty if they have not."""
    return getattr(client.cluster, "problem", "")


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
        stack.enter_context(quieten())
        stack.enter_context(_change_settings(workers))
        jobs.check_scratch(resolve_links(scratch))
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="n4ax-")))
        (folder / "dask").mkdir()
        security = stack.enter_context(certificates.write_certificate(folder / "dask"))
        cluster = jobs.prepare_cluster(workers, folder, **_make_job_keywords(workers, security))
        stack.callback(cluster.close)
        return cluster.job_script().replace(str(folder), str(resolve_links(scratch)))


def dask_setup(worker: "distributed.Worker") -> None:
    """Prepare a worker so that it leaves no half-written file when it is told to end.

    Dask calls this function by its name in every worker.
    """
    exit_on_signals()
    prepare_to_leave(worker)
    certificates.dask_setup(worker)
    write_briefly()


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
    with quieten():
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
        with quieten(logging.CRITICAL):  # Dask logs an error for a worker that is just restarting
            if (restarting := getattr(cluster, "restarting", None)) is not None:
                cluster.sync(restarting.stop)
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
def _change_settings(workers: Workers) -> Iterator[None]:
    import dask.config
    import distributed  # noqa: F401  # its defaults, loaded later, would override these settings

    settings: dict[str, Any] = {**_SCHEDULER_SETTINGS, **_WORKER_SETTINGS}
    if workers.cluster == "local":  # a process that was suspended for a while is not lost
        settings["distributed.scheduler.worker-ttl"] = None
        settings["distributed.deploy.lost-worker-timeout"] = "1 hour"  # it is being started again
    else:
        settings |= jobs.choose_settings(workers.cluster)
    with dask.config.set(settings):
        yield


def _make_job_keywords(workers: Workers, security: "Security") -> dict[str, Any]:
    """Keywords that set up the scheduler and the workers of jobs like those of this machine."""
    exports = choose_variables(workers)
    for name, value in _WORKER_SETTINGS.items():
        spelled = name.upper().replace(".", "__").replace("-", "_")
        exports[f"DASK_{spelled}"] = str(value)
    return {
        "scheduler": make_scheduler_class(),
        "security": security,
        "exports": exports,
        "preload": __name__,
        "preload_nanny": certificates.__name__,
    }
