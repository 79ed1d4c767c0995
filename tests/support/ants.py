"""ANTs' own program as the oracle: the code in ANTsPy, run in a separate process."""

import json
import os
import subprocess
import sys
from functools import cache
from importlib.util import find_spec
from pathlib import Path
from typing import Any, NamedTuple

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
import ants, numpy
from ants.internal import get_lib_fn
run = get_lib_fn("N4BiasFieldCorrection")
def call(path):
    given = numpy.load(path)
    images = {}
    for name in ("image", "mask", "weight_mask"):
        if name in given:
            place = {key: tuple(given[key].tolist()) for key in ("spacing", "origin")}
            images[name] = ants.from_numpy(given[name], direction=given["direction"], **place)
    keywords = json.loads(str(given["keywords"]))
    found = [
        ants.n4_bias_field_correction(**images, **keywords, return_bias_field=bias).numpy()
        for bias in (False, True)
    ]
    numpy.savez(path, corrected=found[0], bias=found[1])
    return 0
answers = os.fdopen(os.dup(1), "w")
os.dup2(2, 1)
for line in sys.stdin:
    folder, words, variables = json.loads(line)
    child = os.fork()
    if child == 0:
        os.chdir(folder)
        os.environ.clear()
        os.environ.update(variables)  # ITK reads them when it is first used
        try:
            os._exit(call(*words[1:]) if words[0] == "call" else run(words))
        except BaseException:  # the program ends with status 1 if ITK raises an exception
            os._exit(1)
    print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]), file=answers, flush=True)
"""


def _need_ants() -> None:
    if find_spec("ants") is None:
        import pytest

        pytest.skip("ANTsPy is not installed")


def run_process(*arguments: str, threads: int = THREADS) -> subprocess.CompletedProcess[str]:
    """Run the program as a process, and return its status and what it prints."""
    _need_ants()
    return subprocess.run(
        [sys.executable, str(PROGRAM), *arguments],
        env=_make_environment(threads),
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )


def run_for_status(*arguments: str, threads: int = THREADS) -> int:
    """Run the program in the working folder, and return its exit status.

    Calls are quick, because each is a fork of one process that has loaded ANTs.
    """
    return run_with_variables(_make_environment(threads), *arguments)


def run_with_variables(variables: dict[str, str], *arguments: str) -> int:
    """Run the program as :func:`run_for_status` does, with these environment variables."""
    _need_ants()
    server = _start_server()
    server.stdin.write(json.dumps((os.getcwd(), arguments, variables)) + "\n")
    server.stdin.flush()
    return int(server.stdout.readline())


def run(*arguments: str, threads: int = THREADS) -> None:
    """Run the program, and assert that it succeeds."""
    assert run_for_status(*arguments, threads=threads) == 0, arguments


class Scan(NamedTuple):
    """An image with mask and weights, x first, and where they lie in space."""

    image: npt.NDArray[np.float32]
    mask: npt.NDArray[np.float32] | None
    weights: npt.NDArray[np.float32] | None
    spacing: tuple[float, ...]
    origin: tuple[float, ...]
    direction: npt.NDArray[np.float64]


def call_function(
    scan: Scan, keywords: dict[str, Any], folder: Path, threads: int
) -> dict[str, npt.NDArray[np.float32]]:
    """The corrected image and the field of ``ants.n4_bias_field_correction``.

    It runs in a process that has that number of threads, since ITK reads it only once.
    """
    path = folder / f"call_{threads}.npz"
    arrays = {"image": scan.image, "mask": scan.mask, "weight_mask": scan.weights}
    given = {name: array for name, array in arrays.items() if array is not None}
    place = {"spacing": scan.spacing, "origin": scan.origin, "direction": scan.direction}
    np.savez(path, keywords=json.dumps(keywords), **given, **place)
    run("call", str(path), threads=threads)
    with np.load(path) as found:
        return {name: found[name] for name in ("corrected", "bias")}


@cache
def _start_server() -> Any:
    return subprocess.Popen(
        [sys.executable, "-c", _SERVE],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )


def _make_environment(threads: int = THREADS) -> dict[str, str]:
    return os.environ | {"ITK_GLOBAL_DEFAULT_NUMBER_OF_THREADS": str(threads)}


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
