"""Inverse and singular values of a small matrix, rounded as ITK rounds them.

ITK inverts the matrix of an image's axes through a singular value decomposition, LINPACK's DSVDC
(Dongarra et al., "LINPACK Users' Guide", SIAM 1979, chapter 11). On every axis whose length the
shrink factor divides, the samples fall midway between two voxels, and the last bit of the inverse
decides which voxel is taken. The steps here therefore follow DSVDC's order, in double precision.
Matrices are lists of columns.
"""

from dataclasses import dataclass
from math import copysign, sqrt

import numpy as np
import numpy.typing as npt

Columns = list[list[float]]

_MOST_STEPS = 30
"""QR steps for one singular value, as in DSVDC. Only singular matrices need more."""

_NO_INVERSE = (
    "the axes of the image do not span space: the matrix of its voxel sizes and directions is "
    "singular or not finite; correct them in the image's header"
)


@dataclass(eq=False)
class _Factors:
    """The factors of a square matrix A = U B V^T while B is made diagonal, in place.

    Attributes
    ----------
    diagonal
        The diagonal of B; at the end, the singular values.
    above
        The elements above the diagonal: element k is in row k, column k + 1. The last is unused.
    left, right
        The columns of U and V.
    """

    diagonal: list[float]
    above: list[float]
    left: Columns
    right: Columns


def invert(matrix: npt.ArrayLike) -> npt.NDArray[np.float64]:
    """The inverse of a square matrix, equal to that of ``itk::Matrix`` to the last bit.

    Raises
    ------
    ValueError
        The matrix is singular, or has elements that are not finite.
    """
    factors = _factorise(matrix)
    if not all(factors.diagonal):
        raise ValueError(_NO_INVERSE)
    scaled = [
        [value * (1.0 / size) for value in column]
        for column, size in zip(factors.right, factors.diagonal, strict=True)
    ]
    axes = range(len(scaled))
    rows = [
        [_dot([v[i] for v in scaled], [u[k] for u in factors.left]) for k in axes] for i in axes
    ]
    return np.array(rows)


def decompose(
    matrix: npt.ArrayLike,
) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]]:
    """The singular values of a square matrix, largest first, and the left singular vectors.

    The vectors are columns. Where singular values are equal, the vectors are not unique, and
    they are those that DSVDC's rounding leads to.

    Raises
    ------
    ValueError
        The matrix has elements that are not finite, or it is singular and DSVDC gives up on it.
    """
    factors = _factorise(matrix)
    return np.array(factors.diagonal), np.array(factors.left).T


def _factorise(matrix: npt.ArrayLike) -> _Factors:
    values: npt.NDArray[np.float64] = np.asarray(matrix, np.float64)
    if not np.isfinite(values).all():
        raise ValueError(_NO_INVERSE)
    columns: Columns = values.T.tolist()
    factors = _bidiagonalise(columns)
    _diagonalise(factors)
    return factors


# ---- Householder reflections from both sides, until B is bidiagonal -----------------------------


def _bidiagonalise(x: Columns) -> _Factors:
    """The factors of the matrix ``x``, which is overwritten."""
    n = len(x)
    factors = _Factors(
        diagonal=[0.0] * n,
        above=[0.0] * n,
        left=[[0.0] * n for _ in range(n)],
        right=[[0.0] * n for _ in range(n)],
    )
    diagonal, above = factors.diagonal, factors.above
    for k in range(n - 1):
        diagonal[k] = _make_reflector(x[k], k)
        for j in range(k + 1, n):
            if diagonal[k] != 0.0:
                _reflect(x[k], x[j], k)
            above[j] = x[j][k]
        factors.left[k][k:] = x[k][k:]
        if k < n - 2:
            above[k] = _make_reflector(above, k + 1)
            if above[k] != 0.0:
                _reflect_rows(above, x, k + 1)
            factors.right[k][k + 1 :] = above[k + 1 :]
    diagonal[n - 1] = x[n - 1][n - 1]
    if n > 1:
        above[n - 2] = x[n - 1][n - 2]
    above[n - 1] = 0.0
    _multiply_reflectors(factors.left, [*diagonal[: n - 1], 0.0], 0)
    _multiply_reflectors(factors.right, [*above[: max(0, n - 2)], *[0.0] * min(n, 2)], 1)
    return factors


def _make_reflector(vector: list[float], start: int) -> float:
    """Turn ``vector[start:]`` into a reflector, in place; return the element that it leaves."""
    size = _norm(vector[start:])
    if size != 0.0:
        if vector[start] != 0.0:
            size = copysign(size, vector[start])
        scale = 1.0 / size
        vector[start:] = [scale * value for value in vector[start:]]
        vector[start] += 1.0
    return -size


def _reflect(reflector: list[float], column: list[float], start: int) -> None:
    """Apply a reflector to ``column[start:]``, in place."""
    factor = -_dot(reflector[start:], column[start:]) / reflector[start]
    _add(factor, reflector, column, start)


def _reflect_rows(reflector: list[float], x: Columns, start: int) -> None:
    """Apply a reflector to the rows of ``x`` from ``start`` on, in place."""
    sums = [0.0] * len(x)
    for j in range(start, len(x)):
        _add(reflector[j], x[j], sums, start)
    for j in range(start, len(x)):
        _add(-reflector[j] / reflector[start], sums, x[j], start)


