"""New jobs in place of those that have ended, for as long as there is work."""

import asyncio
import time
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from n4ax.bids.workers.scheduling import cancel_all, repeat

if TYPE_CHECKING:
    from distributed import Scheduler

SECONDS_BETWEEN_LOOKS = 20.0
"""How often to look into the queue."""

MOST_FRUITLESS = 3
"""After this many jobs in a row that ended without a finished task no more are submitted."""

_SECONDS_TO_LEAVE = 60.0

_WORKING = ("waiting", "queued", "no-worker", "processing", "released")


class Renewal:
    """Submit jobs in place of those that have ended, while there is work.

    A job has ended if the queue does not list it, and no worker of it is connected, at two looks
    one after the other. Where the queue does not say what it has, jobs have ended whose workers
    have gone; jobs that have had none are taken to wait. A job that the cluster has put back into
    its queue is waited for.

    All methods are called in the event loop of the cluster.

    Parameters
    ----------
    cluster
        dask-jobqueue's cluster, whose jobs have been submitted.
    logs
        The folder with the output of the jobs.
    explain
        A function that says why a job was not accepted.
    list_queued
        A function that lists the numbers of the jobs in the queue, or ``None`` if it does not know.
    """

    def __init__(
        self,
        cluster: Any,
        logs: Path,
        explain: Callable[[Exception], str],
        list_queued: Callable[[], Awaitable[set[str] | None]],
    ) -> None:
        self._cluster, self._logs = cluster, logs
        self._explain, self._list_queued = explain, list_queued
        self._most = len(cluster.workers)
        self._watch = _make_watch(cluster)
        self._missing: set[str] = set()
        """Jobs that were missing at the last look."""
        self._fruitless = 0
        self._finished = 0
        self._refusal = ""
        self._lock = asyncio.Lock()
        self._end = asyncio.Event()
        self._task: asyncio.Task[None] | None = None

    async def start(self) -> None:
        """Look into the queue from now on."""
        self._cluster.scheduler.add_plugin(self._watch)
        self._task = asyncio.create_task(repeat(self._look_alone, SECONDS_BETWEEN_LOOKS, self._end))

    async def stop(self) -> None:
        """Submit no more jobs; a job that is being submitted is in the queue when this returns."""
        self._end.set()
        if self._task is not None:
            await asyncio.wait([self._task])  # whatever has become of it, the jobs are cancelled

    async def leave_one(self) -> None:
        """Cancel all jobs, and submit one in which a single process has everything."""
        async with self._lock:
            spec = dict(self._cluster.new_spec)
            spec["options"] = spec["options"] | {"processes": 1}
            del spec["group"]
            self._cluster.new_spec, self._most = spec, 1
            self._cluster.worker_spec.clear()
            await self._cluster._correct_state()
            end = time.monotonic() + _SECONDS_TO_LEAVE
            while self._list_workers() and time.monotonic() < end:
                await asyncio.sleep(0.1)  # a worker that is about to leave could get a task
            await self._submit()

    async def _look_alone(self) -> None:
        async with self._lock:
            await self._look()

    async def _look(self) -> None:
        """Find out which jobs have ended, and submit others or give up."""
        for name in await self._find_ended():
            await self._forget(name)
        if self._watch.finished > self._finished:
            self._finished, self._fruitless = self._watch.finished, 0
        while self._fruitless < MOST_FRUITLESS and not self._end.is_set():
            needed = -(-self._count_unfinished() // self._count_processes())
            if len(self._cluster.workers) >= min(self._most, needed):
                return
            if not await self._submit():
                break
        if self._fruitless >= MOST_FRUITLESS and not self._cluster.workers:
            cancel_all(self._cluster, self._refusal or self._describe_failure())

    async def _find_ended(self) -> list[str]:
        queued = await self._list_queued()
        connected = {self._watch.find_job(name) for name in self._list_workers()}
        missing: set[str] = set()
        for name, job in self._cluster.workers.items():
            known = name in self._watch.started if queued is None else job.job_id not in queued
            if known and name not in connected:
                missing.add(name)
        ended = missing & self._missing
        self._missing = missing - ended
        return sorted(ended)

    def _list_workers(self) -> list[str]:
        return [str(worker.name) for worker in self._cluster.scheduler.workers.values()]

    async def _forget(self, name: str) -> None:
        """Forget a job that has ended, and count it if it was good for nothing."""
        watch = self._watch
        was_idle = name in watch.started and name not in watch.given
        if name not in watch.fruitful and not was_idle:
            self._fruitless += 1
        for names in (watch.started, watch.given, watch.fruitful):
            names.discard(name)
        await self._drop(name)

    async def _drop(self, name: str) -> None:
        self._cluster.worker_spec.pop(name, None)
        job = self._cluster.workers.pop(name, None)
        if job is not None:
            job.job_id = None  # there is nothing to cancel
            await job.close()

    async def _submit(self) -> bool:
        """Submit a job, and return whether it was accepted."""
        self._cluster._i += 1  # a worker of an old job may still be known by an old name
        spec = self._cluster.new_worker_spec()
        self._cluster.worker_spec.update(spec)
        try:
            await self._cluster._correct_state()
        except Exception as error:
            self._refusal, self._fruitless = self._explain(error), self._fruitless + 1
            for name in spec:
                await self._drop(name)
            return False
        self._refusal = ""
        return True

    def _count_unfinished(self) -> int:
        return sum(task.state in _WORKING for task in self._cluster.scheduler.tasks.values())

    def _count_processes(self) -> int:
        return len(self._cluster.new_spec.get("group", [""]))

    def _describe_failure(self) -> str:
        return (
            f"{self._fruitless} jobs in a row ended without having finished an image: "
            f"{self._logs} has what they said"
        )


def _make_watch(cluster: Any) -> Any:
    """Note which jobs have workers, which of them were given tasks, and which finished any."""
    from distributed import SchedulerPlugin

    class Watch(SchedulerPlugin):
        def __init__(self) -> None:
            self.started: set[str] = set()
            self.given: set[str] = set()
            self.fruitful: set[str] = set()
            self.finished = 0

        def find_job(self, name: str) -> str:
            """The job of a worker: several workers of a job are numbered."""
            return name if name in cluster.worker_spec else name.rpartition("-")[0]

        def add_worker(self, scheduler: "Scheduler", worker: str) -> None:
            self.started.add(self.find_job(str(scheduler.workers[worker].name)))

        def transition(self, key: Any, start: str, finish: str, *_: Any, **keywords: Any) -> None:
            workers = cluster.scheduler.workers
            if finish == "processing":
                worker = cluster.scheduler.tasks[key].processing_on
                if worker is not None:
                    self.given.add(self.find_job(str(worker.name)))
            elif start == "processing" and finish == "memory":
                self.finished += 1
                worker = workers.get(str(keywords.get("worker")))
                if worker is not None:
                    self.fruitful.add(self.find_job(str(worker.name)))

    return Watch()
