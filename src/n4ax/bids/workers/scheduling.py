"""Dask's scheduler, changed where it would blame a task for what it has not done."""

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
