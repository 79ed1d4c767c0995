"""The programs that run in a child of the server, by their names."""

import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from distributed import Client, LocalCluster

import n4ax.bids.workers.connection
from n4ax.ants.program import main as run_ants
from n4ax.bids.workers.description import Workers
from n4ax.cli import main as run_n4ax


def run_study(words: list[str]) -> int:
    """Run ``n4ax bids`` with a worker that is a thread of this process."""
    n4ax.bids.workers.connection.connect = _connect_here
    return run_n4ax(["bids", *words])


@contextmanager
def _connect_here(workers: Workers, scratch: Path) -> Iterator[Client]:  # noqa: ARG001
    with (
        tempfile.TemporaryDirectory() as folder,
        LocalCluster(
            n_workers=1, threads_per_worker=1, processes=False, dashboard_address=":0",
            protocol="inproc://", local_directory=folder,
        ) as cluster,
        Client(cluster) as client,
    ):  # fmt: skip
        yield client


PROGRAMS: dict[str, Callable[[list[str]], int]] = {
    "n4ax": run_n4ax,
    "ants": run_ants,
    "study": run_study,
}
