"""Random problems that N4 can solve, on tiny volumes of every kind that programs may differ on."""

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[Any]

LEAST, MOST = 6, 24
"""Voxels along an axis."""

DTYPES = ("f4", "f4", "f4", "f4", "f8", "i2", "u2", "u1", "i4", "u4", "i1", "i8", "u8")
SPACINGS = (1.0, 1.0, 0.5, 3.0, 0.7, 1.1, 1 / 3, 0.9375, 2.2, 5.5)


@dataclass(frozen=True)
class Problem:
    """An image with its mask and weights, where it lies, and the keywords of the correction.

    Axes, and keywords with a number for each axis, are in the order x, y, z.
    """

    voxels: Array
    mask: Array | None
    """Labels of type uint8; ``None`` if :attr:`word` says which voxels are used."""
    word: str
    """``"otsu"`` or ``"all"``."""
    weights: npt.NDArray[np.float32] | None
    affine: npt.NDArray[np.float64]
    """Voxel indices to mm, shape (4, 4), in RAS as in NIfTI."""
    keywords: dict[str, Any]

    @property
    def ndim(self) -> int:
        """The number of axes."""
        return self.voxels.ndim

    @property
    def inside(self) -> npt.NDArray[np.bool_]:
        """The mask as true and false; all voxels if there is only a word."""
        if self.mask is None:
            return np.ones(self.voxels.shape, bool)
        label = self.keywords.get("mask_label")
        return self.mask != 0 if label is None else self.mask == label


def make_problem(random: np.random.Generator) -> Problem:
    """A problem with the keywords that ANTs, SimpleITK and n4ax all know."""
    ndim = 2 if random.random() < 0.25 else 3
    shape = tuple(int(n) for n in random.integers(LEAST, MOST + 1, ndim))
    if random.random() < 0.3:  # where samples of even factors fall midway between two voxels
        shape = tuple(n - n % 2 for n in shape)
    radius, voxels = _draw_voxels(random, shape)
    keywords = _draw_keywords(random, shape)
    mask, word = _draw_mask(random, radius, keywords)
    weights = None
    if random.random() < 0.25:
        weights = np.clip(random.uniform(-0.1, 1.2, shape), 0, 1).astype(np.float32)
    return Problem(voxels, mask, word, weights, _draw_affine(random, ndim), keywords)


def _draw_voxels(
    random: np.random.Generator, shape: tuple[int, ...]
) -> tuple[npt.NDArray[np.float64], Array]:
    """Distances from the centre, and shaded tissues with noise, or noise alone, of any type."""
    at = np.stack(np.meshgrid(*[np.linspace(-1, 1, n) for n in shape], indexing="ij"))
    radius = np.sqrt((at**2).sum(axis=0))
    if random.random() < 0.75:
        tissue = np.select([radius < 0.35, radius < 0.6, radius < 0.9], [300.0, 210, 120], 15)
        waves = sum(
            random.normal(0, 0.2) * np.cos(random.uniform(0.5, 2.5) * axis + random.uniform(0, 6))
            for axis in at
        )
        values = tissue * np.exp(waves) + random.normal(0, random.uniform(0.5, 8), shape)
    else:
        values = random.gamma(random.uniform(0.5, 5), 40, shape)
    values[random.random(shape) < random.choice([0, 0.004])] = 0
    if random.random() < 0.7:
        values = np.maximum(values, random.choice([0.0, 1.0]))
    dtype = np.dtype(str(random.choice(DTYPES)))
    if dtype.kind == "f":
        voxels = values * 10.0 ** int(random.choice([0, 0, 0, -3, 4]))
    else:
        ends = np.iinfo(dtype)
        voxels = np.clip(np.rint(values), max(ends.min, -(2**20)), min(ends.max, 2**20))
    return radius, np.asfortranarray(voxels.astype(dtype))


def _draw_mask(
    random: np.random.Generator, radius: npt.NDArray[np.float64], keywords: dict[str, Any]
) -> tuple[Array | None, str]:
    choice = random.random()
    if choice < 0.3:
        return None, "all"
    if choice < 0.42:
        return None, "otsu"
    if choice < 0.52:  # few voxels
        return (random.random(radius.shape) < 0.1).astype(np.uint8), "all"
    mask = (radius < random.uniform(0.6, 1.3)).astype(np.uint8)
    mask[random.random(radius.shape) < random.choice([0.0, 0.02, 0.3])] = 0
    if choice > 0.85:
        mask[(radius < 0.5) & (mask > 0)] = 2
        keywords["mask_label"] = int(random.choice([1, 1, 2]))
    return mask, "all"


def _draw_affine(random: np.random.Generator, ndim: int) -> npt.NDArray[np.float64]:
    """Straight, flipped or oblique, with voxels of any size."""
    turn, kind = np.eye(3), random.integers(0, 4)
    if kind == 1:
        turn[:ndim, :ndim] *= random.choice([-1.0, 1.0], ndim)
    elif kind == 2:
        turn[:ndim, :ndim] = turn[:ndim, :ndim][random.permutation(ndim)]
    elif kind == 3:
        turn[:ndim, :ndim] = np.linalg.qr(random.normal(size=(ndim, ndim)))[0]
    affine = np.eye(4)
    sizes = random.choice(SPACINGS, 3) if random.random() < 0.7 else np.ones(3)
    sizes[ndim:] = 1
    affine[:3, :3] = turn * sizes
    affine[:ndim, 3] = random.normal(0, 80, ndim) if random.random() < 0.8 else 0.0
    return affine


def _draw_keywords(random: np.random.Generator, shape: tuple[int, ...]) -> dict[str, Any]:
    order = int(random.choice([3, 3, 3, 3, 1, 2, 4, 5]))
    levels = int(random.integers(1, 4))
    iters = [int(n) for n in random.integers(1, 7, levels)]
    if levels > 1 and random.random() < 0.1:
        iters[-1] = 0
    keywords: dict[str, Any] = {
        "iters": tuple(iters),
        "conv_threshold": float(random.choice([0.0, 0.0, 1e-4, 1e-3, 1e-2])),
        "nbins": int(random.choice([200, 200, 200, 128, 64, 300, 37])),
        "fwhm": float(random.choice([0.15, 0.15, 0.15, 0.1, 0.3, 0.05])),
        "wiener": float(random.choice([0.01, 0.01, 0.05, 0.001])),
        "spline_order": order,
        "mesh": 1,
    }
    if random.random() < 0.5:
        keywords["mesh"] = tuple(int(n) for n in random.integers(1, 4, len(shape)))
    if random.random() < 0.4:
        keywords["shrink_factor"] = int(random.integers(2, 4))
        if random.random() < 0.3:
            keywords["shrink_factor"] = tuple(int(n) for n in random.integers(1, 4, len(shape)))
    return keywords
