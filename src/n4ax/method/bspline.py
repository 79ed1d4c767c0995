"""Uniform B-splines on a lattice of control points: basis, knot halving, and the fit's quotient.

An axis of ``n`` voxels is stretched over the spans of the mesh, ``p = spans * i / (n - 1)``. In
span ``s`` the spline depends on the control points ``s .. s + order``. The fit is one level of
that of Lee, Wolberg and Shin (1997): with tensor-product weights ``t``, and ``w2`` the sum of
their squares around a voxel,

    phi = delta / omega,   delta = sum(c z t^3 / w2),   omega = sum(c t^2)

for residuals ``z`` and confidences ``c``. Since both ``t^3 / w2`` and ``t^2`` are products of one
factor per axis, the fit is separable, and so is the evaluation.

References
----------
S. Lee, G. Wolberg, S. Y. Shin, "Scattered Data Interpolation with Multilevel B-Splines",
IEEE Transactions on Visualization and Computer Graphics 3(3), 1997, doi:10.1109/2945.620490.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from math import comb, prod
from typing import Any

import numpy as np
import numpy.typing as npt

from n4ax.itk.versions import find_halving_weights
from n4ax.namespaces import find_namespace

EDGE_IN_VOXELS = 1e-3
"""ITK moves a coordinate at the upper end of the domain inwards by this fraction of a voxel."""

EMPTY_OMEGA = 0.1 * float(np.finfo(np.float32).eps)
"""Control points with an omega up to this value stay 0, because no voxel reaches them (ITK)."""


@dataclass(frozen=True, eq=False)
class AxisBasis:
    """The basis along one axis of ``n`` voxels, with ``order + 1`` weights for each voxel.

    Attributes
    ----------
    first
        The first control point that each voxel depends on, shape (n,), int64.
    weights
        The weights of the control points ``first .. first + order``, shape (n, order + 1),
        float32, because ITK evaluates the kernel in float64 and stores it in float32.
    control_points
        Number of control points on the axis.
    """

    first: npt.NDArray[np.int64]
    weights: npt.NDArray[np.float32]
    control_points: int

    @property
    def fit_weights(self) -> npt.NDArray[np.float64]:
        """The weights of residuals in delta, ``t^3 / w2``, shape (n, order + 1)."""
        weights, squares = self.weights.astype(np.float64), self.squares
        # The squares of float32 numbers are exact. So the cubes are rounded once, while
        # the last digits of NumPy's power depend on the processor.
        return weights * squares / np.sum(squares, axis=1, keepdims=True)

    @property
    def squares(self) -> npt.NDArray[np.float64]:
        """The weights of voxels in omega, ``t^2``, shape (n, order + 1)."""
        return self.weights.astype(np.float64) ** 2

    def part(self, voxels: slice) -> "AxisBasis":
        """The basis at some of the voxels."""
        first = np.ascontiguousarray(self.first[voxels])
        return AxisBasis(first, np.ascontiguousarray(self.weights[voxels]), self.control_points)

    def dense(self, weights: npt.NDArray[np.floating]) -> npt.NDArray[np.floating]:
        """``weights`` (n, order + 1) as a matrix of shape (control_points, n)."""
        count, terms = weights.shape
        matrix = np.zeros((self.control_points, count), weights.dtype)
        for k in range(terms):
            matrix[self.first + k, np.arange(count)] = weights[:, k]
        return matrix


def stretch_indices(count: int, spans: int) -> npt.NDArray[np.float32]:
    """Parametric coordinates of ``count`` voxels, stretched from the first to the last span.

    They follow ITK's float32 arithmetic and its epsilon at the upper end. Shape (count,), float32.
    """
    if count == 1:
        return np.zeros(1, np.float32)
    one = np.float32(1)
    p = np.float32(spans) * np.arange(count, dtype=np.float32) / (np.float32(count) * one - one)
    edge = np.float32(EDGE_IN_VOXELS * spans / (count - 1))
    return np.where(np.abs(p - np.float32(spans)) <= edge, np.float32(spans) - edge, p)


def basis_at(p: npt.NDArray[np.floating], control_points: int, order: int) -> AxisBasis:
    """The basis at the parametric coordinates ``p`` in [0, spans], shape (n,)."""
    spans = control_points - order
    first = np.clip(np.floor(p).astype(np.int64), 0, spans - 1)
    weights = uniform_bspline(p.astype(np.float64) - first, order)
    return AxisBasis(first, weights.astype(np.float32), control_points)


def axis_basis(count: int, control_points: int, order: int) -> AxisBasis:
    """The basis on an axis of ``count`` voxels, stretched as in ITK."""
    return basis_at(stretch_indices(count, control_points - order), control_points, order)


def uniform_bspline(u: npt.NDArray[np.float64], order: int) -> npt.NDArray[np.float64]:
    """The ``order + 1`` uniform B-splines that are not zero in a span, at ``u`` in [0, 1].

    This is the Cox-de Boor recursion on integer knots, for all orders: the step to degree ``d``
    blends neighbours with ``(u + d - k) / d`` and ``(1 - u + k) / d``. Shape (n, order + 1),
    float64.
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


