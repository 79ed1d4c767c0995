"""How a worker of a job leaves before its job is ended, or when it is told to end.

Dask's own ``--lifetime`` is no help here: it gives the running task to another worker at once, and
counts from the start of the worker, which may have been started again in the middle of its job.
"""

import asyncio
import os
import random
import signal
import time
from typing import TYPE_CHECKING

from n4ax.signals import exit_on_signals

if TYPE_CHECKING:
    from distributed import Worker

STARTED = "N4AX_JOB_STARTED"
"""The variable that says when the job started. The workers of a job have it, and no others."""

SECONDS = "N4AX_JOB_SECONDS"
"""The variable that says how many seconds after that no new image is begun, if there is a limit."""

_LEAST_MARGIN = 60.0
_MARGIN = 0.05
_STAGGER = 0.25
"""Workers leave at different times in this part of the margin, not all of them at once."""

_SECONDS_TO_TELL = 1.0
_SECONDS_TO_FETCH = 15.0
_FULL = 0.8
"""A worker that has this part of its memory is told to end for want of memory."""


def choose_seconds(walltime: float) -> int:
    """How many seconds of a job's walltime its workers begin new images in.

    Parameters
    ----------
    walltime
        The seconds after which the job is ended.

    Returns
    -------
    int
        The walltime without 5 %, but at least a minute; half of it, if it is shorter than that.
    """
    return round(walltime - min(max(_LEAST_MARGIN, _MARGIN * walltime), walltime / 2))


def prepare_to_leave(worker: "Worker") -> None:
    """Let a worker of a job finish its image and leave in time, and say so when it is told to end.

    A worker that is no job is left alone. This is called in the worker's event loop.
    """
    started = os.environ.get(STARTED)
    if started is None:
        return
    loop = asyncio.get_running_loop()
    loop.add_signal_handler(signal.SIGTERM, _tell_and_exit, worker)
    seconds = float(os.environ.get(SECONDS, "0"))
    if seconds:
        margin = max(_LEAST_MARGIN, seconds * _MARGIN)
        # Jobs only have to leave at different times.
        early = random.uniform(0, min(_STAGGER * margin, seconds / 10))  # noqa: S311  # nosec B311
        left = float(started) + seconds - early - time.time()
        loop.call_later(max(1.0, left), _start_leaving, worker)


def _start_leaving(worker: "Worker") -> None:
    # The loop has no hard reference to its tasks, so that the worker keeps it.
    worker.leaving = asyncio.create_task(_leave(worker))  # type: ignore[attr-defined]


async def _leave(worker: "Worker") -> None:
    """Take no more tasks, finish the one that is running, and end the process and its nanny."""
    from distributed import Status

    worker.status = Status.closing_gracefully
    while worker.state.all_running_tasks:
        await asyncio.sleep(0.2)
    end = time.monotonic() + _SECONDS_TO_FETCH
    while (
        worker.data and time.monotonic() < end
    ):  # results that have not been fetched would be lost
        await asyncio.sleep(0.2)
    await worker.close(reason="the job is about to reach its time limit")


def _tell_and_exit(worker: "Worker") -> None:
    """Say that the death to come is not the fault of the task, unless it is, and end."""
    from distributed import Status

    if _is_full(worker):
        _exit()
        return
    if worker.status == Status.running:  # otherwise its nanny was faster, and it has just said so
        worker.status = Status.closing_gracefully
    asyncio.get_running_loop().call_later(_SECONDS_TO_TELL, _exit)


def _exit() -> None:
    asyncio.get_running_loop().remove_signal_handler(signal.SIGTERM)
    exit_on_signals()
    signal.raise_signal(signal.SIGTERM)


def _is_full(worker: "Worker") -> bool:
    """Whether Dask ends this worker because it takes too much memory, also with SIGTERM."""
    import psutil

    limit = worker.memory_manager.memory_limit
    return bool(limit) and psutil.Process().memory_info().rss > _FULL * limit
