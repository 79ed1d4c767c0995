"""A field on one grid: evaluated there, or divided out of an image, in the field's arithmetic."""

from collections.abc import Callable, Sequence
from functools import partial
from math import prod
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from n4ax.engines.cpu.threads import Threads
from n4ax.errors import InputError
from n4ax.method.grid import Axis
from n4ax.settings import Arithmetic, ItkTool
from n4ax.settings.checks import check_whole_numbers

MOST_VOXELS = 1 << 36
"""The most voxels of a grid: a field on it takes 256 GiB."""

Bases = list[Any]
"""The spline on each axis of a grid, in the form of the engine; ``part`` cuts it."""


class Spline(NamedTuple):
    """The spline of a field, with its axes in ITK's order.

    Attributes
    ----------
    control_points, order, axes, arithmetic, itk_tool
        As for :class:`n4ax.BiasField`.
    """

    control_points: npt.NDArray[np.float32]
    order: int
    axes: Sequence[Axis]
    arithmetic: Arithmetic
    itk_tool: ItkTool


class GridField(NamedTuple):
    """A field on one grid.

    Attributes
    ----------
    bases
        The spline on each axis.
    evaluate
        Evaluates the field: ``evaluate(bases, threads)``, where the bases may be those of a part
        of the grid.
    divide
        Divides an image by the exponential of the field: ``divide(image, bases, threads)``.
    """

    bases: Bases
    evaluate: Callable[[Bases, Threads], npt.NDArray[np.float32]]
    divide: Callable[[npt.NDArray[Any], Bases, Threads], npt.NDArray[Any]]


def read_shape(shape: Any) -> tuple[int, ...]:
    """Read the shape of a grid.

    Raises
    ------
    ValueError
        It is no such thing, or no memory could hold the grid.
    """
    lengths = check_whole_numbers("shape", shape, least=1)
    if not lengths:
        raise InputError("{shape} is {0!r}; expected the number of voxels on each axis", shape)
    if prod(lengths) > MOST_VOXELS:
        raise InputError(
            "{shape} is {0!r}; expected a grid of at most {1:.2g} voxels", shape, MOST_VOXELS
        )
    return lengths


def lay_on_grid(spline: Spline, counts: Sequence[int]) -> GridField:
    """Lay a field on a grid with so many voxels on each axis, in ITK's order."""
    lattice, order = spline.control_points, spline.order
    places = list(zip(spline.axes, counts, lattice.shape, strict=True))
    if spline.arithmetic == "itk":
        from n4ax.engines.itk import field as itk
        from n4ax.engines.itk.bases import make_image_table

        return GridField(
            [make_image_table(axis, count, points, order) for axis, count, points in places],
            partial(itk.evaluate, lattice),
            partial(itk.divide, lattice, _has_single_exponential(spline, counts)),
        )
    from n4ax.engines.cpu import field as cpu

    return GridField(
        [axis.stretched_basis(count, points, order) for axis, count, points in places],
        partial(cpu.evaluate, lattice),
        partial(cpu.divide, lattice),
    )


def _has_single_exponential(spline: Spline, counts: Sequence[int]) -> bool:
    """Whether the tool divides by an exponential in single precision on this grid."""
    own = tuple(axis.count for axis in spline.axes)
    return is_divided_in_filter(spline.itk_tool, spline.axes) and own == tuple(counts)


def is_divided_in_filter(tool: ItkTool, axes: Sequence[Axis]) -> bool:
    """Whether ITK's N4 filter itself divides the image, by an exponential in single precision.

    It does where SimpleITK corrects an image that was not shrunk. Everyone else takes the field to
    the full resolution, and then calls ITK's filter for exponentials.
    """
    return tool == "simpleitk" and all(
        axis.shrink == 1 and axis.padded == axis.count for axis in axes
    )
