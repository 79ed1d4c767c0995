"""ANTs' own program as the oracle: its code in ANTsPy, in a process of its own."""

import json
import os
import subprocess
import sys
from functools import cache
from pathlib import Path
from typing import Any

THREADS = 64
"""As for SimpleITK: many threads come near the true sums."""

PROGRAM = Path(__file__)
"""Run as a script, this file is ANTs' program."""

_SERVE = """
import json, os, sys
answers = os.fdopen(os.dup(1), "w")
os.dup2(2, 1)
from ants.internal import get_lib_fn
run = get_lib_fn("N4BiasFieldCorrection")
for line in sys.stdin:
    print(json.dumps(run(json.loads(line))), file=answers, flush=True)
"""


def once(*arguments: str) -> subprocess.CompletedProcess[str]:
    """Run the program as a process: its status, and what it prints."""
    command = [sys.executable, str(PROGRAM), *arguments]
    return subprocess.run(
        command, env=_environment(), capture_output=True, text=True, timeout=300, check=False
    )


def run(*arguments: str) -> None:
    """Run the program, which must succeed; many calls share one process."""
    server = _server()
    server.stdin.write(json.dumps(arguments) + "\n")
    server.stdin.flush()
    status = server.stdout.readline().strip()
    assert status == "0", (arguments, status)


@cache
def _server() -> Any:
    return subprocess.Popen(
        [sys.executable, "-c", _SERVE],
        env=_environment(),
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )


def _environment() -> dict[str, str]:
    return os.environ | {"ITK_GLOBAL_DEFAULT_NUMBER_OF_THREADS": str(THREADS)}


def _as_the_program() -> int:
    sys.path.pop(0)  # or this very file would be imported as ``ants``
    from ants.internal import get_lib_fn

    try:
        status = get_lib_fn("N4BiasFieldCorrection")(sys.argv[1:])
    except RuntimeError as error:  # ITK's exceptions; the program itself ends with status 1 on them
        print(error, file=sys.stderr)
        status = 1
    sys.stdout.flush()
    return status


if __name__ == "__main__":
    sys.exit(_as_the_program())
