"""Masks made larger or smaller by a distance in mm."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

_ROUNDING = 1e-6
"""How far a distance may lie above the radius by rounding, relative to it."""


def dilate(
    mask: npt.NDArray[np.bool_], radius: float, voxel_sizes: Sequence[float]
) -> npt.NDArray[np.bool_]:
    """Add to a mask all voxels whose centre is at most so far from one of its voxels.

    Parameters
    ----------
    mask
        The mask, of any shape.
    radius
        The distance in mm. A negative one removes the voxels that lie so near to the outside; what
        is beyond the image is not outside.
    voxel_sizes
        The size of a voxel along each axis, in mm.

    Returns
    -------
    array of bool
        The mask, in the same shape.
    """
    if radius < 0:
        return ~dilate(~mask, -radius, voxel_sizes)
    # A radius beyond the image changes nothing, and its square might overflow.
    radius = min(radius, float(np.dot(mask.shape, np.minimum(voxel_sizes, np.finfo("f4").max))))
    squared = np.where(mask, np.float32(0), np.float32(np.inf))
    for axis, size in enumerate(voxel_sizes):
        squared = _find_nearest(np.moveaxis(squared, axis, 0), size, radius)
        squared = np.moveaxis(squared, 0, axis)
    return squared <= radius**2 * (1 + _ROUNDING)


def _find_nearest(squared: npt.NDArray[Any], size: float, radius: float) -> npt.NDArray[Any]:
    """The least squared distance to the mask, once moves along the first axis are allowed too.

    The squared distance in space is the sum of those along the axes, so that one axis after
    another can be searched (Felzenszwalb and Huttenlocher 2012).
    """
    nearest = squared.copy()
    steps = min(int(radius / size * (1 + _ROUNDING)), len(squared) - 1)
    for step in range(1, steps + 1):
        cost = np.float32((step * size) ** 2)
        np.minimum(nearest[step:], squared[:-step] + cost, out=nearest[step:])
        np.minimum(nearest[:-step], squared[step:] + cost, out=nearest[:-step])
    return nearest
