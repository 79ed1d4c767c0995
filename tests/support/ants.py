"""ANTs' own program as the oracle: its code in ANTsPy, in a process of its own."""

import json
import os
import subprocess
import sys
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

THREADS = 64
"""As for SimpleITK: many threads come near the true sums."""

PROGRAM = Path(__file__)
"""Run as a script, this file is ANTs' program."""

SPACING = (2.0, 2.0, 2.5)


def phantom(shape: tuple[int, ...] = (28, 26, 22), seed: int = 0) -> npt.NDArray[np.float32]:
    random = np.random.default_rng(seed)
    at = np.stack(np.meshgrid(*[np.linspace(-1, 1, n) for n in shape], indexing="ij"))
    radius = np.sqrt((at[:3] ** 2).sum(axis=0))
    tissue = np.select([radius < 0.4, radius < 0.8], [300.0, 180.0], 40.0)
    return (tissue * np.exp(0.3 * at[0]) + random.normal(0, 2, shape)).astype(np.float32)


_SERVE = """
import json, os, sys
from ants.internal import get_lib_fn
run = get_lib_fn("N4BiasFieldCorrection")
answers = os.fdopen(os.dup(1), "w")
os.dup2(2, 1)
for line in sys.stdin:
    folder, words = json.loads(line)
    child = os.fork()
    if child == 0:
        os.chdir(folder)
        try:
            os._exit(run(words))
        except BaseException:  # of ITK's, with which the program ends with status 1
            os._exit(1)
    print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]), file=answers, flush=True)
"""


def once(*arguments: str) -> subprocess.CompletedProcess[str]:
    """Run the program as a process: its status, and what it prints."""
    command = [sys.executable, str(PROGRAM), *arguments]
    return subprocess.run(
        command, env=_environment(), capture_output=True, text=True, timeout=300, check=False
    )


def status(*arguments: str) -> int:
    """Run the program in this working folder, for its exit status alone.

    Many calls are quick: they are forks of a process that has loaded ANTs once.
    """
    server = _server()
    server.stdin.write(json.dumps((os.getcwd(), arguments)) + "\n")
    server.stdin.flush()
    return int(server.stdout.readline())


def run(*arguments: str) -> None:
    """Run the program, which must succeed."""
    assert status(*arguments) == 0, arguments


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
