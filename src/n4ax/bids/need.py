"""How much memory images need, by what their headers say."""

from collections.abc import Iterable, Mapping, Sequence
from math import prod
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from n4ax.bids.inputs import Source
from n4ax.bids.recipe import Recipe
from n4ax.images.grids import Grid

_BASE_GB = 0.35
"""Memory in GB of a worker that has not done anything, with room for what is compiled."""

_FIRST, _FURTHER, _EACH, _SHARING = 36, 18, 34, 20
"""Bytes for each voxel, besides those of the file: of the volume that the field is estimated on, of
a further volume of a series, of one that has a field of its own, and of an image that shares a
field.

Measured as the greatest memory of a process that corrected one image from ``.nii.gz`` files: 64^3,
160^3, 256 x 256 x 192, 320 x 320 x 256 and 400 x 400 x 320 voxels of int16 and float64; series of
6, 20 and 100 volumes; 2 and 4 images with one field; other presets, masks and ``dtype="same"``.
A process had 0.12 GB before, and took 23 bytes for a voxel besides those of the file (34 with
``"same"``), 16 for one of a further volume (31 with ``"each"``) and 14 for one of a further image.
"""


class Need(NamedTuple):
    """What the largest image of a study needs.

    Attributes
    ----------
    gigabytes
        Memory in GB (10^9 bytes).
    path
        The image, relative to the dataset; the first of several that share a field.
    """

    gigabytes: float
    path: str


def estimate_gigabytes(
    shape: Sequence[int], dtype: npt.DTypeLike, *, images: int = 1, each: bool = False
) -> float:
    """How much memory a process needs to correct an image.

    Parameters
    ----------
    shape
        The number of voxels along each axis; from the fourth axis on, of volumes.
    dtype
        How the voxels are stored.
    images
        How many images of this shape share a field.
    each
        Whether each volume of a series has a field of its own.

    Returns
    -------
    float
        Memory in GB (10^9 bytes), rather too much than too little.
    """
    stored = np.dtype(dtype).itemsize
    voxels, volumes = prod(shape[:3]), prod(shape[3:])
    bytes_each = _FIRST + stored + (volumes - 1) * ((_EACH if each else _FURTHER) + stored)
    bytes_each += (images - 1) * (_SHARING + stored)
    return _BASE_GB + voxels * bytes_each / 1e9


def find_largest(
    recipe: Recipe,
    groups: Iterable[Sequence[Source]],
    headers: Mapping[str, Grid | Exception],
) -> Need:
    """Find what the largest image needs, and which it is.

    Parameters
    ----------
    recipe
        How the images are corrected.
    groups
        The images, those together that share a field.
    headers
        What :func:`n4ax.bids.headers.read_headers` finds. An image whose header cannot be read
        needs nothing.
    """
    needs = [Need(estimate_need(recipe, group, headers), group[0].path) for group in groups]
    return max(needs, key=lambda need: need.gigabytes, default=Need(0.0, ""))


def estimate_need(
    recipe: Recipe, group: Sequence[Source], headers: Mapping[str, Grid | Exception]
) -> float:
    """How much memory images need that share a field, or one by itself, in GB."""
    each = recipe.series == "each"
    grids = [headers.get(source.path) for source in group]
    needs = [
        estimate_gigabytes(grid.shape, grid.kind, images=len(group), each=each)
        for grid in grids
        if isinstance(grid, Grid)
    ]
    return max(needs, default=0.0)
