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

SIZES = {"short": ((64, 56, 48),), "full": ((88, 80, 72), (160, 144, 128), (256, 224, 192))}

IDLE_GB = 0.12
"""What a process holds before it has read an image, by :mod:`n4ax.bids.need`."""

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

Row = tuple[str, str, str]
"""Of which door, with which settings, on which type of image."""

MESHES = (12, 24, 40)
"""Elements along each axis at the first of two levels, of an image of 40 x 44 x 48 voxels."""


def count_peak(work: Callable[[], Any]) -> int:
    """The most bytes that are held at once during some work, besides those before it."""
    hook = load_hook()
    before = hook.soak_live()
    hook.soak_reset_peak()
    work()
    return hook.soak_peak() - before


def count_solve(kind: str, settings: dict[str, Any]) -> int:
    """The peak of :func:`n4ax.n4` in bytes, the result counted and the image not."""
    image = make_image().astype(kind)
    return count_peak(lambda: n4ax.n4(image, **QUICK, **settings))


def count_command(kind: str, words: list[str], folder: Path) -> int:
    """The peak of ``n4ax correct`` on a compressed file in bytes."""
    path, output = folder / "image.nii.gz", folder / "corrected.nii.gz"
    nib.save(nib.Nifti1Image(make_image().clip(0).astype(kind), np.eye(4)), path)
    given = ["correct", str(path), "-o", str(output), "-q", "--iters", "2x2", "--num-threads", "1"]
    return count_peak(lambda: run_command([*given, *words]))


def promise(kind: str, size: Sequence[int]) -> float:
    """What :mod:`n4ax.bids.need` allows the work on an image, in bytes."""
    return (estimate_gigabytes(size, kind) - IDLE_GB) * 1e9


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
    """Measure the peaks on images of some shapes, after one round that fills caches."""
    rows: dict[str, list[dict[str, Any]]] = {"solves": [], "commands": []}
    with tempfile.TemporaryDirectory() as name:
        with use_size((20, 18, 16)):
            _measure_shape(Path(name))
        for size in SIZES[budget]:
            with use_size(size):
                found = _measure_shape(Path(name))
            for (door, way, kind), peak in found.items():
                row = {"shape": " x ".join(map(str, size)), "settings": way, "type": kind}
                row |= {"peak": peak, "each": round(peak / prod(size), 2)}
                most = {"promised": promise(kind, size)} if door == "commands" else {}
                rows[door].append(row | most)
    meshes = [(elements, *count_mesh(elements)) for elements in MESHES]
    names = ("elements", "peak", "promised")
    return {**rows, "meshes": [dict(zip(names, mesh, strict=True)) for mesh in meshes]}


def _measure_shape(folder: Path) -> dict[Row, int]:
    found = {
        ("solves", way, kind): count_solve(kind, one)
        for way, one in SETTINGS.items()
        for kind in TYPES
    }
    return found | {
        ("commands", way, kind): count_command(kind, words, folder)
        for way, words in COMMANDS.items()
        for kind in TYPES
    }


def find_broken(measured: dict[str, Any] | None) -> list[dict[str, Any]]:
    """The rows whose peak is above what is promised."""
    if measured is None:
        return []
    rows = [*measured["commands"], *measured["meshes"]]
    return [row for row in rows if row["peak"] > row["promised"]]


def main(words: Sequence[str]) -> None:
    """Measure the peaks, and print them."""
    print(json.dumps(measure(words[0])))


if __name__ == "__main__":
    main(sys.argv[1:])
