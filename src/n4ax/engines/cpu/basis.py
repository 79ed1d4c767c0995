"""B-spline bases in the form that the CPU kernels take, with all leading axes as one."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from n4ax.engines.cpu.kernels.layout import Basis
from n4ax.method.bspline import AxisBasis


def stack_basis(bases: list[AxisBasis], weights: Sequence[npt.NDArray[np.floating]]) -> Basis:
    """Combine the bases of all axes, with ``weights`` (n, order + 1) per axis.

    All leading axes become one axis of planes.
    """
    *leading, y, x = bases
    control, product = _combine_leading(leading, weights[:-2])
    return Basis(
        control,
        product,
        y.first,
        np.ascontiguousarray(weights[-2], np.float32),
        np.ascontiguousarray(x.dense(weights[-1]), np.float64),
        _find_support(x),
    )


def stack_planes(array: npt.NDArray[Any]) -> npt.NDArray[Any]:
    """Return a view of ``array`` with its leading axes as one."""
    return array.reshape(-1, *array.shape[-2:])


def _combine_leading(
    leading: list[AxisBasis], weights: Sequence[npt.NDArray[np.floating]]
) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.float64]]:
    """For each plane of the grid, the lattice planes that reach it and the weights' products."""
    control, product = np.zeros((1, 1), np.int64), np.ones((1, 1))
    for basis, weight in zip(leading, weights, strict=True):
        terms = basis.first[:, None] + np.arange(weight.shape[1])
        control = control[:, None, :, None] * basis.control_points + terms[None, :, None, :]
        product = product[:, None, :, None] * weight.astype(np.float64)[None, :, None, :]
        planes = control.shape[0] * control.shape[1]
        control, product = control.reshape(planes, -1), product.reshape(planes, -1)
    return np.ascontiguousarray(control), np.ascontiguousarray(product)


def _find_support(basis: AxisBasis) -> npt.NDArray[np.int64]:
    """Find the voxels where each control point's weight may differ from 0: first and stop."""
    order = basis.weights.shape[1] - 1
    points = np.arange(basis.control_points)
    return np.stack(
        [
            np.searchsorted(basis.first, points - order, side="left"),
            np.searchsorted(basis.first, points, side="right"),
        ],
        axis=1,
    )
