"""Workers that are jobs in a cluster's queue, submitted by dask-jobqueue."""

import re
import shlex
import shutil
import sys
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from n4ax.bids.workers import leaving
from n4ax.bids.workers.description import Workers
from n4ax.bids.workers.queues import list_queued
from n4ax.bids.workers.renewal import Renewal
from n4ax.errors import InputError

if TYPE_CHECKING:
    from distributed import Security, SpecCluster

JOB_GB = 8.0
"""Memory of a job in GB if none is asked for."""

_SUBMITS = {"slurm": "sbatch", "pbs": "qsub", "lsf": "bsub", "sge": "qsub"}
_ACCOUNT = {"slurm": "account", "pbs": "account", "lsf": "project", "sge": "project"}
_HIDDEN = "127.0.0.1:0"
"""Where Dask's pages are shown: it serves some even without a dashboard, and without TLS."""

_DEFAULT_WALLTIMES = ("00:30:00", "00:30")  # of dask-jobqueue


def choose_settings(cluster: str) -> dict[str, Any]:
    """Settings of Dask for a kind of cluster: jobs get no walltime that nobody asked for.

    A walltime in the user's own ``jobqueue.yaml`` is kept.
    """
    import dask.config
    import dask_jobqueue  # noqa: F401  # its defaults, loaded later, would override these settings

    name = f"jobqueue.{cluster}.walltime"
    return {name: None} if dask.config.get(name) in _DEFAULT_WALLTIMES else {}


def submit_jobs(
    workers: Workers, scratch: Path, **keywords: Any
) -> tuple["SpecCluster", Callable[[], None]]:
    """Make a cluster as `prepare_cluster` does, and submit its jobs.

    Jobs that end are submitted again while there is work. If several in a row end without having
    finished a task, all tasks are cancelled, and ``problem`` of the cluster says why.

    Returns
    -------
    SpecCluster
        The jobs.
    callable
        A function that puts a job of a single worker in their place, which has all of the memory of
        a job. If the jobs are of one worker each, it does nothing.

    Raises
    ------
    InputError
        The cluster's program is not on PATH.
    ValueError
        The cluster does not accept a job; then no job stays in the queue.
    """
    program = _SUBMITS[workers.cluster]
    if shutil.which(program) is None:
        raise InputError(
            "{cluster:{0}} needs {1} on PATH; run this on a machine where jobs are submitted, such "
            "as a login node, or leave out {cluster}",
            workers.cluster,
            program,
        )
    cluster = prepare_cluster(workers, scratch, **keywords)
    try:
        for _ in range(workers.jobs):
            cluster.worker_spec.update(cluster.new_worker_spec())
        cluster.sync(cluster._correct_state)  # `scale` loses what the submitting program prints
        explain = partial(_explain_refusal, program)
        listing = partial(list_queued, workers.cluster)
        renewal = Renewal(cluster, scratch / "logs", explain, listing)
        cluster.renewal = renewal
        cluster.sync(renewal.start)
    except BaseException as error:
        cluster.close()
        if not isinstance(error, Exception):
            raise
        raise ValueError(_explain_refusal(program, error)) from error

    def leave_one() -> None:
        if "group" in cluster.new_spec:
            cluster.sync(renewal.leave_one)

    return cluster, leave_one


def check_scratch(scratch: Path) -> None:
    """Refuse a folder whose name cannot be written in a job script.

    Raises
    ------
    InputError
        The name has characters that a shell or a queueing system would interpret.
    """
    if not re.fullmatch(r"[\w./+,=@:-]+", str(scratch)):
        raise InputError(
            "{scratch} {0} cannot be used in a job script: choose a folder on a disk that the "
            "cluster's nodes see, with a name of letters, digits and . _ + , = @ : - only",
            scratch,
        )


def prepare_cluster(
    workers: Workers,
    scratch: Path,
    scheduler: type,
    security: "Security",
    exports: Mapping[str, str],
    preload: str,
    preload_nanny: str,
) -> Any:
    """Make dask-jobqueue's cluster without submitting a job; its programs need not be here.

    Parameters
    ----------
    workers
        Workers that are jobs of a cluster.
    scratch
        Folder for temporary files and the output of jobs.
    scheduler
        Class of the scheduler.
    security
        The certificate with which the scheduler and the jobs recognise each other, in a file.
    exports
        Variables for the environment of the jobs.
    preload
        Name of the module that prepares a worker.
    preload_nanny
        Name of the module that prepares the process that starts a worker.

    Raises
    ------
    InputError
        ``scratch`` cannot be used in a script, or the cluster has no such options.
    """
    import dask_jobqueue

    check_scratch(scratch)
    kind = getattr(dask_jobqueue, f"{workers.cluster.upper()}Cluster")
    lines = [f"export {name}={shlex.quote(value)}" for name, value in exports.items()]
    lines = [*_make_times(workers), *lines]
    try:
        return _adapt_class(kind)(
            scheduler_cls=scheduler,
            security=security,
            protocol="tls://",
            **_make_keywords(workers, scratch, lines, preload, preload_nanny),
        )
    except (TypeError, ValueError) as error:
        raise InputError(
            "{options} is {0!r}, which {1} of dask-jobqueue does not accept: {2}",
            dict(workers.options),
            kind.__name__,
            str(error).splitlines()[0].partition(" Very likely")[0],
        ) from error


