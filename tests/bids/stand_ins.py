"""Stand-ins for the programs of queueing systems."""

import os
from pathlib import Path

import pytest

from tests.bids.worker_tasks import write_program

RUNS = 'copy=$(mktemp "{folder}/job.XXXXXX"); cat {script} > "$copy"; chmod +x "$copy"'
STARTS = 'setsid "$copy" > "$copy.out" 2>&1 < /dev/null & echo "Job <$!> was submitted"'
NOTES = 'echo $! >> "{folder}/submitted"'
LISTS = (
    'test -e "{folder}/submitted" || exit 0',
    'while read -r job; do grep -q "^State:.[RSD]" "/proc/$job/status" && echo "$job{rest}"; done '
    '< "{folder}/submitted" 2> /dev/null',
    "exit 0",
)
PROGRAMS = {
    "slurm": ("sbatch", "scancel", "squeue", '"$1"', ""),
    "pbs": ("qsub", "qdel", "qstat", '"$1"', ".server n4ax user 00:00:01 R batch"),
    "sge": ("qsub", "qdel", "qstat", '"$1"', " 0.555 n4ax user r 11/27/2026 10:00:00 all.q 1"),
    "lsf": ("bsub", "bkill", "bjobs", "-", " user RUN normal host1 host2 n4ax Nov 27 10:00"),
}
"""What submits, cancels and lists jobs, where the script is, and the rest of a line of the list."""


def install_queue(cluster: str, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Put programs on PATH that start, end and list the script of a job."""
    submit, cancel, show, script, rest = PROGRAMS[cluster]
    monkeypatch.setenv("PATH", str(folder), prepend=os.pathsep)
    start = RUNS.format(folder=folder, script=script)
    write_program(folder / submit, start, STARTS, NOTES.format(folder=folder))
    write_program(folder / cancel, 'kill -TERM "-$1"')
    write_program(folder / show, *(line.format(folder=folder, rest=rest) for line in LISTS))


def list_submitted(folder: Path) -> list[str]:
    """The numbers of all jobs that were submitted."""
    path = folder / "submitted"
    return path.read_text().split() if path.exists() else []
