"""Dask's scheduler, changed where it would blame a task for what it has not done.

What watches over the workers of this machine, and over jobs, gives up in the same way.
"""

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import suppress
from typing import Any


def make_scheduler_class() -> type:
    """Dask's scheduler, but a worker gets a task only when it is free to run it.

    Dask counts the death of a worker against all tasks that the worker was given, including those
    that it had not started. When there are only a few tasks, Dask's own scheduler gives all of
    them to the workers at once, where they wait. And a worker that has said that it is about to
    leave, because its job ends, has not died from its task, which another worker starts anew.
    """
    from distributed import Scheduler, Status

    leaving = (Status.closing_gracefully, Status.closing)

    class PatientScheduler(Scheduler):
        def is_rootish(self, ts: Any) -> bool:
            bound = ts.resource_restrictions or ts.worker_restrictions or ts.host_restrictions
            return (not bound and not ts.dependencies) or super().is_rootish(ts)

        async def remove_worker(self, address: str, **keywords: Any) -> Any:
            worker = self.workers.get(address)
            if worker is not None and worker.status in leaving:
                keywords["expected"] = True
            return await super().remove_worker(address, **keywords)

    return PatientScheduler


async def repeat(look: Callable[[], Awaitable[None]], seconds: float, end: asyncio.Event) -> None:
    """Await a function again and again, with so many seconds before each, until the end."""
    while not end.is_set():
        with suppress(TimeoutError):
            await asyncio.wait_for(end.wait(), seconds)
            return
        await look()


def cancel_all(cluster: Any, problem: str) -> None:
    """Cancel all tasks, so that the study ends; ``problem`` of the cluster says why."""
    cluster.problem = problem
    scheduler = cluster.scheduler
    for name, client in list(scheduler.clients.items()):
        keys = [task.key for task in client.wants_what]
        scheduler.stimulus_cancel(keys, name, True, "no-workers", problem)
