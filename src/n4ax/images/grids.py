"""The grid of voxels of an image, as its header says it."""

from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from n4ax.itk.space import Space, check_same_place, drop_last_ones


class Grid(NamedTuple):
    """What the header of an image says of its voxels.

    Attributes
    ----------
    shape
        The number of voxels along each axis.
    kind
        The type of the voxels in the file.
    affine
        Voxel indices to mm, shape (4, 4).
    """

    shape: tuple[int, ...]
    kind: np.dtype[Any]
    affine: npt.NDArray[np.float64]

    def take_volume(self) -> "Grid":
        """The grid of one volume of a series."""
        return self._replace(shape=self.shape[:3])


def check_same_grid(path: Path, grid: Grid, other_path: Path, other: Grid) -> None:
    """Refuse a file that does not lie on the grid of another.

    Axes of length 1 at the end of either shape do not count.

    Raises
    ------
    ValueError
        The file has another shape, or lies more than a thousandth of a voxel away; the message
        names both files.
    """
    if drop_last_ones(grid.shape) != drop_last_ones(other.shape):
        raise ValueError(
            f"{path} has shape {grid.shape} and {other_path} has shape {other.shape}: "
            "resample one onto the other first"
        )
    if np.array_equal(grid.affine, other.affine) and np.isfinite(grid.affine).all():
        return
    spaces = (Space.from_affine(one.affine, 3) for one in (grid, other))
    check_same_place(str(path), next(spaces), str(other_path), next(spaces))


def check_kind(kind: np.dtype[Any], path: Path) -> None:
    """Refuse a file whose voxels are not real numbers.

    Raises
    ------
    ValueError
        They are not; the message says what they are.
    """
    if kind.kind not in "biuf":
        name = "colours" if kind.names else f"type {kind}"
        raise ValueError(f"{path} has voxels of {name}; expected real numbers")
