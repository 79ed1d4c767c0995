"""Threads that run compiled kernels over ranges of chunks, planes or control rows.

The threads belong to one run of the engine, and end with it, so that the engine may be used from
several threads at once and after a fork. Kernels release the GIL.
"""

import threading
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from contextlib import suppress
from functools import partial
from typing import Any, Self

import numpy as np

from n4ax.engines.compiled.kernel import NO_MEMORY, Bound, Kernel
from n4ax.engines.cpu.kernels import team
from n4ax.method.problem import Problem
from n4ax.pools import ThreadPool, start_thread
from n4ax.processors import choose_thread_count

MOST_THREADS = 16
"""The default number of threads is at most this: handing out the work on a head to more threads
takes longer than it saves."""

FEW_VOXELS = 20_000
"""Images with fewer voxels that count are solved by one thread: handing out so little work takes
longer than it saves."""

PIECES_PER_THREAD = 4
"""The work is shared out in so many pieces for each thread."""

PATIENCE = 8_000
"""A helper looks so many times for the next job before it sleeps, for some tenths of a millisecond.
"""

Job = Callable[[], None]
"""A kernel with its arguments, to be run over all parts."""


class Threads:
    """A fixed number of threads that run kernels.

    Helpers look out for the next job for a moment, and then sleep until they are woken. So the
    short jobs of an iteration, one after another, are shared out within a microsecond. Where numba
    compiles the kernels, a pool of Python's shares them out.

    Parameters
    ----------
    num_threads
        Number of threads. The default is that of :func:`n4ax.processors.choose_thread_count`, but
        at most ``MOST_THREADS``.
    """

    def __init__(self, num_threads: int | None = None) -> None:
        self.count = num_threads or min(choose_thread_count(), MOST_THREADS)
        self._team: Team | None = None
        self._pool: ThreadPool | None = None

    def run(self, parts: int, kernel: Kernel, *arguments: Any, alone: bool = False) -> None:
        """Call ``kernel(first, stop, *arguments)`` on pieces of ``range(parts)`` until all is done.

        A thread takes the next piece as soon as it is free, so no thread waits for a slower one.
        ``alone`` leaves all of it to the calling thread, for work that is too little to be shared.
        """
        self.prepare(parts, kernel, *arguments, alone=alone)()

    def prepare(self, parts: int, kernel: Kernel, *arguments: Any, alone: bool = False) -> Job:
        """The job of :meth:`run`, which can be done many times.

        The arrays are read anew every time; numbers stay what they are now.
        """
        bound = kernel.bind(*arguments)
        if alone or self.count == 1 or parts < 2:
            return partial(bound, 0, parts)
        if bound.entry is None:
            return lambda: self._share(parts, bound)
        if self._team is None:
            self._team = Team(self.count)
        return self._team.prepare(parts, bound)

    def _share(self, parts: int, bound: Bound) -> None:
        """Share out a job by a pool."""
        if self._pool is None:
            self._pool = ThreadPool(self.count - 1)
        pieces = min(parts, PIECES_PER_THREAD * self.count)
        bounds = [parts * k // pieces for k in range(pieces + 1)]
        queue, lock = iter(range(pieces)), threading.Lock()

        def take() -> int | None:
            with lock:  # without the GIL, two threads could get the same piece
                return next(queue, None)

        def work() -> None:
            while (k := take()) is not None:
                bound(bounds[k], bounds[k + 1])

        helpers: list[Future[None]] = []
        with suppress(RuntimeError):  # without any helper, this thread does all of it
            helpers += [self._pool.submit(work) for _ in range(min(self.count, pieces) - 1)]
        try:
            work()
        finally:
            for helper in helpers:
                helper.result()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        if self._team is not None:
            self._team.close()
        if self._pool is not None:
            self._pool.shutdown()


class Jobs:
    """Jobs that are remembered, because the same arrays come again in every iteration.

    Parameters
    ----------
    threads
        The threads that run the kernels.
    """

    def __init__(self, threads: Threads) -> None:
        self.threads = threads
        self._known: dict[tuple[Any, ...], tuple[Job, Any]] = {}

    def run(self, parts: int, kernel: Kernel, *arguments: Any, alone: bool = False) -> None:
        """Do what :meth:`Threads.run` does."""
        key = (kernel, *map(id, arguments))
        known = self._known.get(key)
        if known is None:
            job = self.threads.prepare(parts, kernel, *arguments, alone=alone)
            known = self._known[key] = job, arguments  # no other array can have the ids of these
        known[0]()

    def forget(self) -> None:
        """Forget all jobs, and let go of their arrays."""
        self._known.clear()


class Team:
    """The helpers of some threads, and the table through which they find their work.

    Parameters
    ----------
    count
        Number of threads, with the one that leads.
    """

    def __init__(self, count: int) -> None:
        self._count = count
        self._table = np.zeros(team.TABLE, np.int64)
        address = self._table.ctypes.data
        self._serve = team.serve.bind(address, PATIENCE)
        self._lead = team.lead.bind(address)
        self._asleep = 0
        self._lock = threading.Lock()
        self._bell = threading.Semaphore(0)
        self._helpers: list[threading.Thread] = []
        try:
            for _ in range(count - 1):
                self._helpers.append(start_thread(self._help))
        except RuntimeError:  # the system starts no further thread, and fewer do the same work
            pass
        except BaseException:
            self.close()
            raise

    def _help(self) -> None:
        while True:
            self._serve(0, 0)
            with self._lock:
                if self._table[team.CLOSED]:
                    return
                if self._table[team.LEFT]:  # a job has come since
                    continue
                self._asleep += 1
            self._bell.acquire()

    def prepare(self, parts: int, bound: Bound) -> Job:
        """A job that is shared out in pieces."""
        pieces = min(parts, PIECES_PER_THREAD * self._count)
        description = np.array([bound.entry_address, bound.address, parts, pieces], np.int64)
        place = self._table[team.ENTRY : team.ENTRY + 4]

        def run(_kept: Bound = bound) -> None:
            place[:] = description
            if self._asleep:
                self._wake()
            self._lead(0, 0)
            if self._table[team.FAILED]:
                self._table[team.FAILED] = 0
                raise MemoryError(NO_MEMORY)

        return run

    def _wake(self) -> None:
        with self._lock:
            asleep, self._asleep = self._asleep, 0
        if asleep:
            self._bell.release(asleep)

    def close(self) -> None:
        """Send the helpers away, and wait until they have gone."""
        with self._lock:
            self._table[team.CLOSED] = 1
        self._wake()
        for helper in self._helpers:
            helper.join()


def make_threads(problems: Sequence[Problem], num_threads: int | None) -> Threads:
    """Make the threads that solve ``problems``: one if they have few voxels in all."""
    voxels = sum(np.count_nonzero(problem.included) for problem in problems)
    return Threads(1 if voxels < FEW_VOXELS else num_threads)
