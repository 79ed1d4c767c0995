"""Tasks and programs for the tests of workers."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import psutil

from n4ax.bids.workers.connection import connect
from n4ax.bids.workers.description import Workers

LOOPBACK = {"interface": "lo", "scheduler_options": {"host": "127.0.0.1"}}
"""Options that make jobs listen on the loopback interface only."""


@contextmanager
def start_scheduler(folder: Path) -> Iterator[tuple[str, dict[str, str]]]:
    """The address of a scheduler with one worker, and the settings of Dask that a client needs."""
    with connect(Workers(), folder) as client:
        parts = ("ca-file", "client.key", "client.cert")
        path = client.security.tls_ca_file
        settings = {f"distributed.comm.tls.{part}": path for part in parts}
        yield client.scheduler_info()["address"], settings


def pause(seconds: float) -> Callable[..., float]:
    """A task. It is sent by value, because the workers cannot import this file."""

    def task(_number: int = 0) -> float:
        import time

        time.sleep(seconds)
        return seconds

    return task


def die() -> Callable[[], None]:
    def task() -> None:

        os.kill(os.getpid(), signal.SIGKILL)

    return task


def variables(*names: str) -> Callable[[Any], tuple[Any, ...]]:
    def task(dask_worker: Any) -> tuple[Any, ...]:

        return (os.getpid(), dask_worker.state.nthreads, *map(os.environ.get, names))

    return task


def wait_until(condition: Callable[[], object], seconds: float = 30) -> bool:
    end = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > end:
            return False
        time.sleep(0.05)
    return True


def is_alive(number: int) -> bool:
    """Whether there is such a process; a zombie does not count."""
    try:
        return psutil.Process(number).status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


def write_program(path: Path, *lines: str) -> None:
    path.write_text("\n".join(["#!/bin/sh", *lines, ""]))
    path.chmod(0o755)


DRIVER = """
import os, sys, time
from pathlib import Path
from n4ax.bids.workers.connection import connect
from n4ax.bids.workers.description import Workers

if __name__ == "__main__":
    options = {"interface": "lo", "scheduler_options": {"host": "127.0.0.1"}}
    if sys.argv[1] == "local":
        options = {}
    workers = Workers(cluster=sys.argv[1], processes=2, memory_gb=1, options=options)
    with connect(workers, Path()) as client:
        client.wait_for_workers(2, timeout=60)
        seconds = 600 if sys.argv[1] == "local" else 3  # a job finishes its task first
        running = [client.submit(time.sleep, seconds, pure=False) for _ in range(2)]
        print(*client.run(os.getpid).values(), flush=True)
        time.sleep(600)
"""


def start_and_kill(folder: Path, cluster: str) -> list[int]:
    """Start a program with ``-m``, kill it, and return the process numbers of its workers."""
    (folder / "driver").mkdir()
    (folder / "driver" / "__main__.py").write_text(DRIVER)
    process = subprocess.Popen(
        [sys.executable, "-m", "driver", cluster], cwd=folder, stdout=subprocess.PIPE, text=True
    )
    with process:
        assert process.stdout is not None
        workers = [int(word) for word in process.stdout.readline().split()]
        process.kill()
    return workers
