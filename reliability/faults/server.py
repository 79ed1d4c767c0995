"""A process that has n4ax imported, and forks a child for each command: ``python -m`` this file.

Each line of its input is a JSON object with the program, its words, the file for what it prints,
and the seconds after which it is killed. Each line of its output is an exit status.
"""

import contextlib
import io
import json
import os
import signal
import sys
import tempfile
import threading
import time
import traceback
from pathlib import Path
from typing import Any

HANGS = 124
"""The status of a command that did not end in time."""
BREAKS = 70
"""The status of a command that ended with an exception."""


def main() -> None:
    """Serve until the input ends."""
    _import_all()
    print("ready", flush=True)
    for line in sys.stdin:
        print(_serve(json.loads(line)), flush=True)


def _import_all() -> None:
    """Import what the commands import when they run."""
    import SimpleITK  # noqa: F401

    import n4ax.ants.program
    import n4ax.ants.steps
    import n4ax.bids.plan
    import n4ax.bids.study
    import n4ax.cli
    import n4ax.correction.run
    import n4ax.correction.work
    import n4ax.field.file
    import n4ax.figure
    import n4ax.images.formats
    import n4ax.images.plain
    import n4ax.images.writing
    import n4ax.report.pages
    import n4ax.report.ratings
    import n4ax.saved_field
    import n4ax.tuning.study  # noqa: F401
    import reliability.faults.programs
    from reliability.faults.cases import CASES, make_inputs

    with tempfile.TemporaryDirectory() as name, contextlib.redirect_stdout(io.StringIO()):
        make_inputs(Path(name) / "in")
        with contextlib.chdir(name):
            Path("out").mkdir()
            for case in CASES:  # one thread only, so that none is lost by a fork
                if case.command in ("correct", "ants"):
                    reliability.faults.programs.PROGRAMS[case.program](list(case.before))
    assert threading.active_count() == 1


def _serve(job: dict[str, Any]) -> int:
    """Run a command in a child, and give its status; negative for the signal that ended it."""
    child = os.fork()
    if child == 0:
        _run(job)
    deadline = time.monotonic() + job["seconds"]
    while time.monotonic() < deadline:
        ended, status = os.waitpid(child, os.WNOHANG)
        if ended:
            return os.waitstatus_to_exitcode(status)
        time.sleep(0.002)
    os.kill(child, signal.SIGKILL)
    os.waitpid(child, 0)
    return HANGS


def _run(job: dict[str, Any]) -> None:
    """Run a command in this process, which ends with it."""
    status = BREAKS
    try:
        file = os.open(job["said"], os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
        os.dup2(file, 1)
        os.dup2(file, 2)
        os.chdir(job["folder"])
        from reliability.faults.programs import PROGRAMS

        status = PROGRAMS[job["program"]](job["words"])
    except BaseException:
        traceback.print_exc()
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(status)


if __name__ == "__main__":
    main()
