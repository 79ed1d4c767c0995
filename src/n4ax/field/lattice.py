"""The control points of a field as ITK's N4 filter gives them, and back.

ITK's lattice has a place in space: the distance of its points, and the place of the first one
*without* the origin of the image, which ITK leaves out. It lies on the image that the filter was
given, which a caller may have padded and shrunk before.
"""

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from n4ax.errors import InputError
from n4ax.images.arguments import take_image
from n4ax.images.axes import ImageAxes
from n4ax.images.libraries import open_image
from n4ax.itk.space import Space
from n4ax.method.grid import Axis, sample_axes
from n4ax.settings import PerAxis, VoxelOrder

TOLERANCE = 1e-3
"""The lattice may differ from what the image asks for by this part of a mesh element."""


class ItkLattice(NamedTuple):
    """What ITK's ``GetLogBiasFieldControlPointLattice`` gives.

    Attributes
    ----------
    array
        The control points, float32, in the order of ITK's arrays: z, y, x.
    origin
        Position of the first control point in mm, less the origin of the image: x, y, z.
    spacing
        Distance of neighbouring control points in mm: x, y, z.
    direction
        Unit vectors of the axes, one per column, as in ITK (LPS).
    """

    array: npt.NDArray[np.float32]
    origin: tuple[float, ...]
    spacing: tuple[float, ...]
    direction: npt.NDArray[np.float64]


def make_lattice(parts: Mapping[str, Any]) -> ItkLattice:
    """Make ITK's lattice of the parts of a field whose axes are x, y, z."""
    points, order, shape = parts["control_points"], parts["order"], parts["shape"]
    spacing = [
        axis.position.step * (axis.samples - 1) / (count - order)
        for axis, count in zip(parts["axes"], points.shape, strict=True)
    ]
    direction = np.eye(len(spacing))
    if parts["affine"] is not None:
        kept = [number for number, n in enumerate(shape) if n != 1]
        whole = Space.from_affine(parts["affine"], len(shape))
        direction = np.array(whole.select_axes(kept).direction)
    origin = direction @ (-0.5 * (order - 1) * np.array(spacing))
    return ItkLattice(
        np.ascontiguousarray(points.T), tuple(origin.tolist()), tuple(spacing), direction
    )


def take_lattice(lattice: Any) -> ItkLattice:
    """Take a lattice: one of this module, or an image of the Python package ``itk``.

    Raises
    ------
    TypeError
        It is neither.
    """
    if isinstance(lattice, ItkLattice):
        return lattice
    if not hasattr(lattice, "GetPixel") or not hasattr(lattice, "GetLargestPossibleRegion"):
        raise TypeError(
            f"lattice is of type {type(lattice).__name__}; expected what to_itk_lattice gives, or "
            "an image of the package itk"
        )
    size = tuple(lattice.GetLargestPossibleRegion().GetSize())
    points = np.empty(size, np.float32)
    for index in np.ndindex(size):  # the package makes no array of such an image
        points[index] = lattice.GetPixel(list(index))[0]
    rows, axes = lattice.GetDirection().GetVnlMatrix(), range(len(size))
    return ItkLattice(
        np.ascontiguousarray(points.T),
        tuple(lattice.GetOrigin()),
        tuple(lattice.GetSpacing()),
        np.array([[rows.get(i, j) for j in axes] for i in axes]),
    )


def read_parts(
    lattice: Any,
    image: Any,
    spline_order: int,
    shrink_factor: PerAxis,
    padding: Sequence[Sequence[int]] | None,
    voxel_order: VoxelOrder,
) -> dict[str, Any]:
    """Find the parts of the field that ITK found on an image.

    The parameters and the errors are those of :meth:`n4ax.BiasField.from_itk_lattice`.
    """
    lattice = take_lattice(lattice)
    opened = open_image(take_image("image", image))
    order = opened.order or voxel_order
    shape = tuple(opened.voxels.shape)
    axes = ImageAxes.of(shape, order)
    last = len(shape) - 1
    kept = axes.kept if order == "F" else [last - axis for axis in reversed(axes.kept)]
    whole = opened.space or Space.from_spacing([1.0] * len(shape))
    space = whole.select_axes(kept)
    lengths = axes.turn(axes.lengths)[::-1]
    margins = _check_padding(padding, axes)
    shrink = axes.per_axis("shrink_factor", shrink_factor)[::-1]
    grid = sample_axes(lengths, shrink, margins, space)
    _check_geometry(lattice, grid, space, spline_order)
    return {
        "control_points": np.ascontiguousarray(axes.turn_array(lattice.array)),
        "order": spline_order,
        "shape": shape,
        "axes": axes.turn(grid[::-1]),
        "voxel_order": order,
        "affine": opened.affine,
        "axes_known": opened.order is not None,
    }


def _check_padding(
    padding: Sequence[Sequence[int]] | None, axes: ImageAxes
) -> list[tuple[int, int]]:
    """The voxels of padding along each axis that is kept, x first."""
    if padding is None:
        return [(0, 0)] * len(axes.kept)
    given = [tuple(map(int, margins)) for margins in padding]
    if len(given) == len(axes.shape):
        given = [given[axis] for axis in axes.kept]
    if len(given) != len(axes.kept) or any(len(m) != 2 or min(m) < 0 for m in given):
        raise InputError(
            "{padding} is {0!r}; expected the voxels before and after the image along each of its "
            "{1} axes",
            padding,
            len(axes.kept),
        )
    return [(margins[0], margins[1]) for margins in axes.turn(given)[::-1]]


def _check_geometry(lattice: ItkLattice, grid: Sequence[Axis], space: Space, order: int) -> None:
    """Check that a lattice covers the image as it was padded and shrunk."""
    points = lattice.array.shape[::-1]
    if len(points) != len(grid) or min(points) <= order:
        raise InputError(
            "{lattice} has shape {0}; expected {1} axes with at least {2} control points each, for "
            "{spline_order:{3}}",
            lattice.array.shape,
            len(grid),
            order + 1,
            order,
        )
    expected = [
        step * axis.shrink * (axis.samples - 1) / (n - order)
        for step, axis, n in zip(space.spacing, grid, points, strict=True)
    ]
    gaps = np.abs(np.divide(lattice.spacing, expected) - 1.0)
    if gaps.max() > TOLERANCE:
        raise InputError(
            "{lattice} has points {0} mm apart, and the image asks for {1} mm: give the "
            "{shrink_factor} and the {padding} of the image that ITK was given, and its "
            "{spline_order}",
            tuple(round(float(step), 4) for step in lattice.spacing),
            tuple(round(step, 4) for step in expected),
        )
    if np.abs(lattice.direction - np.array(space.direction)).max() > TOLERANCE:
        raise InputError(
            "{lattice} has other directions than the image: give the image that ITK was given"
        )
