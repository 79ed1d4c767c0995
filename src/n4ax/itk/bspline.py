"""B-spline weights with the bits of ITK: coordinates in float32, kernels in double.

ITK fits a spline to points, whose coordinates are float32, and evaluates it at the voxels of a
grid, whose coordinates it finds in another way. :mod:`n4ax.method.bspline` has the same weights
up to rounding, and says what they mean.
"""

from functools import cache

import numpy as np
import numpy.typing as npt

from n4ax.itk.space import Position

EDGE_IN_VOXELS = float(np.float32(1e-3))
"""ITK moves a coordinate at the upper end of the domain inwards by this fraction of a voxel."""

Coordinates = npt.NDArray[np.float32]


def find_fit_coordinates(position: Position, count: int, spans: int) -> Coordinates:
    """Find the parametric coordinates of samples in the fit, in mesh elements, float32.

    Parameters
    ----------
    position
        Where the samples lie along the axis.
    count
        Number of samples of the axis with its padding.
    spans
        Number of mesh elements.

    Raises
    ------
    ValueError
        Single precision cannot hold the positions, because the image lies too far from 0.
    """
    origin, step, start = position
    index = np.arange(start, start + count, dtype=np.float64)
    points = (float(np.float32(origin)) + step * index).astype(np.float32)
    rate = _find_rate(count, spans, step)
    first = origin + step * start
    p = ((points.astype(np.float64) - first) * float(rate)).astype(np.float32)
    p = _stay_inside(p, spans, rate, step)
    if (p < 0).any() or (p >= spans).any():
        raise ValueError(
            f"the image lies at {origin:g} mm with voxels of {step:g} mm, and single precision "
            "cannot tell its first and last voxels from those beyond: ITK refuses such an image, "
            "too; move its origin towards 0"
        )
    return p


def find_grid_coordinates(count: int, spans: int, spacing: float) -> Coordinates:
    """Find the parametric coordinates at which ITK evaluates a spline on ``count`` voxels.

    Parameters
    ----------
    count
        Number of voxels, which are stretched from the first to the last mesh element.
    spans
        Number of mesh elements.
    spacing
        Voxel size in mm. It decides a last bit at the upper end.
    """
    index = np.arange(count, dtype=np.float32)
    p = np.float32(spans) * index / np.float32(count - 1)
    return _stay_inside(p, spans, _find_rate(count, spans, spacing), spacing)


def compute_fit_weights(p: Coordinates, order: int) -> npt.NDArray[np.float64]:
    """Compute the weights of the control points in the fit, shape (n, order + 1), float64."""
    offset = (p - np.floor(p))[:, None] - np.arange(order + 1, dtype=np.float32)
    return evaluate_kernel(_centre(offset, order), order)


def compute_grid_weights(p: Coordinates, order: int) -> npt.NDArray[np.float32]:
    """Compute the weights of the control points on a grid, shape (n, order + 1), float32."""
    control = np.floor(p)[:, None] + np.arange(order + 1, dtype=np.float32)
    return evaluate_kernel(_centre(p[:, None] - control, order), order).astype(np.float32)


def _centre(offset: Coordinates, order: int) -> npt.NDArray[np.float64]:
    """Shift offsets to the centre of the kernel: the sum in double, rounded to float32."""
    return (offset.astype(np.float64) + 0.5 * (order - 1)).astype(np.float32).astype(np.float64)


def _find_rate(count: int, spans: int, step: float) -> np.float32:
    """Find the mesh elements for each mm."""
    return np.float32(spans / ((count - 1) * step))


def _stay_inside(p: Coordinates, spans: int, rate: np.float32, step: float) -> Coordinates:
    """Move coordinates that lie on an end of the domain to its inside, as ITK does."""
    edge = np.float32(float(rate) * step * EDGE_IN_VOXELS)
    end = np.float32(spans)
    p = np.where(np.abs(p - end) <= edge, end - edge, p)
    return np.where((p < 0) & (np.abs(p) <= edge), np.float32(0), p)


def evaluate_kernel(u: npt.NDArray[np.float64], order: int) -> npt.NDArray[np.float64]:
    """Evaluate the centred B-spline of an order from 1 to 5, in double as ITK does.

    Up to order 3 these are closed forms in the distance from the centre. Beyond, ITK makes the
    polynomial of each piece by the recursion of Cox and de Boor, and adds up its terms from the
    constant one on.
    """
    x = np.abs(u)
    square = x * x
    if order == 1:
        return np.where(x < 1, 1 - x, 0.0)
    if order == 2:
        outer = (9 - 12 * x + 4 * square) * 0.125
        return np.where(x < 0.5, 0.75 - square, np.where(x < 1.5, outer, 0.0))
    if order == 3:
        inner = (4 - 6 * square + 3 * square * x) / 6
        outer = (8 - 12 * x + 6 * square - square * x) / 6
        return np.where(x < 1, inner, np.where(x < 2, outer, 0.0))
    pieces = _make_pieces(order)
    which = (x + 0.5 if order % 2 == 0 else x).astype(np.int64)
    value = np.zeros_like(x)
    for number, coefficients in enumerate(pieces):
        value = np.where(which == number, _evaluate_polynomial(coefficients, x), value)
    return value


def _evaluate_polynomial(
    coefficients: npt.NDArray[np.float64], x: npt.NDArray[np.float64]
) -> npt.NDArray[np.float64]:
    """Evaluate a polynomial, whose constant term comes first."""
    constant, *others = coefficients.tolist()
    value, power = np.full_like(x, constant), x
    for coefficient in others:
        value = value + coefficient * power
        power = power * x
    return value


@cache
def _make_pieces(order: int) -> list[npt.NDArray[np.float64]]:
    """Make the polynomials of the pieces from the centre outwards, constant terms first."""
    knots = [-0.5 * (order + 1) + i for i in range(order + 2)]
    middle = (order + 1) // 2
    return [_make_polynomial(order, knots, 0, piece) for piece in range(middle, order + 1)]


def _make_polynomial(
    degree: int, knots: list[float], first: int, piece: int
) -> npt.NDArray[np.float64]:
    """Make the polynomial of one piece of a B-spline by the recursion of Cox and de Boor."""
    if degree == 0:
        return np.array([1.0 if first == piece else 0.0])
    low, high = knots[first], knots[first + degree + 1]
    rising = np.array([-low, 1.0]) / (knots[first + degree] - low)
    falling = np.array([high, -1.0]) / (high - knots[first + 1])
    return _multiply(rising, _make_polynomial(degree - 1, knots, first, piece)) + _multiply(
        falling, _make_polynomial(degree - 1, knots, first + 1, piece)
    )


def _multiply(
    linear: npt.NDArray[np.float64], other: npt.NDArray[np.float64]
) -> npt.NDArray[np.float64]:
    """Multiply a polynomial by one of degree 1."""
    product = np.zeros(len(other) + 1)
    product[:-1] += linear[0] * other
    product[1:] += linear[1] * other
    return product
