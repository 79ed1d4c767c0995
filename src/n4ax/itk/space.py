"""Where an image lies in space, in the double arithmetic of ITK's images.

Needed for nothing but ITK's choice of samples when it shrinks an image, which goes through
physical points (:func:`n4ax.method.grid.sampled_axes`), and for telling whether two images lie
on the same grid. Axes are in ITK's order: the one that runs fastest comes first.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from math import floor
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from n4ax.itk.linpack import inverse

Point = Sequence[float]

EXACT, TOLERATED = 1e-6, 1e-3
"""Tolerance of headers, ITK's and ours: parts of a voxel, and of a unit vector."""


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
    def plain(cls, spacing: Sequence[float]) -> "Space":
        """Voxels of a size, from the origin along the axes of space."""
        n = len(spacing)
        return cls(tuple(map(float, spacing)), (0.0,) * n, _rows(np.eye(n)))

    @classmethod
    def of_affine(cls, affine: npt.ArrayLike, ndim: int) -> "Space":
        """From voxel indices to mm in nibabel's convention (RAS), shape (4, 4).

        Axes beyond the third have size 1; a column of zeros keeps its own direction.
        """
        matrix = np.asarray(affine, np.float64) * np.array([[-1.0], [-1.0], [1.0], [1.0]])
        sizes, origin, direction = np.ones(ndim), np.zeros(ndim), np.eye(ndim)
        spatial = min(ndim, 3)
        origin[:spatial] = matrix[:spatial, 3]
        for axis in range(spatial):
            length = float(np.linalg.norm(matrix[:3, axis]))
            if length:
                sizes[axis] = length
                direction[:spatial, axis] = matrix[:spatial, axis] / length
        return cls(tuple(sizes.tolist()), tuple(origin.tolist()), _rows(direction))

    def affine(self) -> npt.NDArray[np.float64] | None:
        """From voxel indices to mm in nibabel's convention (RAS); ``None`` beyond 3 axes."""
        n = len(self.spacing)
        if n > 3:
            return None
        affine = np.eye(4)
        affine[:n, :n] = self._to_points
        affine[:n, 3] = self.origin
        return np.diag([-1.0, -1.0, 1.0, 1.0]) @ affine

    def upright(self) -> "Space":
        """The same voxel size and origin, along the axes of space."""
        return Space(self.spacing, self.origin, _rows(np.eye(len(self.spacing))))

    def kept(self, axes: Sequence[int]) -> "Space":
        """The same along some of the axes; upright where what is left has no inverse."""
        part = Space(
            spacing=tuple(self.spacing[axis] for axis in axes),
            origin=tuple(self.origin[axis] for axis in axes),
            direction=tuple(tuple(self.direction[row][axis] for axis in axes) for row in axes),
        )
        return part if abs(np.linalg.det(part.direction)) > 1e-6 else part.upright()

    def coarser(self, factors: Sequence[int], origin: Sequence[float]) -> "Space":
        """Voxels that are larger by ``factors``, from another origin."""
        spacing = tuple(s * f for s, f in zip(self.spacing, factors, strict=True))
        return Space(spacing, tuple(origin), self.direction)

    def point_at(self, index: Point) -> tuple[float, ...]:
        """The physical point of a position between voxels."""
        # The sum before the origin is added, as ITK does for continuous indices only.
        return tuple(
            _plus(0.0, row, index) + origin
            for row, origin in zip(self._to_points, self.origin, strict=True)
        )

    def point_of(self, voxel: Sequence[int]) -> tuple[float, ...]:
        """The physical point of a voxel."""
        return tuple(
            _plus(origin, row, voxel)
            for row, origin in zip(self._to_points, self.origin, strict=True)
        )

    def voxel_at(self, point: Point) -> tuple[int, ...]:
        """The voxel nearest to a physical point; halves go up."""
        away = [p - o for p, o in zip(point, self.origin, strict=True)]
        return tuple(floor(_plus(0.0, row, away) + 0.5) for row in self._to_voxels)

    def differs_from(self, other: "Space", tolerance: float) -> str | None:
        """What differs by more than ``tolerance`` (of a voxel, and of a unit vector), in words."""
        for name, ours, theirs, scale in (
            ("origins", self.origin, other.origin, self.spacing[0]),
            ("voxel sizes", self.spacing, other.spacing, self.spacing[0]),
            ("directions", sum(self.direction, ()), sum(other.direction, ()), 1.0),
        ):
            if not np.abs(np.subtract(ours, theirs)).max() <= tolerance * scale:
                return f"{name} {_in_words(ours)} and {_in_words(theirs)}"
        return None

    @cached_property
    def _to_points(self) -> list[list[float]]:
        return [[d * s for d, s in zip(row, self.spacing, strict=True)] for row in self.direction]

    @cached_property
    def _to_voxels(self) -> list[list[float]]:
        matrix: npt.NDArray[np.float64] = inverse(self._to_points)
        return matrix.tolist()


class Spaces(NamedTuple):
    """Where an image, its mask and its weights lie in space.

    The three are on one grid, but where a sample falls midway between voxels, the last digits of
    their headers decide for each by itself which voxel is taken.
    """

    image: Space
    mask: Space
    weights: Space


def check_same_place(name: str, space: Space, other_name: str, other: Space) -> None:
    """Refuse what lies elsewhere by more than a thousandth of a voxel.

    Raises
    ------
    ValueError
        It names both, and what differs.
    """
    gap = space.differs_from(other, TOLERATED)
    if gap is not None:
        raise ValueError(
            f"{name} and {other_name} do not occupy the same physical space: {gap}. Resample one "
            "onto the other, or, if only its header is wrong, copy the header"
        )


def without_last_ones(shape: tuple[int, ...], least: int = 0) -> tuple[int, ...]:
    """A shape without the axes of length 1 at its end, but for the ``least`` first."""
    while len(shape) > least and shape[-1] == 1:
        shape = shape[:-1]
    return shape


def _plus(start: float, row: Sequence[float], values: Sequence[float]) -> float:
    """``start`` and the products of a row, added one by one (the builtin sum compensates)."""
    for factor, value in zip(row, values, strict=True):
        start += factor * value
    return start


def _rows(matrix: npt.NDArray[np.float64]) -> tuple[tuple[float, ...], ...]:
    return tuple(tuple(row) for row in matrix.tolist())


def _in_words(values: Sequence[float]) -> str:
    return "(" + ", ".join(f"{value:.6g}" for value in values) + ")"
