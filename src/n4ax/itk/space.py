"""Where an image lies in space, in the double arithmetic of ITK's images.

Two things need it: the choice of samples when an image is shrunk, which goes through physical
points (:mod:`n4ax.itk.shrink`), and the check that two images lie on the same grid. Axes are in
ITK's order: the axis that runs fastest in memory comes first.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from math import floor, isfinite, sqrt
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from n4ax.itk.linpack import invert

Point = Sequence[float]


class Position(NamedTuple):
    """Where samples lie along an axis of an image, in ITK's terms.

    The point of index ``i`` is ``origin + step * i``, and the first sample has index ``start``.
    """

    origin: float
    """Position of index 0 in mm."""
    step: float
    """Distance of neighbouring samples in mm."""
    start: int
    """Index of the first sample, which is negative in padding."""


ITK_TOLERANCE, OUR_TOLERANCE = 1e-6, 1e-3
"""How far the headers of two images on one grid may differ: a fraction of a voxel for positions
and voxel sizes, and an absolute difference for the elements of directions."""


@dataclass(frozen=True)
class Space:
    """Voxel size, origin and directions of an image, in ITK's convention (LPS).

    Attributes
    ----------
    spacing
        Voxel size in mm along each axis.
    origin
        Position of voxel 0 in mm.
    direction
        Unit vectors of the axes, one per column, as a tuple of rows.
    """

    spacing: tuple[float, ...]
    origin: tuple[float, ...]
    direction: tuple[tuple[float, ...], ...]

    @classmethod
    def from_spacing(cls, spacing: Sequence[float]) -> "Space":
        """Voxels of the given size in mm, from the origin along the axes of space."""
        n = len(spacing)
        return cls(tuple(map(float, spacing)), (0.0,) * n, _rows(np.eye(n)))

    @classmethod
    def from_affine(cls, affine: npt.ArrayLike, ndim: int) -> "Space":
        """The place that an affine of nibabel describes.

        It is where ITK places a NIfTI file that nibabel writes with this affine. Such a file holds
        float32, and where samples fall midway between voxels, the last digits decide which voxels
        are taken.

        Parameters
        ----------
        affine
            Voxel indices to mm (RAS), shape (4, 4). An axis whose column is zero keeps a voxel
            size of 1 and its own direction.
        ndim
            Number of axes of the image. Axes beyond the third have a voxel size of 1.
        """
        exact = np.asarray(affine, np.float64)
        with np.errstate(over="ignore", invalid="ignore"):  # infinite places are refused later
            matrix = np.diag([-1.0, -1.0, 1.0, 1.0]) @ exact.astype(np.float32).astype(np.float64)
            lengths = np.sqrt((exact[:3, :3] ** 2).sum(axis=0)).astype(np.float32)
        sizes, origin, direction = np.ones(ndim), np.zeros(ndim), np.eye(ndim)
        spatial = min(ndim, 3)
        origin[:spatial] = matrix[:spatial, 3]
        for axis in range(spatial):
            sizes[axis] = lengths[axis] or 1.0
            if matrix[:spatial, axis].any():
                direction[:spatial, axis] = normalise(matrix[:spatial, axis])
        return cls(tuple(sizes.tolist()), tuple(origin.tolist()), _rows(direction))

    def to_affine(self) -> npt.NDArray[np.float64] | None:
        """Voxel indices to mm as in nibabel (RAS), shape (4, 4); ``None`` beyond 3 axes."""
        n = len(self.spacing)
        if n > 3:
            return None
        affine = np.eye(4)
        affine[:n, :n] = self._to_points
        affine[:n, 3] = self.origin
        return np.diag([-1.0, -1.0, 1.0, 1.0]) @ affine

    def straighten(self) -> "Space":
        """The same voxel size and origin, with directions along the axes of space."""
        return Space(self.spacing, self.origin, _rows(np.eye(len(self.spacing))))

    def select_axes(self, axes: Sequence[int]) -> "Space":
        """The same place with only some of the axes.

        The directions are those along the axes of space where the remaining ones have no inverse.
        """
        part = Space(
            spacing=tuple(self.spacing[axis] for axis in axes),
            origin=tuple(self.origin[axis] for axis in axes),
            direction=tuple(tuple(self.direction[row][axis] for axis in axes) for row in axes),
        )
        return part if abs(np.linalg.det(part.direction)) > 1e-6 else part.straighten()

    def coarsen(self, factors: Sequence[int], origin: Sequence[float]) -> "Space":
        """Voxels that are larger by ``factors``, starting at another origin."""
        spacing = tuple(s * f for s, f in zip(self.spacing, factors, strict=True))
        return Space(spacing, tuple(origin), self.direction)

    def locate_position(self, index: Point) -> tuple[float, ...]:
        """The physical point of a position that may lie between voxels."""
        # The origin is added last, as ITK does for continuous indices only.
        return tuple(
            _add_products(0.0, row, index) + origin
            for row, origin in zip(self._to_points, self.origin, strict=True)
        )

    def locate_voxel(self, voxel: Sequence[int]) -> tuple[float, ...]:
        """The physical point of a voxel's centre."""
        return tuple(
            _add_products(origin, row, voxel)
            for row, origin in zip(self._to_points, self.origin, strict=True)
        )

    def find_voxel(self, point: Point) -> tuple[int, ...]:
        """The voxel nearest to a physical point; halves are rounded up.

        Raises
        ------
        ValueError
            The image lies nowhere: its origin is not finite.
        """
        offset = [p - o for p, o in zip(point, self.origin, strict=True)]
        found = [_add_products(0.0, row, offset) + 0.5 for row in self._to_voxels]
        if not all(map(isfinite, found)):
            origin = ", ".join(f"{value:g}" for value in self.origin)
            raise ValueError(
                f"the image has an origin that is not finite ({origin}): correct it in its header"
            )
        return tuple(map(floor, found))

    def describe_difference(self, other: "Space", tolerance: float) -> str | None:
        """The first property that differs by more than ``tolerance``, in words; else ``None``.

        The tolerance is a fraction of a voxel for positions and voxel sizes, and an absolute
        difference for the elements of directions.
        """
        for name, ours, theirs, scale in (
            ("origins", self.origin, other.origin, self.spacing[0]),
            ("voxel sizes", self.spacing, other.spacing, self.spacing[0]),
            ("directions", sum(self.direction, ()), sum(other.direction, ()), 1.0),
        ):
            if not np.abs(np.subtract(ours, theirs)).max() <= tolerance * scale:
                return f"{name} {_format(ours)} and {_format(theirs)}"
        return None

    @cached_property
    def _to_points(self) -> list[list[float]]:
        return [[d * s for d, s in zip(row, self.spacing, strict=True)] for row in self.direction]

    @cached_property
    def _to_voxels(self) -> list[list[float]]:
        matrix: npt.NDArray[np.float64] = invert(self._to_points)
        return matrix.tolist()