def _multiply_reflectors(columns: Columns, sizes: list[float], shift: int) -> None:
    """Replace the reflectors in ``columns`` by the orthogonal matrix that they make together.

    Where ``sizes`` is 0 there is no reflector. Reflector k starts at element ``k + shift``.
    """
    n = len(columns)
    for k in reversed(range(n)):
        if sizes[k] == 0.0:
            columns[k] = [float(i == k) for i in range(n)]
            continue
        for j in range(k + 1, n):
            _reflect(columns[k], columns[j], k + shift)
        if shift:
            columns[k] = [float(i == k) for i in range(n)]
        else:
            columns[k] = [0.0] * k + [-1.0 * value for value in columns[k][k:]]
            columns[k][k] += 1.0


# ---- implicitly shifted QR steps, until B is diagonal -------------------------------------------


def _diagonalise(factors: _Factors) -> None:
    """Clear the elements above the diagonal, and sort the singular values, largest first."""
    for end in reversed(range(len(factors.diagonal))):
        for _ in range(_MOST_STEPS + 1):
            start = _find_block(factors, end)
            if start == end:
                break
            _step(factors, start, end)
        else:
            raise ValueError(_NO_INVERSE)
        _settle(factors, end)


def _find_block(factors: _Factors, end: int) -> int:
    """The start of the last block that is not yet diagonal; ``end`` if it is a single element."""
    for start in range(end, 0, -1):
        size = abs(factors.diagonal[start - 1]) + abs(factors.diagonal[start])
        if size + abs(factors.above[start - 1]) == size:
            factors.above[start - 1] = 0.0
            return start
    return 0


def _settle(factors: _Factors, end: int) -> None:
    """Make a singular value positive, and move it behind those that are larger."""
    diagonal = factors.diagonal
    if diagonal[end] < 0.0:
        diagonal[end] = -diagonal[end]
        factors.right[end] = [-1.0 * value for value in factors.right[end]]
    for k in range(end, len(diagonal) - 1):
        if diagonal[k] >= diagonal[k + 1]:
            break
        diagonal[k : k + 2] = diagonal[k : k + 2][::-1]
        for columns in (factors.left, factors.right):
            columns[k : k + 2] = columns[k : k + 2][::-1]


def _step(factors: _Factors, start: int, end: int) -> None:
    """One QR step on the block from ``start`` to ``end``."""
    diagonal, above, left, right = factors.diagonal, factors.above, factors.left, factors.right
    f, g = _choose_first_rotation(factors, start, end)
    for k in range(start, end):
        f, cosine, sine = _find_rotation(f, g)
        if k != start:
            above[k - 1] = f
        f = cosine * diagonal[k] + sine * above[k]
        above[k] = cosine * above[k] - sine * diagonal[k]
        g = sine * diagonal[k + 1]
        diagonal[k + 1] = cosine * diagonal[k + 1]
        _rotate(right[k], right[k + 1], cosine, sine)
        f, cosine, sine = _find_rotation(f, g)
        diagonal[k] = f
        f = cosine * above[k] + sine * diagonal[k + 1]
        diagonal[k + 1] = -sine * above[k] + cosine * diagonal[k + 1]
        g = sine * above[k + 1]
        above[k + 1] = cosine * above[k + 1]
        _rotate(left[k], left[k + 1], cosine, sine)
    above[end - 1] = f


def _choose_first_rotation(factors: _Factors, start: int, end: int) -> tuple[float, float]:
    """The vector that the first rotation of a QR step turns onto the first axis."""
    diagonal, above = factors.diagonal, factors.above
    scale = max(
        abs(diagonal[end]),
        abs(diagonal[end - 1]),
        abs(above[end - 1]),
        abs(diagonal[start]),
        abs(above[start]),
    )
    low, next_low, beside = diagonal[end] / scale, diagonal[end - 1] / scale, above[end - 1] / scale
    first, beside_first = diagonal[start] / scale, above[start] / scale
    b = ((next_low + low) * (next_low - low) + beside * beside) / 2.0
    c = (low * beside) * (low * beside)
    shift = 0.0
    if b != 0.0 or c != 0.0:
        root = sqrt(b * b + c)
        shift = c / (b + (-root if b < 0.0 else root))
    return (first + low) * (first - low) + shift, first * beside_first


def _find_rotation(a: float, b: float) -> tuple[float, float, float]:
    """The rotation that turns (a, b) onto the first axis: signed length, cosine and sine."""
    scale = abs(a) + abs(b)
    if scale == 0.0:
        return 0.0, 1.0, 0.0
    p, q = a / scale, b / scale
    length = copysign(1.0, a if abs(a) > abs(b) else b) * (scale * sqrt(p * p + q * q))
    return length, a / length, b / length


def _rotate(a: list[float], b: list[float], cosine: float, sine: float) -> None:
    for i, (x, y) in enumerate(zip(a, b, strict=True)):
        a[i], b[i] = cosine * x + sine * y, cosine * y - sine * x


# ---- vectors, element by element in LINPACK's order ---------------------------------------------


def _add(factor: float, source: list[float], target: list[float], start: int) -> None:
    """Add ``factor`` times ``source`` to ``target``, from element ``start`` on."""
    for i in range(start, len(target)):
        target[i] += factor * source[i]


def _dot(a: list[float], b: list[float]) -> float:
    total = 0.0
    for x, y in zip(a, b, strict=True):
        total += x * y
    return total


def _norm(values: list[float]) -> float:
    """Euclidean length, scaled by the largest element as BLAS does."""
    if len(values) == 1:
        return abs(values[0])
    scale, squares = 0.0, 1.0
    for value in map(abs, values):
        if value > scale:
            squares = 1.0 + squares * ((scale / value) * (scale / value))
            scale = value
        elif value != 0.0:
            squares += (value / scale) * (value / scale)
    return scale * sqrt(squares)
