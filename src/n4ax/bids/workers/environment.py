"""The environment variables of workers, which libraries read as soon as a process starts."""

import os
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from n4ax.bids.workers.description import Workers

_THREAD_COUNTS = (
    "OMP_NUM_THREADS",
    "OPENBLAS_NUM_THREADS",
    "MKL_NUM_THREADS",
    "NUMEXPR_NUM_THREADS",
    "VECLIB_MAXIMUM_THREADS",
)

_MEMORY = {
    "MALLOC_ARENA_MAX": "1",
    "MALLOC_MMAP_MAX_": "0",
    "MALLOC_TRIM_THRESHOLD_": str(2**30),
}
"""Let the C library of Linux keep up to 1 GiB of freed memory for the next arrays.

Otherwise the system has to clear new pages for every array, the more often since Dask makes the C
library give freed memory back at once. A variable that is set already stays as it is.
"""

_SET_BY_DASK = ("MALLOC_TRIM_THRESHOLD_", "PYTHONHASHSEED", "__DASK_PARENT_PID", "DASK_PARENT")
"""Environment variables that some versions of Dask set in this process."""


def choose_variables(workers: Workers) -> dict[str, str]:
    """Environment variables of the workers; libraries read them as soon as a worker starts."""
    variables: dict[str, str] = dict.fromkeys(_THREAD_COUNTS, str(workers.threads))
    variables |= {name: os.environ.get(name, value) for name, value in _MEMORY.items()}
    if workers.cluster == "local":  # a job logs to a file, where messages do no harm
        variables["DASK_LOGGING__DISTRIBUTED"] = "error"
    return variables


def choose_temporary_folder(folder: Path) -> dict[str, str]:
    """A variable that lets Dask use a folder where a container has none for temporary files."""
    try:
        tempfile.gettempdir()
    except FileNotFoundError:
        return {"TMPDIR": str(folder)}
    return {}


@contextmanager
def change_environment(variables: Mapping[str, str]) -> Iterator[None]:
    """Set variables that new processes inherit, and restore the environment after the block."""
    tracker = "ignore:resource_tracker:UserWarning"  # it is printed when this process is killed
    warnings = ",".join(filter(None, (os.environ.get("PYTHONWARNINGS"), tracker)))
    variables = {**variables, "PYTHONWARNINGS": warnings}
    before = {name: os.environ.get(name) for name in (*variables, *_SET_BY_DASK)}
    os.environ.update(variables)
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                os.environ.pop(name, None)
            else:
                os.environ[name] = value
