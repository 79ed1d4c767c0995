"""Workers of this machine in place of those that Dask has given up."""

import asyncio
from collections import Counter
from contextlib import suppress
from typing import Any

from n4ax.bids.workers.scheduling import cancel_all, repeat
from n4ax.messages import give_reason

SECONDS_BETWEEN_LOOKS = 2.0
"""How often to look for workers that have been given up."""

MOST_FRUITLESS = 10
"""After this many attempts in a row, a worker is not started again."""


class Restarting:
    """Start workers again that Dask has given up, and end the study if that does not help.

    Dask starts a process in place of one that has ended, and gives the worker up if that fails,
    such as on a disk that is lost for a moment. Without workers, tasks would wait forever. A worker
    has been given up if it is without a process at two looks one after the other.

    All methods are called in the event loop of the cluster.

    Parameters
    ----------
    cluster
        Dask's cluster, whose workers are running.
    """

    def __init__(self, cluster: Any) -> None:
        self._cluster = cluster
        self._lost: set[Any] = set()
        """Workers that were without a process at the last look."""
        self._fruitless: Counter[Any] = Counter()
        """How often in a row each worker could not be started."""
        self._end = asyncio.Event()
        self._task: asyncio.Task[None] | None = None

    async def start(self) -> None:
        """Look for such workers from now on."""
        self._task = asyncio.create_task(repeat(self._look, SECONDS_BETWEEN_LOOKS, self._end))

    async def stop(self) -> None:
        """Start no more workers; one that is being started has started when this returns."""
        self._end.set()
        if self._task is not None:
            await asyncio.wait([self._task])

    async def _look(self) -> None:
        lost = {name for name in self._cluster.worker_spec if self._is_lost(name)}
        for name in sorted(lost & self._lost, key=str):
            if self._fruitless[name] < MOST_FRUITLESS and not self._end.is_set():
                await self._replace(name)
        self._lost = lost

    def _is_lost(self, name: Any) -> bool:
        from distributed import Status

        given_up = (Status.closed, Status.failed, Status.stopped)
        nanny = self._cluster.workers.get(name)
        if nanny is None or nanny.status in given_up:
            return True
        return nanny.status == Status.running and (
            nanny.process is None or nanny.process.status in given_up
        )

    async def _replace(self, name: Any) -> None:
        """Start a worker in place of one that was given up."""
        nanny = self._cluster.workers.pop(name, None)
        if nanny is not None:
            with suppress(Exception):  # its process has gone already
                await nanny.close(timeout=1)
        try:
            await self._cluster._correct_state()
            self._fruitless[name] = 0
        except Exception as error:
            self._fruitless[name] += 1
            if all(self._fruitless[one] >= MOST_FRUITLESS for one in self._cluster.worker_spec):
                cancel_all(
                    self._cluster,
                    f"all workers have ended and could not be started again: {explain(error)}",
                )


def explain(error: BaseException) -> str:
    """Why a worker did not start, in one line: Dask raises one error from another."""
    while error.__cause__ is not None:
        error = error.__cause__
    return give_reason(error) if isinstance(error, Exception) else repr(error)