def evaluate_points(
    lattice: npt.NDArray[np.float32], points: Sequence[npt.NDArray[np.float64]], order: int
) -> npt.NDArray[np.float64]:
    """The spline of a lattice at single points, in float64.

    Parameters
    ----------
    lattice
        The control points.
    points
        The parametric coordinates in [0, spans] along each axis, each of shape (n,).
    order
        Order of the spline.
    """
    start = np.zeros(len(points[0]), np.int64)
    weights: list[npt.NDArray[np.float64]] = []
    steps = [prod(lattice.shape[axis + 1 :]) for axis in range(lattice.ndim)]
    for p, count, step in zip(points, lattice.shape, steps, strict=True):
        first = np.clip(np.floor(p).astype(np.int64), 0, count - order - 1)
        start += first * step
        weights.append(np.ascontiguousarray(uniform_bspline(p - first, order).T))
    return _sum_control_points(lattice.astype(np.float64).ravel(), start, weights, steps)


def _sum_control_points(
    values: npt.NDArray[np.float64],
    start: npt.NDArray[np.int64],
    weights: Sequence[npt.NDArray[np.float64]],
    steps: Sequence[int],
) -> npt.NDArray[np.float64]:
    """Sum the control points from ``start`` on, weighted along each axis, the last one first."""
    if not weights:
        return values.take(start)
    total = np.zeros(len(start))
    for k, weight in enumerate(weights[0]):
        total += weight * _sum_control_points(values, start + k * steps[0], weights[1:], steps[1:])
    return total


def refine(lattice: npt.NDArray[np.float32], order: int, version: int) -> npt.NDArray[np.float32]:
    """The same spline on a mesh of half the spacing along every axis, with the weights of ITK."""
    finer = lattice.astype(np.float64)
    with np.errstate(all="ignore"):  # of images of absurd size, points may be infinite
        for axis in range(lattice.ndim):
            finer = refine_axis(finer, axis, order, version)
        return finer.astype(np.float32)


def refine_axis(
    lattice: npt.NDArray[np.floating], axis: int, order: int, version: int | None = None
) -> npt.NDArray[np.float64]:
    """The same spline on a mesh of half the spacing along one axis.

    ``version`` is as in :func:`refinement_matrix`, by which this multiplies without its zeros.
    """
    points = np.moveaxis(lattice, axis, 0).astype(np.float64, copy=False)
    finer = np.zeros((2 * len(points) - order, *points.shape[1:]))
    for parity, weights in enumerate(_halving_weights(order, version)):
        rows = finer[parity::2]
        for k, weight in enumerate(weights):
            part = points[k : k + len(rows)]
            rows[: len(part)] += weight * part
    return np.moveaxis(finer, 0, axis)


