"""Jobs in a cluster's queue that are workers, by dask-jobqueue."""

import re
import shlex
import shutil
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from n4ax.bids.workers import Workers

if TYPE_CHECKING:
    from distributed import SpecCluster

JOB_GB = 8.0
"""Memory of a job of which nothing else is said."""

_SUBMITS = {"slurm": "sbatch", "pbs": "qsub", "lsf": "bsub", "sge": "qsub"}
_ACCOUNT = {"slurm": "account", "pbs": "account", "lsf": "project", "sge": "project"}
_NOT_ASKED_FOR = ("00:30:00", "00:30")  # dask-jobqueue's default walltime


def settings(cluster: str) -> dict[str, Any]:
    """Settings of Dask for that kind of cluster: no walltime that nobody has asked for.

    What stands in a jobqueue.yaml of the user's holds.
    """
    import dask.config
    import dask_jobqueue  # noqa: F401  # or its defaults would come over what is set here

    name = f"jobqueue.{cluster}.walltime"
    return {name: None} if dask.config.get(name) in _NOT_ASKED_FOR else {}


def submitted(workers: Workers, scratch: Path, **keywords: Any) -> "SpecCluster":
    """The cluster as `prepared` makes it, with its jobs in the queue.

    Raises
    ------
    ValueError
        The cluster's program is not on PATH, or does not take a job; then none stays queued.
    """
    program = _SUBMITS[workers.cluster]
    if shutil.which(program) is None:
        raise ValueError(
            f"--cluster {workers.cluster} needs {program} on PATH; run this where jobs are "
            "submitted, such as a login node, or without --cluster"
        )
    cluster = prepared(workers, scratch, **keywords)
    try:
        for _ in range(workers.jobs):
            cluster.worker_spec.update(cluster.new_worker_spec())
        cluster.sync(cluster._correct_state)  # `scale` loses what the submitting program says
    except BaseException as error:
        cluster.close()
        if not isinstance(error, Exception):
            raise
        raise ValueError(f"{program} took no job: {_reason(error)}") from error
    return cluster


def check_folder(scratch: Path) -> None:
    """Refuse a folder whose name cannot stand in a job script.

    Raises
    ------
    ValueError
        It is one.
    """
    if not re.fullmatch(r"[\w./+,=@:-]+", str(scratch)):
        raise ValueError(
            f"{scratch} cannot stand in a job script: choose a working folder of letters, digits "
            "and . _ + , = @ : - alone, on a disk that the cluster's nodes see"
        )


def prepared(
    workers: Workers, scratch: Path, scheduler: type, exports: Mapping[str, str], preload: str
) -> Any:
    """dask-jobqueue's cluster with no job yet, for which its programs need not be here.

    Parameters
    ----------
    workers
        Workers of a cluster.
    scratch
        Where jobs have their files and their output.
    scheduler
        Class of the scheduler.
    exports
        Variables of the jobs' environment.
    preload
        Name of the module that prepares a worker.

    Raises
    ------
    ValueError
        ``scratch`` cannot stand in a script, or the options are not the cluster's.
    """
    import dask_jobqueue

    check_folder(scratch)
    kind = getattr(dask_jobqueue, f"{workers.cluster.upper()}Cluster")
    lines = [f"export {name}={shlex.quote(value)}" for name, value in exports.items()]
    try:
        return _closing(kind)(
            scheduler_cls=scheduler, **_keywords(workers, scratch, lines, preload)
        )
    except (TypeError, ValueError) as error:
        raise ValueError(
            f"options {dict(workers.options)!r} are not {kind.__name__}'s of dask-jobqueue: "
            f"{str(error).splitlines()[0].partition(' Very likely')[0]}"
        ) from error


def _reason(error: Exception) -> str:
    """What the program printed, in one line: dask-jobqueue has it after much else."""
    said = str(error).rpartition("stderr:\n")[2]
    return "; ".join(line.strip() for line in said.splitlines() if line.strip()) or repr(error)


def _closing(kind: Any) -> Any:
    """dask-jobqueue's class, but what is closed or has failed says that it is closed: Dask asks."""
    from distributed import Status

    class Job(kind.job_cls):
        async def close(self) -> None:
            await super().close()
            self.status = Status.closed

    class Cluster(kind):
        job_cls = Job

        def __init__(self, **keywords: Any) -> None:
            try:
                super().__init__(**keywords)
            except BaseException:
                self.status = Status.closed
                raise

    return Cluster


def _keywords(workers: Workers, scratch: Path, lines: list[str], preload: str) -> dict[str, Any]:
    options = dict(workers.options)
    given: dict[str, Any] = {
        "queue": workers.queue,
        "walltime": _walltime(workers),
        _ACCOUNT[workers.cluster]: workers.account,
    }
    # dask-jobqueue says --nthreads too, cores by processes. The last one holds.
    arguments = ["--nthreads", "1", "--no-dashboard", "--preload", preload]
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
        "death_timeout": 60,  # a job whose scheduler is gone when it starts ends by itself
        **{name: value for name, value in given.items() if value is not None},
        **options,
        "scheduler_options": {"dashboard": False, "dashboard_address": ":0"}
        | options.get("scheduler_options", {}),
        "worker_extra_args": [*arguments, *options.get("worker_extra_args", [])],
        "job_script_prologue": [*lines, *options.get("job_script_prologue", [])],
    }


def _walltime(workers: Workers) -> str | None:
    """As the cluster wants it; LSF counts in minutes, of which it gets the begun one too."""
    if workers.walltime is None or workers.cluster != "lsf":
        return workers.walltime
    hours, minutes, seconds = map(int, workers.walltime.split(":"))
    whole = hours * 60 + minutes + (seconds > 0)
    return f"{whole // 60:02d}:{whole % 60:02d}"
