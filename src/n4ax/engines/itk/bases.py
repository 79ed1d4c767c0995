"""Spline tables of the axes with ITK's bits, in the form that the kernels take."""

from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from n4ax.itk.bspline import (
    compute_fit_weights,
    compute_grid_weights,
    find_fit_coordinates,
    find_grid_coordinates,
)
from n4ax.method.grid import Axis


class AxisTable(NamedTuple):
    """The spline on one axis: for each voxel, its first control point and the weights from it on.

    ``weights`` has shape (n, order + 1): float64 for the fit, float32 for evaluation.
    """

    first: npt.NDArray[np.int64]
    weights: npt.NDArray[np.floating]

    def part(self, voxels: slice) -> "AxisTable":
        """The table of some of the voxels."""
        return AxisTable(self.first[voxels].copy(), self.weights[voxels].copy())


def make_fit_table(axis: Axis, control_points: int, order: int) -> AxisTable:
    """Make the table for the fit to the samples of an axis that lie on the image."""
    p = find_fit_coordinates(axis.position, axis.samples, control_points - order)
    table = AxisTable(np.floor(p).astype(np.int64), compute_fit_weights(p, order))
    return table.part(slice(axis.inside.start, axis.inside.stop))


def make_sample_table(axis: Axis, control_points: int, order: int) -> AxisTable:
    """Make the table for the field at the samples of an axis that lie on the image."""
    spacing = axis.position.step
    table = make_grid_table(axis.samples, control_points, order, spacing)
    return table.part(slice(axis.inside.start, axis.inside.stop))


def make_image_table(axis: Axis, count: int, control_points: int, order: int) -> AxisTable:
    """Make the table for the field on an image that has ``count`` voxels on an axis."""
    spacing = axis.position.step / axis.shrink
    if count == axis.count:
        table = make_grid_table(axis.padded, control_points, order, spacing)
        return table.part(slice(axis.lower, axis.lower + count))
    if axis.padded > axis.count or count == 1:  # no tool of ITK has such a grid
        basis = axis.stretched_basis(count, control_points, order)
        return AxisTable(basis.first, basis.weights)
    return make_grid_table(count, control_points, order, spacing * axis.count / count)


def make_grid_table(count: int, control_points: int, order: int, spacing: float) -> AxisTable:
    """Make the table for the field on a grid of ``count`` voxels of a size in mm."""
    p = find_grid_coordinates(count, control_points - order, spacing)
    return AxisTable(np.floor(p).astype(np.int64), compute_grid_weights(p, order))