def refinement_matrix(
    control_points: int, order: int, version: int | None
) -> npt.NDArray[np.float64]:
    """Knot halving along one axis, from n to 2n - order control points.

    Parameters
    ----------
    control_points
        Number of control points before the halving, n.
    order
        Order of the spline.
    version
        The version of ITK. Each version finds the weights in single precision, so that they
        differ by up to 6e-7 from those of the two-scale relation, which are the binomials of
        ``order + 1`` divided by ``2**order``. ``None`` takes those.

    Returns
    -------
    array, shape (2n - order, n)
        For order 3, the rows alternate between about (4, 4)/8 and (1, 6, 1)/8.
    """
    matrix = np.zeros((2 * control_points - order, control_points))
    weights = _halving_weights(order, version)
    for row in range(len(matrix)):
        for k, weight in enumerate(weights[row % 2]):
            if row // 2 + k < control_points:
                matrix[row, row // 2 + k] = weight
    return matrix


def _halving_weights(order: int, version: int | None) -> list[list[float]]:
    """The weights of control points in those of even and of odd number after a halving."""
    if version is not None:
        return find_halving_weights(version, order).tolist()
    binomials = [comb(order + 1, k) / 2**order for k in range(order + 2)]
    return [binomials[1::2], binomials[::2]]


def evaluation_matrix(
    p: npt.NDArray[np.float64], control_points: int, order: int
) -> npt.NDArray[np.float64]:
    """The matrix from control points to the spline at coordinates, shape (n, control_points)."""
    first = np.clip(np.floor(p).astype(np.int64), 0, control_points - order - 1)
    matrix = np.zeros((len(p), control_points))
    for k, weights in enumerate(uniform_bspline(p - first, order).T):
        matrix[np.arange(len(p)), first + k] = weights
    return matrix


def least_squares_matrix(
    p: npt.NDArray[np.float64],
    weights: npt.NDArray[np.float64],
    control_points: int,
    order: int,
) -> npt.NDArray[np.float64]:
    """The matrix from values at sites to the control points of the spline that is closest to them.

    The normal equations have a narrow band and are solved by elimination, row by row: a library of
    linear algebra would choose the order of the sums by processor.

    Parameters
    ----------
    p
        Parametric coordinates of the sites in [0, spans], shape (n,), several in each span.
    weights
        How much each site counts, shape (n,).
    control_points
        Number of control points on the axis.
    order
        Order of the spline.

    Returns
    -------
    array, shape (control_points, n)
    """
    values = evaluation_matrix(p, control_points, order)
    solution = values.T * weights
    normal = np.zeros((control_points, control_points))
    for site, row in enumerate(values):
        normal += solution[:, site, None] * row
    for row in range(control_points):
        for lower in range(row + 1, min(row + order + 1, control_points)):
            factor = normal[lower, row] / normal[row, row]
            normal[lower] -= factor * normal[row]
            solution[lower] -= factor * solution[row]
    for row in reversed(range(control_points)):
        for later in range(row + 1, min(row + order + 1, control_points)):
            solution[row] -= normal[row, later] * solution[later]
        solution[row] /= normal[row, row]
    return solution


def apply_along_axis(
    matrix: npt.NDArray[np.floating], array: npt.NDArray[np.floating], axis: int
) -> npt.NDArray[np.floating]:
    """Multiply ``array`` by ``matrix`` (m, n) along ``axis``, whose length changes from n to m.

    The terms are added in their order, which a library of linear algebra would choose by processor.
    """
    lines = np.moveaxis(array, axis, -1)
    total = np.zeros((*lines.shape[:-1], len(matrix)), np.result_type(matrix, array))
    for k in range(lines.shape[-1]):
        total += lines[..., k, None] * matrix[:, k]
    return np.moveaxis(total, -1, axis)


def fit_quotient(delta: Any, omega: Any) -> Any:
    """The control points ``delta / omega`` of a fit, in float32; NumPy or JAX arrays.

    They are 0 where no voxel reaches the control point, and where the quotient is not finite. NumPy
    warns of the latter unless it is told not to.
    """
    xp = find_namespace(delta)
    delta32, omega32 = delta.astype(xp.float32), omega.astype(xp.float32)
    reached = omega32 > EMPTY_OMEGA
    phi = delta32 / xp.where(reached, omega32, xp.float32(1))
    return xp.where(reached & xp.isfinite(phi), phi, xp.float32(0))
