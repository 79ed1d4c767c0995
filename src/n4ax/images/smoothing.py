"""Smooth an image on a coarse grid."""

from collections.abc import Sequence
from math import sqrt

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]

_PASSES = 3
"""So many box filters come close to a Gaussian."""


def smooth(values: Floats, reach: Sequence[float]) -> Floats:
    """Smooth an image about as a Gaussian does; what is beyond the image counts as 0.

    Parameters
    ----------
    values
        The image.
    reach
        The standard deviation along each axis, in voxels.
    """
    for axis, deviation in enumerate(reach):
        # A box of n voxels has the variance (n^2 - 1) / 12; n is odd.
        half = round((sqrt(1 + 12 / _PASSES * deviation**2) - 1) / 2)
        for _ in range(_PASSES if half else 0):
            values = _average(values, axis, half)
    return values


def _average(values: Floats, axis: int, half: int) -> Floats:
    """The mean of each voxel and of ``half`` voxels on either side along an axis."""
    rows = np.moveaxis(values, axis, 0)
    sums = np.zeros((len(rows) + 1, *rows.shape[1:]))
    np.cumsum(rows, axis=0, out=sums[1:])
    places = np.arange(len(rows))
    above = np.minimum(places + half + 1, len(rows))
    below = np.maximum(places - half, 0)
    return np.moveaxis((sums[above] - sums[below]) / (2 * half + 1), 0, axis)
