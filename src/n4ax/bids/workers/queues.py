"""Which jobs a cluster's queue still has: waiting, running, or on their way out."""

import asyncio
import os
import re

_PROGRAMS = {
    "slurm": ("squeue", "--noheader", "--user={user}", "--format=%A"),
    "pbs": ("qstat",),
    "lsf": ("bjobs", "-w"),
    "sge": ("qstat",),
}

_NO_JOBS = "No unfinished job found"  # LSF's bjobs fails with it

_ENDED = r"^(\d+)\S*\s.*\s[CF]\s+\S+\s*$"
"""A line of PBS's qstat about a job that has ended; others do not list such jobs."""

_SECONDS = 60.0


async def list_queued(cluster: str) -> set[str] | None:
    """List the numbers of this user's jobs that have not ended.

    Parameters
    ----------
    cluster
        ``"slurm"``, ``"pbs"``, ``"lsf"`` or ``"sge"``.

    Returns
    -------
    set of str or None
        The numbers; ``None`` if the queue does not say.
    """
    user = os.getuid() if hasattr(os, "getuid") else ""
    try:
        process = await asyncio.create_subprocess_exec(
            *(word.format(user=user) for word in _PROGRAMS[cluster]),
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
        )
    except OSError:
        return None
    try:
        said, complaint = await asyncio.wait_for(process.communicate(), _SECONDS)
    except TimeoutError:
        process.kill()
        await process.wait()
        return None
    if process.returncode and _NO_JOBS not in complaint.decode(errors="replace"):
        return None
    return read_numbers(cluster, said.decode(errors="replace"))


def read_numbers(cluster: str, said: str) -> set[str]:
    """The numbers of jobs at the start of lines, without jobs that have ended."""
    lines = [line.strip() for line in said.splitlines()]
    if cluster == "pbs":
        lines = [line for line in lines if not re.match(_ENDED, line)]
    found = [re.match(r"\d+", line) for line in lines]
    return {number.group() for number in found if number}
