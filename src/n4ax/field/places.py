"""Where the voxels of a grid lie in the domain of a field: by ITK's index stretch, or in space."""

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from n4ax.errors import InputError
from n4ax.itk.space import drop_last_ones
from n4ax.method.grid import Axis

SAME_PLACE = 1e-3
"""Grids whose corners lie less than this part of a voxel apart are one grid."""

SPATIAL = 3

Affine = npt.NDArray[np.float64]
"""Voxel indices to mm, shape (4, 4)."""

Points = npt.NDArray[np.float64]
"""Positions along one axis, or along all axes, shape (axes, points)."""


def stretch_voxels(axis: Axis, voxels: Points, count: int, spans: int) -> Points:
    """The parametric coordinates of voxels of a grid that is stretched over the whole image.

    Parameters
    ----------
    axis
        The axis of the field.
    voxels
        Positions on an axis of ``count`` voxels, which may lie between two of them.
    count
        Number of voxels of the grid.
    spans
        Number of mesh elements.
    """
    own = axis.lower + voxels * ((axis.count - 1) / (count - 1))
    return np.clip(spans * own / (axis.padded - 1), 0.0, float(spans))


def to_own_voxels(own: Affine | None, affine: Affine, voxels: Points) -> Points:
    """Turn voxel indices of a grid into those of the image that a field was estimated on.

    Parameters
    ----------
    own, affine
        The affine of that image, and the affine of the grid.
    voxels
        Voxel indices of the grid, shape (axes, points).

    Returns
    -------
    array, shape (3, points)

    Raises
    ------
    ValueError
        The field has no affine, or the grid has more than three axes.
    """
    if own is None:
        raise InputError(
            "{affine} is given, and the field does not know where its own image lies: estimate "
            "it with n4ax.fit(..., affine=...)"
        )
    if affine.shape != (4, 4) or len(voxels) > SPATIAL:
        raise InputError("{affine} has shape {0}; expected (4, 4), for 2 or 3 axes", affine.shape)
    between = np.linalg.solve(own, affine)
    points = np.zeros((3, voxels.shape[1]))
    points[: len(voxels)] = voxels
    return between[:3, :3] @ points + between[:3, 3:]


def is_one_grid(
    shape: Sequence[int], affine: Affine | None, other_shape: Sequence[int], other: Affine | None
) -> bool:
    """Whether two grids are one; an affine that is not known does not tell them apart."""
    if drop_last_ones(tuple(shape)) != drop_last_ones(tuple(other_shape)):
        return False
    if affine is None or other is None:
        return True
    return find_distance(affine, other, shape) <= SAME_PLACE


def find_distance(one: Affine, other: Affine, shape: Sequence[int]) -> float:
    """The largest distance between the corners of two grids of a shape, in voxels."""
    gaps = find_corners(one, shape) - find_corners(other, shape)
    voxel = np.sqrt((one[:3, :3] ** 2).sum(axis=0)).min()
    return float(np.sqrt((gaps**2).sum(axis=0)).max() / voxel)


def find_corners(affine: Affine, shape: Sequence[int]) -> Points:
    """The places of the first and the last voxels of a grid, in mm, shape (3, 8)."""
    lengths = (*shape[:SPATIAL], 1, 1)[:SPATIAL]
    ends = np.array(np.meshgrid(*[(0, n - 1) for n in lengths], indexing="ij"))
    return affine[:3, :3] @ ends.reshape(3, -1) + affine[:3, 3:]


def lie_apart(one: Points, other: Points) -> bool:
    """Whether two grids, given by their corners, have no place in common."""
    below = other.max(axis=1) < one.min(axis=1)
    return bool((below | (other.min(axis=1) > one.max(axis=1))).any())


def describe_place(corners: Points) -> str:
    """Say between which coordinates a grid lies."""
    ends = zip("xyz", corners.min(axis=1), corners.max(axis=1), strict=True)
    return ", ".join(f"{name} {low:.0f} to {high:.0f}" for name, low, high in ends) + " mm"
