"""Threads that run compiled kernels over ranges of chunks, planes or control rows.

This is a plain thread pool over kernels that release the GIL, so that the engine may be used
from several threads at once and after a fork.
"""

import os
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any, Self

import numpy as np

from n4ax.engines.compiled.kernel import Kernel
from n4ax.method.problem import Problem

MOST_THREADS = 16
"""The default number of threads is at most this: handing out the work on a head to more threads
takes longer than it saves."""

FEW_VOXELS = 200_000
"""Images with fewer voxels that count are solved by one thread: handing out so little work takes
longer than it saves."""


class Threads:
    """A fixed number of threads that run kernels.

    Parameters
    ----------
    num_threads
        Number of threads. The default is the number of processors, but at most ``MOST_THREADS``.
    """

    def __init__(self, num_threads: int | None = None) -> None:
        self.count = min(available_cpus(), MOST_THREADS) if num_threads is None else num_threads
        self._pool = ThreadPoolExecutor(self.count - 1) if self.count > 1 else None

    def run(self, parts: int, kernel: Any, *arguments: Any) -> None:
        """Call ``kernel(first, stop, *arguments)`` on pieces of ``range(parts)`` until all is done.

        A thread takes the next piece as soon as it is free, so no thread waits for a slower one.
        """
        call = kernel.bind(*arguments) if isinstance(kernel, Kernel) else None
        if call is None:

            def call(first: int, stop: int) -> None:
                kernel(first, stop, *arguments)

        if self._pool is None or parts < 2:
            call(0, parts)
            return
        pieces = min(parts, 4 * self.count)
        bounds = [parts * k // pieces for k in range(pieces + 1)]
        queue = iter(range(pieces))

        def work() -> None:
            for k in queue:
                call(bounds[k], bounds[k + 1])

        helpers = [self._pool.submit(work) for _ in range(min(self.count, pieces) - 1)]
        try:
            work()
        finally:
            for helper in helpers:
                helper.result()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        if self._pool is not None:
            self._pool.shutdown()


def make_threads(problems: Sequence[Problem], num_threads: int | None) -> Threads:
    """Make the threads that solve ``problems``: one if they have few voxels in all."""
    voxels = sum(np.count_nonzero(problem.included) for problem in problems)
    return Threads(1 if voxels < FEW_VOXELS else num_threads)


def available_cpus() -> int:
    """Number of processors that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
