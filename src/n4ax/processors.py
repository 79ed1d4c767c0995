"""How many processors this process may use, and how many threads it is told to start.

A container or a batch job often may use a part of a machine only: some processors of it (the
affinity of the process), or a share of their time (the quota of its control group, such as that of
``docker run --cpus``). A thread for each processor of the machine would then wait for the others.
"""

import math
import os
import re
from collections.abc import Iterator, Mapping
from functools import cache
from pathlib import Path, PurePosixPath

VARIABLES = (
    "ITK_GLOBAL_DEFAULT_NUMBER_OF_THREADS",
    "OMP_NUM_THREADS",
    "SLURM_CPUS_PER_TASK",
)
"""Environment variables that say how many threads to start. The first that is set decides."""


def choose_thread_count(environ: Mapping[str, str] = os.environ) -> int:
    """Choose the number of threads where nobody has named one.

    It is what the first of ``VARIABLES`` says, but never more than the processors that this process
    may use, since no result depends on it.
    """
    processors = count_processors()
    for name in VARIABLES:
        # OpenMP's variable may list a number for each nested level.
        found = re.match(r"\s*\+?(\d+)\s*(,|$)", environ.get(name, ""))
        if found and float(found[1]) > 0:  # int reads no more than 4300 digits
            return int(min(float(found[1]), processors))
    return processors


def count_processors() -> int:
    """Count the processors that this process may use, at least one."""
    allowed, quota = count_affinity(), find_quota()
    return allowed if quota is None else max(1, min(allowed, math.ceil(quota)))


def count_affinity() -> int:
    """Count the processors that this process may run on, whatever share of their time it has."""
    if hasattr(os, "sched_getaffinity"):  # Linux
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


@cache
def find_quota(root: Path = Path("/")) -> float | None:
    """Find how many processors' time the control groups of this process may use.

    Parameters
    ----------
    root
        The root of the file system.

    Returns
    -------
    float or None
        The least share that the group or one of those above it has; ``None`` if there is no limit.
    """
    try:
        text = (root / "proc/self/cgroup").read_text(encoding="utf-8", errors="replace")
    except OSError:  # not Linux
        return None
    mount = root / "sys/fs/cgroup"
    shares = [share for group in text.splitlines() for share in _find_shares(group, mount)]
    return min(shares, default=None)


def _find_shares(group: str, mount: Path) -> Iterator[float]:
    """Find the shares along one line of ``/proc/self/cgroup``: ``number:controllers:path``."""
    _, _, rest = group.partition(":")
    controllers, _, path = rest.partition(":")
    if not controllers:  # version 2
        folders, read = [mount], _read_share
    elif "cpu" in controllers.split(","):
        folders, read = [mount / controllers, mount / "cpu"], _read_old_share
    else:
        return
    # In a container the path may be that of the host; the mount is then the group itself.
    inner = PurePosixPath(path.lstrip("/"))
    for folder in folders:
        for place in (inner, *inner.parents):
            share = read(folder / place)
            if share is not None:
                yield share


def _read_share(folder: Path) -> float | None:
    """Read the share of a group of version 2, in ``cpu.max``; a quota of ``max`` is no limit."""
    try:
        quota, period = (folder / "cpu.max").read_text(encoding="utf-8").split()
        return float(quota) / float(period)
    except (OSError, ValueError, ZeroDivisionError):  # there is no such file, or no limit
        return None


def _read_old_share(folder: Path) -> float | None:
    """Read the share of a group of version 1; a quota of -1 is no limit."""
    try:
        quota = float((folder / "cpu.cfs_quota_us").read_text(encoding="utf-8"))
        period = float((folder / "cpu.cfs_period_us").read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
    return quota / period if quota > 0 and period > 0 else None
