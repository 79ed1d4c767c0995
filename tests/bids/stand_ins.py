"""Stand-ins for the programs of queueing systems."""

import os
from pathlib import Path

import pytest

from tests.bids.worker_tasks import write_program

RUNS = 'copy=$(mktemp "{folder}/job.XXXXXX"); cat {script} > "$copy"; chmod +x "$copy"'
STARTS = 'setsid "$copy" > "$copy.out" 2>&1 < /dev/null & echo "Job <$!> was submitted"'


def install_queue(
    folder: Path, monkeypatch: pytest.MonkeyPatch, submit: str, cancel: str, script: str
) -> None:
    """Put programs on PATH that start and end the script of a job."""
    monkeypatch.setenv("PATH", str(folder), prepend=os.pathsep)
    write_program(folder / submit, RUNS.format(folder=folder, script=script), STARTS)
    write_program(folder / cancel, 'kill -TERM -- "-$1"')