class Spaces(NamedTuple):
    """Where an image, its mask and its weights lie in space.

    The three are on one grid. But where a sample falls midway between voxels, the last digits of
    each header decide which voxel is taken, so the choice may differ between them.
    """

    image: Space
    mask: Space
    weights: Space


def check_same_place(name: str, space: Space, other_name: str, other: Space) -> None:
    """Refuse images that lie more than a thousandth of a voxel apart.

    Raises
    ------
    ValueError
        The message names both images and says what differs.
    """
    gap = space.describe_difference(other, OUR_TOLERANCE)
    if gap is not None:
        raise ValueError(
            f"{name} and {other_name} do not occupy the same physical space: {gap}. Resample one "
            "onto the other, or, if only its header is wrong, copy the header"
        )


def normalise(column: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """A vector divided by its length as in ITK, which adds the squares one by one.

    A vector so short that its squares are 0 stays as it is.
    """
    values = column.tolist()
    length = sqrt(_add_products(0.0, values, values))
    with np.errstate(invalid="ignore"):
        return column / length if length else column


def drop_last_ones(shape: tuple[int, ...], least: int = 0) -> tuple[int, ...]:
    """A shape without the axes of length 1 at its end; the first ``least`` axes are kept."""
    while len(shape) > least and shape[-1] == 1:
        shape = shape[:-1]
    return shape


def _add_products(start: float, row: Sequence[float], values: Sequence[float]) -> float:
    """``start`` plus the products of two vectors, added one by one.

    Python's ``sum`` and ``math.sumprod`` would compensate for rounding, which ITK does not.
    """
    for factor, value in zip(row, values, strict=True):
        start += factor * value
    return start


def _rows(matrix: npt.NDArray[np.float64]) -> tuple[tuple[float, ...], ...]:
    return tuple(tuple(row) for row in matrix.tolist())


def _format(values: Sequence[float]) -> str:
    return "(" + ", ".join(f"{value:.6g}" for value in values) + ")"