def _explain_refusal(program: str, error: Exception) -> str:
    """What the submitting program printed, in one line; dask-jobqueue puts much before it."""
    said = str(error).rpartition("stderr:\n")[2]
    reason = "; ".join(line.strip() for line in said.splitlines() if line.strip()) or repr(error)
    return f"{program} did not accept the job: {reason}"


def _adapt_class(kind: Any) -> Any:
    """dask-jobqueue's class, whose jobs are renewed.

    A job or a cluster that has ended or failed says so to Dask.
    """
    from distributed import SpecCluster, Status

    class Job(kind.job_cls):
        async def close(self) -> None:
            await super().close()
            self.status = Status.closed

    class Cluster(kind):
        job_cls = Job
        renewal: Renewal | None = None
        problem = ""

        def __init__(self, **keywords: Any) -> None:
            try:
                super().__init__(**keywords)
            except BaseException:
                self.status = Status.closed
                raise

        def _update_worker_status(self, op: str, msg: Any) -> None:
            # Dask would cancel a job without connected workers, such as one that was requeued.
            super(SpecCluster, self)._update_worker_status(op, msg)  # pyright: ignore

        async def _close(self) -> None:
            if self.renewal is not None:
                await self.renewal.stop()
            await super()._close()

    return Cluster


def _make_keywords(
    workers: Workers, scratch: Path, lines: list[str], preload: str, preload_nanny: str
) -> dict[str, Any]:
    options = dict(workers.options)
    given: dict[str, Any] = {
        "queue": workers.queue,
        "walltime": _format_walltime(workers),
        _ACCOUNT[workers.cluster]: workers.account,
    }
    # dask-jobqueue also writes --nthreads (cores per process). The last one counts.
    arguments = ["--nthreads", "1", "--preload", preload, "--preload-nanny", preload_nanny]
    arguments += ["--no-dashboard", "--dashboard-address", _HIDDEN]
    return {
        "cores": workers.processes * workers.threads,
        "processes": workers.processes,
        "memory": f"{workers.memory_gb or JOB_GB:g}GB",
        "local_directory": str(scratch / "dask"),
        "log_directory": str(scratch / "logs"),
        "python": shlex.quote(sys.executable),
        "name": "n4ax",
        "job_name": "n4ax",
        "nanny": True,
        "death_timeout": 60,  # a job that starts after its scheduler has gone ends by itself
        **{name: value for name, value in given.items() if value is not None},
        **options,
        "scheduler_options": _choose_place(workers) | options.get("scheduler_options", {}),
        "worker_extra_args": [*arguments, *options.get("worker_extra_args", [])],
        "job_script_prologue": [*lines, *options.get("job_script_prologue", [])],
    }


def _make_times(workers: Workers) -> list[str]:
    """Lines of a script that tell the workers how long the job has been running, and may run."""
    lines = [f"export {leaving.STARTED}=$(date +%s)"]
    walltime = str(workers.options.get("walltime", workers.walltime))
    known = re.fullmatch(r"(?:(\d+)-)?(\d+):(\d\d):(\d\d)", walltime)
    if known:
        days, hours, minutes, seconds = (int(part or 0) for part in known.groups())
        limit = ((days * 24 + hours) * 60 + minutes) * 60 + seconds
        lines.append(f"export {leaving.SECONDS}={leaving.choose_seconds(limit)}")
    return lines


def _choose_place(workers: Workers) -> dict[str, Any]:
    """Where the scheduler listens: at the address that the jobs are told, and at no other."""
    import dask.config
    from distributed.utils import get_ip

    options = workers.options
    bound = {"host", "interface"} & {*options, *options.get("scheduler_options", {})}
    place = {"dashboard": False, "dashboard_address": _HIDDEN}
    if bound or dask.config.get(f"jobqueue.{workers.cluster}.interface"):
        return place
    return {**place, "host": get_ip()}


def _format_walltime(workers: Workers) -> str | None:
    """The walltime in the cluster's format. LSF counts whole minutes, so seconds are rounded up."""
    if workers.walltime is None or workers.cluster != "lsf":
        return workers.walltime
    hours, minutes, seconds = map(int, workers.walltime.split(":"))
    whole = hours * 60 + minutes + (seconds > 0)
    return f"{whole // 60:02d}:{whole % 60:02d}"
