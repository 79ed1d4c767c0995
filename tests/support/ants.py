"""ANTs' own program as the oracle: the code in ANTsPy, run in a separate process."""

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
"""With many threads, the float32 sums of ITK come close to the true sums."""

PROGRAM = Path(__file__)
"""This file, which is ANTs' program if it is run as a script."""

SPACING = (2.0, 2.0, 2.5)

MEAN, LARGEST = 1e-5, 5e-5
"""Bounds on the differences of the log field inside the mask and of the corrected image
(relative), where ANTs' results are reproducible to within these bounds."""

NOISE_FACTOR = 4
"""Elsewhere, the bound is this many times the largest difference between results of ANTs on inputs
one ulp apart."""

CEILING = 2e-3
"""No difference may be larger than this, unless ANTs differs from itself by more."""


def phantom(shape: tuple[int, ...] = (28, 26, 22), seed: int = 0) -> npt.NDArray[np.float32]:
    """A noisy head of three tissues with a bias along the first axis."""
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
        except BaseException:  # the program ends with status 1 if ITK raises an exception
            os._exit(1)
    print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]), file=answers, flush=True)
"""


def run_process(*arguments: str) -> subprocess.CompletedProcess[str]:
    """Run the program as a process, and return its status and what it prints."""
    command = [sys.executable, str(PROGRAM), *arguments]
    return subprocess.run(
        command, env=_make_environment(), capture_output=True, text=True, timeout=300, check=False
    )


def run_for_status(*arguments: str) -> int:
    """Run the program in the working folder, and return its exit status.

    Calls are quick, because each is a fork of one process that has loaded ANTs.
    """
    server = _start_server()
    server.stdin.write(json.dumps((os.getcwd(), arguments)) + "\n")
    server.stdin.flush()
    return int(server.stdout.readline())


def run(*arguments: str) -> None:
    """Run the program, and assert that it succeeds."""
    assert run_for_status(*arguments) == 0, arguments


@cache
def _start_server() -> Any:
    return subprocess.Popen(
        [sys.executable, "-c", _SERVE],
        env=_make_environment(),
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )


def _make_environment() -> dict[str, str]:
    return os.environ | {"ITK_GLOBAL_DEFAULT_NUMBER_OF_THREADS": str(THREADS)}


def _run_as_program() -> int:
    sys.path.pop(0)  # otherwise ``ants`` would be this file
    from ants.internal import get_lib_fn

    try:
        status = get_lib_fn("N4BiasFieldCorrection")(sys.argv[1:])
    except RuntimeError as error:  # from ITK, where ANTs' own program ends with status 1
        print(error, file=sys.stderr)
        status = 1
    sys.stdout.flush()
    return status


if __name__ == "__main__":
    sys.exit(_run_as_program())
