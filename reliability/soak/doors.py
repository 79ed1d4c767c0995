"""What is done while memory runs out: the commands and the functions of Python, on small images."""

import hashlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
import numpy.typing as npt

Door = Callable[[Path], list[Any]]
"""Works on an image, in Python or by ``image.nii.gz`` of a folder; returns arrays and paths."""

SIZE = (48, 44, 40)
"""The shape of most images; with 20000 voxels or more, two threads work on them."""

_sizes = [SIZE]

QUICK = {"iters": (3, 2), "num_threads": 2}


class CommandError(Exception):
    """A command ended with a status that is not 0."""


@contextmanager
def use_size(size: tuple[int, ...]) -> Iterator[None]:
    """Have the doors work on images of this shape in the block."""
    _sizes.append(size)
    try:
        yield
    finally:
        _sizes.pop()


def make_image(seed: int = 0) -> npt.NDArray[np.float32]:
    """Make an image with a shading, and a background around it."""
    return _make_image(_sizes[-1], seed)


@cache
def _make_image(size: tuple[int, ...], seed: int) -> npt.NDArray[np.float32]:
    rng = np.random.default_rng(seed)
    places = np.meshgrid(*[np.linspace(-1, 1, n) for n in size], indexing="ij")
    inside = sum(place**2 for place in places) < 0.9
    tissue = 100 + 60 * (np.sin(4 * places[0]) > 0) + rng.normal(0, 4, size)
    return np.where(inside, tissue * np.exp(0.3 * places[-1]), 2).astype(np.float32)


def write_image(folder: Path) -> None:
    """Write the image that the doors read."""
    nib.save(nib.Nifti1Image(make_image(), np.diag([2.0, 2.0, 2.0, 1.0])), folder / "image.nii.gz")


def correct(folder: Path) -> list[Any]:
    """Run ``n4ax correct``."""
    from n4ax.cli import main

    words = ["--iters", "3x2", "--num-threads", "2", "-q"]
    outputs = [folder / "out" / "corrected.nii.gz", folder / "out" / "field.nii.gz"]
    files = ["-o", str(outputs[0]), "--bias", str(outputs[1])]
    _expect_success(main(["correct", str(folder / "image.nii.gz"), *files, *words]))
    return outputs


def ants(folder: Path) -> list[Any]:
    """Run ``n4ax-N4BiasFieldCorrection``."""
    from n4ax.ants.program import main

    output = folder / "out" / "corrected.nii.gz"
    words = ["-d", "3", "-s", "1", "-c", "[3x2,0]", "-i", str(folder / "image.nii.gz")]
    _expect_success(main([*words, "-o", str(output)]))
    return [output]


def fit(folder: Path, **settings: Any) -> list[Any]:  # noqa: ARG001
    """Call :func:`n4ax.fit`, and take the field and the measures from the result."""
    import n4ax

    result = n4ax.fit(make_image(), **QUICK | settings)
    return [result.corrected, result.log_bias, *result.convergence]


def itk(folder: Path) -> list[Any]:
    """Call :func:`n4ax.fit` with ITK's arithmetic."""
    return fit(folder, arithmetic="itk")


def accelerated(folder: Path) -> list[Any]:
    """Call :func:`n4ax.fit` with the accelerated schedule."""
    return fit(folder, accelerate=True, conv_threshold=0)


def batch(folder: Path) -> list[Any]:  # noqa: ARG001
    """Call :func:`n4ax.n4_batch` on two images."""
    import n4ax

    images = [make_image(seed=seed) for seed in (0, 1)]
    return n4ax.n4_batch(images, **QUICK)


DOORS: dict[str, Door] = {
    "n4ax correct": correct,
    "n4ax-N4BiasFieldCorrection": ants,
    "fit": fit,
    "fit (ITK's arithmetic)": itk,
    "fit (accelerated)": accelerated,
    "n4_batch": batch,
}


def _expect_success(status: int) -> None:
    if status:
        raise CommandError(str(status))


def digest(results: list[Any]) -> str:
    """Make a digest of what a door returned; of files, of the content that they store."""
    found = hashlib.sha256()
    for result in results:
        content = nib.load(result).dataobj if isinstance(result, Path) else result
        found.update(np.ascontiguousarray(content).tobytes())
    return found.hexdigest()[:16]
