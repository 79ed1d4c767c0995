"""Uniform B-splines on a lattice of control points: basis, knot halving, fit quotient.

An axis of ``n`` voxels is stretched over the spans of the mesh, ``p = spans * i / (n - 1)``;
in span ``s`` the control points ``s .. s + order`` are felt. The fit is that of Lee, Wolberg
and Shin (1997), one level of it: with tensor-product weights ``t`` and ``w2`` the sum of their
squares around a voxel,

    phi = delta / omega,   delta = sum(c z t^3 / w2),   omega = sum(c t^2)

for residuals ``z`` and confidences ``c``. Since both ``t^3 / w2`` and ``t^2`` are products of
one factor per axis, the fit is separable, and so is the evaluation.

References
----------
S. Lee, G. Wolberg, S. Y. Shin, "Scattered Data Interpolation with Multilevel B-Splines",
IEEE Transactions on Visualization and Computer Graphics 3(3), 1997, doi:10.1109/2945.620490.
"""

from dataclasses import dataclass
from math import comb
from typing import Any

import numpy as np
import numpy.typing as npt

EDGE_IN_VOXELS = 1e-3
"""ITK moves a coordinate at the upper end of the domain inwards by this part of a voxel."""

EMPTY_OMEGA = 0.1 * float(np.finfo(np.float32).eps)
"""A control point with no more than this weight is not touched by any voxel (ITK)."""


REFINEMENT_ROUNDING = {
    1: ((3e-9, -5e-9), (-5.8e-8, 0.0)),
    2: ((-4.5e-8, -2.03e-7, 2.7e-8), (-6.5e-8, -1.17e-7, 0.0)),
    3: ((0.0, 0.0, 8.6e-8, 0.0), (7.5e-8, 2.38e-7, 7.5e-8, -8e-9)),
    4: ((-8.4e-8, -5.96e-7, -4.68e-7, -1.11e-7, 0.0), (-6.5e-8, -4.04e-7, -2.0e-7, -5.5e-8, 0.0)),
    5: (
        (-3.0e-8, -5.94e-7, -1.23e-7, 1.24e-7, -1.5e-8, 0.0),
        (1.8e-8, 1.0e-8, 2.11e-7, 5.9e-8, -2.1e-8, 0.0),
    ),
}
"""Per order, the errors of ITK's knot halving, for even and odd control points.

ITK finds the weights of the halving by a float32 singular value decomposition, off by up to
6e-7. These were measured from SimpleITK 2.5.7: the field before a level of no iterations less
the field after it, fitted on 160 random images (standard errors 1e-9 to 3e-9). Without them the
field is off by some 1e-7 from one level to the next.
"""


@dataclass(frozen=True)
class AxisBasis:
    """The basis along one axis of ``n`` voxels: ``order + 1`` weights a voxel.

    Attributes
    ----------
    first
        First control point felt by each voxel, shape (n,), int64.
    weights
        Weights of the control points ``first .. first + order``, shape (n, order + 1),
        float32: ITK evaluates the kernel in double and keeps it in float.
    control_points
        Number of control points on the axis.
    """

    first: npt.NDArray[np.int64]
    weights: npt.NDArray[np.float32]
    control_points: int

    @property
    def fit_weights(self) -> npt.NDArray[np.float64]:
        """``t^3 / w2`` along the axis: what a residual adds to delta, shape (n, order + 1)."""
        weights = self.weights.astype(np.float64)
        return weights**3 / np.sum(weights**2, axis=1, keepdims=True)

    @property
    def squares(self) -> npt.NDArray[np.float64]:
        """``t^2`` along the axis: what a voxel adds to omega, shape (n, order + 1)."""
        return self.weights.astype(np.float64) ** 2

    def part(self, voxels: slice) -> "AxisBasis":
        """The basis on some of the voxels."""
        first = np.ascontiguousarray(self.first[voxels])
        return AxisBasis(first, np.ascontiguousarray(self.weights[voxels]), self.control_points)

    def dense(self, weights: npt.NDArray[np.floating]) -> npt.NDArray[np.floating]:
        """``weights`` (n, order + 1) as a matrix of shape (control_points, n)."""
        count, terms = weights.shape
        matrix = np.zeros((self.control_points, count), weights.dtype)
        for k in range(terms):
            matrix[self.first + k, np.arange(count)] = weights[:, k]
        return matrix


