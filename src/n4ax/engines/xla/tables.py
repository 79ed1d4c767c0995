"""The spline tables of all levels, padded to the finest mesh so that levels share one program."""

from collections.abc import Callable
from functools import lru_cache
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from n4ax.method.bspline import AxisBasis, refinement_matrix
from n4ax.method.grid import Axis


class Tables(NamedTuple):
    """Bases and knot halving of all levels; one array per axis.

    Attributes
    ----------
    weights, fit_weights, squares
        As in :class:`n4ax.method.bspline.AxisBasis`, of shape (levels, control points, n).
    refinement
        Matrices from the previous level to each level, of shape (levels, control points, control
        points).
    """

    weights: tuple[Any, ...]
    fit_weights: tuple[Any, ...]
    squares: tuple[Any, ...]
    refinement: tuple[Any, ...]


@lru_cache(maxsize=16)
def make_level_tables(
    axes: tuple[Axis, ...], control_points: tuple[int, ...], order: int, levels: int, version: int
) -> Tables:
    """Make the tables for the samples of ``axes``.

    Parameters
    ----------
    axes
        How the image is sampled.
    control_points
        Control points along each axis at the first level.
    order
        Order of the spline.
    levels
        Number of levels; each has twice the elements of the previous one.
    version
        The version of ITK whose knot halving it is.
    """
    counts = [[(count - order) * 2**level + order for level in range(levels)]
              for count in control_points]  # fmt: skip
    bases = [
        [axis.sample_basis(points, order) for points in own]
        for axis, own in zip(axes, counts, strict=True)
    ]

    def stack(weights_of: Callable[[AxisBasis], npt.NDArray[Any]]) -> tuple[Any, ...]:
        return tuple(
            np.stack(
                [_pad(basis.dense(weights_of(basis)), own[-1].control_points) for basis in own]
            )
            for own in bases
        )

    return Tables(
        weights=stack(lambda basis: basis.weights),
        fit_weights=stack(lambda basis: basis.fit_weights),
        squares=stack(lambda basis: basis.squares),
        refinement=tuple(_stack_refinements(own, order, version) for own in counts),
    )


def _stack_refinements(counts: list[int], order: int, version: int) -> npt.NDArray[Any]:
    """Stack the knot halvings of one axis with ``counts`` control points at the levels."""
    finer = [refinement_matrix(count, order, version) for count in counts[:-1]]
    halvings = [np.eye(counts[0]), *finer]
    return np.stack([_pad(halving, counts[-1], counts[-1]) for halving in halvings])


def _pad(matrix: npt.NDArray[Any], *shape: int) -> npt.NDArray[Any]:
    """Pad a matrix with zeros to ``shape``; axes beyond those given keep their length."""
    wanted = (*shape, *matrix.shape[len(shape) :])
    return np.pad(matrix, [(0, n - own) for n, own in zip(wanted, matrix.shape, strict=True)])
