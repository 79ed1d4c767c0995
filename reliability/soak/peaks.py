"""The most memory that a solve holds at once, by counting what it asks for."""

import json
import sys
import tempfile
from collections.abc import Callable, Sequence
from math import prod
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np

import n4ax
from n4ax.bids.need import estimate_gigabytes
from n4ax.cli import main as run_command
from n4ax.images.axes import ImageAxes
from n4ax.images.mesh import lay_mesh
from n4ax.itk.space import Space
from n4ax.method.footprint import estimate_memory
from n4ax.settings import N4Settings
from reliability.soak.doors import make_image, use_size
from reliability.soak.hook import load_hook

QUICK = {"iters": (2, 2), "num_threads": 1}
"""One thread, so that the same pieces are held at the same time in every run."""

SIZES = {"short": ((72, 64, 56),), "full": ((96, 88, 80), (160, 144, 128), (300, 280, 1))}

SETTINGS: dict[str, dict[str, Any]] = {
    "the defaults": {},
    'mask "all"': {"mask": "all"},
    "shrink factor 4": {"shrink_factor": 4},
    "accelerated": {"accelerate": True, "conv_threshold": 0},
    "ITK's arithmetic": {"arithmetic": "itk"},
}

TYPES = ("int16", "float32", "float64")

COMMANDS: dict[str, list[str]] = {
    "the defaults": [],
    "--mask all": ["--mask", "all"],
    "--dtype same": ["--dtype", "same"],
    "--arithmetic itk": ["--arithmetic", "itk"],
    "--shrink-factor 2": ["--shrink-factor", "2"],
}

MESHES = (12, 24, 40)
"""Elements along each axis at the first of two levels, of an image of 40 x 44 x 48 voxels."""


def count_peak(work: Callable[[], Any]) -> int:
    """The most bytes that are held at once during some work, besides those before it."""
    hook = load_hook()
    before = hook.soak_live()
    hook.soak_reset_peak()
    work()
    return hook.soak_peak() - before


def count_solve(kind: str, settings: dict[str, Any]) -> float:
    """The peak of :func:`n4ax.n4` in bytes per voxel, the result counted and the image not."""
    image = make_image().astype(kind)
    return count_peak(lambda: n4ax.n4(image, **QUICK, **settings)) / image.size


def count_command(kind: str, words: list[str], folder: Path) -> tuple[float, float]:
    """The peak of ``n4ax correct`` on a compressed file in bytes per voxel, and what is promised.

    The promise is that of :mod:`n4ax.bids.need`, less its share for a process that does nothing.
    """
    image = make_image()
    path, output = folder / "image.nii.gz", folder / "corrected.nii.gz"
    nib.save(nib.Nifti1Image(image.clip(0).astype(kind), np.eye(4)), path)
    given = ["correct", str(path), "-o", str(output), "-q", "--iters", "2x2", "--num-threads", "1"]
    peak = count_peak(lambda: run_command([*given, *words]))
    promised = estimate_gigabytes(image.shape, kind) - estimate_gigabytes((0, 0, 0), kind)
    return peak / image.size, promised * 1e9 / image.size


def count_mesh(elements: int) -> tuple[int, int]:
    """The bytes that a mesh takes besides those of a coarse one, and what is estimated."""
    with use_size((40, 44, 48)):
        image = make_image()
    peaks = [
        count_peak(lambda mesh=mesh: n4ax.n4(image, "all", mesh=mesh, conv_threshold=0, **QUICK))
        for mesh in (1, elements)
    ]
    settings = N4Settings(mesh=elements, iters=QUICK["iters"])
    place = Space.from_spacing([1.0] * image.ndim)
    grid, points = lay_mesh(ImageAxes.of(image.shape, "C"), place, settings)
    levels = len(settings.iters)
    return peaks[1] - peaks[0], estimate_memory(grid, points, settings.spline_order, levels)


def measure(budget: str) -> dict[str, Any]:
    """Measure the peaks on images of some shapes, after one solve that fills caches."""
    solves, commands = [], []
    with tempfile.TemporaryDirectory() as name:
        with use_size((20, 18, 16)):
            _measure_shape(Path(name))
        for size in SIZES[budget]:
            with use_size(size):
                found = _measure_shape(Path(name))
            shape = " x ".join(map(str, size))
            solves += [{"shape": shape, **row} for row in found[0]]
            commands += [{"shape": shape, **row} for row in found[1]] if prod(size[2:]) > 1 else []
    meshes = [
        {"elements": n, "peak": peak, "promised": most}
        for n in MESHES
        for peak, most in [count_mesh(n)]
    ]
    return {"solves": solves, "commands": commands, "meshes": meshes}


def _measure_shape(folder: Path) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    solves = [
        {"settings": name} | {kind: round(count_solve(kind, one), 2) for kind in TYPES}
        for name, one in SETTINGS.items()
    ]
    commands = []
    for name, words in COMMANDS.items():
        for kind in TYPES:
            peak, promised = count_command(kind, words, folder)
            row = {"options": name, "type": kind, "peak": round(peak, 2)}
            commands.append(row | {"promised": round(promised, 2)})
    return solves, commands


def find_broken(measured: dict[str, Any]) -> list[dict[str, Any]]:
    """The rows whose peak is above what is promised."""
    rows = [*measured["commands"], *measured["meshes"]]
    return [row for row in rows if row["peak"] > row["promised"]]


def main(words: Sequence[str]) -> None:
    """Measure the peaks, and print them."""
    print(json.dumps(measure(words[0])))


if __name__ == "__main__":
    main(sys.argv[1:])