def index_stretch(count: int, spans: int) -> npt.NDArray[np.float32]:
    """Parametric coordinates of an axis of ``count`` voxels: first to last over all spans.

    Follows ITK's float32 arithmetic and its epsilon at the upper end.
    """
    if count == 1:
        return np.zeros(1, np.float32)
    one = np.float32(1)
    p = np.float32(spans) * np.arange(count, dtype=np.float32) / (np.float32(count) * one - one)
    edge = np.float32(EDGE_IN_VOXELS * spans / (count - 1))
    return np.where(np.abs(p - np.float32(spans)) <= edge, np.float32(spans) - edge, p)


def basis_at(p: npt.NDArray[np.floating], control_points: int, order: int) -> AxisBasis:
    """The basis at parametric coordinates ``p`` in [0, spans], shape (n,)."""
    spans = control_points - order
    first = np.clip(np.floor(p).astype(np.int64), 0, spans - 1)
    weights = uniform_bspline(p.astype(np.float64) - first, order)
    return AxisBasis(first, weights.astype(np.float32), control_points)


def axis_basis(count: int, control_points: int, order: int) -> AxisBasis:
    """The basis on an axis of ``count`` voxels under ITK's index stretch."""
    return basis_at(index_stretch(count, control_points - order), control_points, order)


def uniform_bspline(u: npt.NDArray[np.float64], order: int) -> npt.NDArray[np.float64]:
    """The ``order + 1`` uniform B-splines that are not zero at ``u`` in [0, 1] of a span.

    Cox-de Boor on integer knots, for all orders: raising the degree ``d`` blends neighbours
    with ``(u + d - k) / d`` and ``(1 - u + k) / d``. Shape (n, order + 1), float64.
    """
    values = np.ones((len(u), 1))
    for degree in range(1, order + 1):
        higher = np.zeros((len(u), degree + 1))
        for k in range(degree):
            rising = (u + (degree - 1 - k)) / degree
            higher[:, k] += (1.0 - rising) * values[:, k]
            higher[:, k + 1] += rising * values[:, k]
        values = higher
    return values


def refinement_matrix(control_points: int, order: int) -> npt.NDArray[np.float64]:
    """Knot halving along one axis, n to 2n - order control points: the two-scale relation.

    Shape (2n - order, n). For order 3 its rows alternate (4, 4)/8 and (1, 6, 1)/8.
    """
    finer = 2 * control_points - order
    matrix = np.zeros((finer, control_points))
    for row in range(finer):
        for column in range(control_points):
            j = row - 2 * column + order
            if 0 <= j <= order + 1:
                matrix[row, column] = comb(order + 1, j) / 2**order
    return matrix


def refine(lattice: npt.NDArray[np.float32], order: int) -> npt.NDArray[np.float32]:
    """The same spline on a mesh of half the spacing, on every axis, with ITK's rounding."""
    finer = lattice.astype(np.float64)
    for axis, count in enumerate(lattice.shape):
        finer = along_axis(itk_refinement_matrix(count, order), finer, axis)
    return finer.astype(np.float32)


def itk_refinement_matrix(control_points: int, order: int) -> npt.NDArray[np.float64]:
    """Knot halving along one axis as ITK does it, shape (2n - order, n)."""
    exact = refinement_matrix(control_points, order)
    return exact + _refinement_rounding(control_points, order)


def _refinement_rounding(control_points: int, order: int) -> npt.NDArray[np.float64]:
    """What ITK's refinement matrix has more than the exact one, shape (2n - order, n)."""
    matrix = np.zeros((2 * control_points - order, control_points))
    for row in range(len(matrix)):
        for k, error in enumerate(REFINEMENT_ROUNDING[order][row % 2]):
            if row // 2 + k < control_points:
                matrix[row, row // 2 + k] = error
    return matrix


def along_axis(
    matrix: npt.NDArray[np.floating], array: npt.NDArray[np.floating], axis: int
) -> npt.NDArray[np.floating]:
    """``matrix`` (m, n) applied to ``axis`` (of length n) of ``array``."""
    return np.moveaxis(np.tensordot(matrix, array, axes=(1, axis)), 0, axis)


def fit_quotient(delta: Any, omega: Any) -> Any:
    """``delta / omega`` in float32, and 0 where no voxel is felt or the quotient is none.

    Arrays are NumPy's or JAX's.
    """
    xp = delta.__array_namespace__()
    with np.errstate(all="ignore"):
        delta32, omega32 = delta.astype(xp.float32), omega.astype(xp.float32)
        felt = omega32 > EMPTY_OMEGA
        phi = delta32 / xp.where(felt, omega32, xp.float32(1))
    return xp.where(felt & xp.isfinite(phi), phi, xp.float32(0))
