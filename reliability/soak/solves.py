"""Thousands of solves in one process, as varied as they come, and what is left of them."""

import json
import sys
import tempfile
from collections.abc import Callable, Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np

import n4ax
from reliability.soak.leaks import repeat

SHAPES = ((12, 10), (16, 14, 3), (9, 8, 7), (6, 20, 11), (1, 12, 13), (14, 12, 10), (28, 28, 27))
"""The last has enough voxels for two threads."""

TYPES = ("float32", "float64", "int16", "uint8", ">i2", "float16", "bool")

SETTINGS: tuple[dict[str, Any], ...] = (
    {},
    {"arithmetic": "itk", "itk_version": 5},
    {"arithmetic": "itk", "itk_version": 6, "itk_work_units": 3},
    {"accelerate": True, "conv_threshold": 0},
    {"shrink_factor": 2, "spline_order": 2},
    {"scale": "minmax", "outside": "keep"},
    {"non_positive": "offset", "mask": "all"},
    {"convergence": "exact", "nonfinite": "exclude"},
    {"engine": "xla"},
)

CASES = 63
"""So many different solves follow one another again and again, so that caches fill early."""


def solve(n: int, *, with_xla: bool) -> bool:
    """Do the n-th solve; tell whether it was refused, as some are."""
    rng = np.random.default_rng(n % CASES)
    shape = SHAPES[n % len(SHAPES)]
    image = rng.gamma(3, 40, shape).astype(TYPES[n % CASES // len(SETTINGS)])
    settings = {"iters": (2, 1), "num_threads": 1 + n % 2, **SETTINGS[n % len(SETTINGS)]}
    if with_xla:
        settings = {"iters": (2, 1), "engine": "xla"}
    elif settings.get("engine") == "xla":
        settings["engine"] = "cpu"
    try:
        _call(n % 5, image, settings, rng)
    except ValueError:
        return True
    return False


def solve_on_xla(n: int) -> None:
    """Do one of two solves on XLA, each of which is compiled once."""
    solve(n % 2 * CASES, with_xla=True)


def _call(kind: int, image: Any, settings: dict[str, Any], rng: np.random.Generator) -> None:
    """Call one of the functions of Python."""
    if kind == 0:
        n4ax.n4(image, **settings)
    elif kind == 1:
        result = n4ax.fit(image, **settings)
        assert result.convergence
        assert result.log_bias.shape == image.shape
    elif kind == 2:
        settings["mask"] = rng.random(image.shape) < 0.7
        n4ax.n4(image, weights=rng.random(image.shape), **settings)
    elif kind == 3:
        settings.pop("mask", None)
        n4ax.n4_batch([image, image[::-1]], **settings)
    else:
        series = np.stack([image, image], axis=-1) if image.ndim == 3 else image
        n4ax.n4(series, series="mean" if image.ndim == 3 else None, **settings)


def run_command(n: int, folder: Path) -> None:
    """Call the command line inside this process: it corrects, applies a field, or refuses."""
    from n4ax.cli import main

    image, output, field = (str(folder / name) for name in ("i.nii.gz", "o.nii.gz", "f.npz"))
    quick = ["--iters", "2", "-q"]
    words = (
        ["correct", image, "-o", output, *quick],
        ["correct", image, "-o", output, *quick, "--field", field],
        ["apply", field, image, "-o", output, "-q"],
        ["correct", str(folder / "missing.nii"), "-q"],
        ["ants", "-d", "3", "-i", image, "-o", output, "-c", "[2,0]"],
    )[n % 5]
    main(words)


def soak(solves: int, commands: int, xla: int, say: Callable[[str], None]) -> dict[str, Any]:
    """Solve, run commands, and solve on XLA; what each left behind."""
    found: dict[str, Any] = {}
    with tempfile.TemporaryDirectory() as name:
        tempfile.tempdir = name
        folder = Path(tempfile.mkdtemp())
        image = np.random.default_rng(0).gamma(3, 40, (14, 12, 10)).astype(np.float32)
        nib.save(nib.Nifti1Image(image, np.eye(4)), folder / "i.nii.gz")
        found["solves"] = repeat(lambda n: solve(n, with_xla=False), solves, say)
        if commands:
            found["commands"] = repeat(lambda n: run_command(n, folder), commands, say)
        if xla and find_spec("jax"):
            found["solves on XLA"] = repeat(solve_on_xla, xla, say)
        tempfile.tempdir = None
    return found


def main(words: Sequence[str]) -> None:
    """Soak, and print what is left."""
    sys.stderr.flush()
    print(json.dumps(soak(*map(int, words), lambda text: print(text, file=sys.stderr, flush=True))))


if __name__ == "__main__":
    main(sys.argv[1:])
