"""How much memory images need, by what their headers say."""

from collections.abc import Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from math import prod
from pathlib import Path
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from n4ax.bids.inputs import Source
from n4ax.bids.recipe import Recipe
from n4ax.images.peek import read_header

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

_AT_A_TIME = 16
"""Headers that are read at a time: on a network's disk, waiting takes most of the time."""


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


def estimate_need(recipe: Recipe, group: Sequence[Source]) -> float:
    """How much memory images need that share a field, or one by itself, in GB.

    Only headers are read. The need is 0 if none of them can be read.
    """
    needs = [_estimate_file(recipe, source, len(group)) for source in group]
    return max(needs, default=0.0)


def find_largest(recipe: Recipe, groups: Iterable[Sequence[Source]]) -> Need:
    """Find what the largest image needs, and which it is.

    Parameters
    ----------
    recipe
        How the images are corrected.
    groups
        The images, those together that are to share a field.
    """
    listed = list(groups)
    with ThreadPoolExecutor(_AT_A_TIME) as pool:
        needs = pool.map(lambda group: estimate_need(recipe, group), listed)
        paths = (group[0].path for group in listed)
        found = [Need(need, path) for need, path in zip(needs, paths, strict=True)]
    return max(found, key=lambda need: need.gigabytes, default=Need(0.0, ""))


def _estimate_file(recipe: Recipe, source: Source, images: int) -> float:
    header = read_header(Path(recipe.dataset / source.path))
    try:
        shape = tuple(map(int, header.get_data_shape()))
        dtype = header.get_data_dtype()
    except Exception:  # what is wrong with the file is told when it is read
        return 0.0
    if not shape or min(shape) < 1:
        return 0.0
    return estimate_gigabytes(shape, dtype, images=images, each=recipe.series == "each")
