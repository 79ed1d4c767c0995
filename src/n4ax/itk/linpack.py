"""Inverse and singular values of a small matrix, rounded as ITK rounds them.

ITK inverts the matrix of an image's axes through a singular value decomposition: LINPACK's DSVDC
(Dongarra et al., "LINPACK Users' Guide", SIAM 1979, chapter 11). Where a sample falls midway
between two voxels, as it does on every axis whose length the shrink factor divides, the last bit
of that inverse decides which one is taken. So its steps are taken here in its order, in double;
matrices are lists of columns.
"""

from math import copysign, sqrt

import numpy as np
import numpy.typing as npt

Columns = list[list[float]]


def inverse(matrix: npt.ArrayLike) -> npt.NDArray[np.float64]:
    """The inverse of a square matrix, equal to the last bit to that of ``itk::Matrix``.

    Raises
    ------
    ValueError
        The matrix is singular.
    """
    columns = [[float(value) for value in column] for column in np.asarray(matrix).T]
    diagonal, above, left, right = _bidiagonal(columns)
    _diagonalise(diagonal, above, left, right)
    if not all(diagonal):
        raise ValueError("the axes of the image do not span space: its matrix is singular")
    n = len(diagonal)
    scaled = [
        [value * (1.0 / size) for value in v] for v, size in zip(right, diagonal, strict=True)
    ]
    rows = [
        [_dot([v[i] for v in scaled], [u[k] for u in left]) for k in range(n)] for i in range(n)
    ]
    return np.array(rows)


def singular_values(
    matrix: npt.ArrayLike,
) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]]:
    """Singular values, largest first, and left singular vectors as columns, as DSVDC finds them.

    Where values are equal the vectors are not unique, and rounding decides on them.
    """
    columns = [[float(value) for value in column] for column in np.asarray(matrix).T]
    diagonal, above, left, right = _bidiagonal(columns)
    _diagonalise(diagonal, above, left, right)
    return np.array(diagonal), np.array(left).T


def _bidiagonal(x: Columns) -> tuple[list[float], list[float], Columns, Columns]:
    """Householder reflections from both sides: diagonal, what is above it, and both bases."""
    n = len(x)
    diagonal, above, spare = [0.0] * n, [0.0] * n, [0.0] * n
    left = [[0.0] * n for _ in range(n)]
    right = [[0.0] * n for _ in range(n)]
    for k in range(n - 1):
        diagonal[k] = _reflector(x[k], k)
        for j in range(k + 1, n):
            if diagonal[k] != 0.0:
                _reflect(x[k], x[j], k)
            above[j] = x[j][k]
        left[k][k:] = x[k][k:]
        if k >= n - 2:
            continue
        above[k] = _reflector(above, k + 1)
        if above[k] != 0.0:
            spare[k + 1 :] = [0.0] * (n - k - 1)
            for j in range(k + 1, n):
                _add(above[j], x[j], spare, k + 1)
            for j in range(k + 1, n):
                _add(-above[j] / above[k + 1], spare, x[j], k + 1)
        right[k][k + 1 :] = above[k + 1 :]
    diagonal[n - 1] = x[n - 1][n - 1]
    if n > 1:
        above[n - 2] = x[n - 1][n - 2]
    above[n - 1] = 0.0
    _gather(left, [*diagonal[: n - 1], 0.0], 0)
    _gather(right, [*above[: max(0, n - 2)], *[0.0] * min(n, 2)], 1)
    return diagonal, above, left, right


def _reflector(vector: list[float], start: int) -> float:
    """Turn the end of ``vector`` into a reflector, in place; what the reflection makes of it."""
    size = _norm(vector[start:])
    if size != 0.0:
        if vector[start] != 0.0:
            size = copysign(size, vector[start])
        scale = 1.0 / size
        vector[start:] = [scale * value for value in vector[start:]]
        vector[start] += 1.0
    return -size


def _reflect(reflector: list[float], column: list[float], start: int) -> None:
    factor = -_dot(reflector[start:], column[start:]) / reflector[start]
    _add(factor, reflector, column, start)


def _gather(columns: Columns, sizes: list[float], shift: int) -> None:
    """The orthogonal matrix of the reflectors in ``columns``, in place."""
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


def _diagonalise(diagonal: list[float], above: list[float], left: Columns, right: Columns) -> None:
    """Implicitly shifted QR steps until nothing is left above the diagonal, in place."""
    last = len(diagonal) - 1
    end = last
    while end >= 0:
        start = end
        while start > 0:
            size = abs(diagonal[start - 1]) + abs(diagonal[start])
            if size + abs(above[start - 1]) == size:
                above[start - 1] = 0.0
                break
            start -= 1
        if start < end:
            _qr_step(diagonal, above, left, right, start, end)
            continue
        if diagonal[end] < 0.0:
            diagonal[end] = -diagonal[end]
            right[end] = [-1.0 * value for value in right[end]]
        for k in range(end, last):  # largest first
            if diagonal[k] >= diagonal[k + 1]:
                break
            diagonal[k : k + 2] = diagonal[k : k + 2][::-1]
            for columns in (left, right):
                columns[k : k + 2] = columns[k : k + 2][::-1]
        end -= 1


def _qr_step(
    diagonal: list[float], above: list[float], left: Columns, right: Columns, start: int, end: int
) -> None:
    f, g = _shifted(diagonal, above, start, end)
    for k in range(start, end):
        f, cosine, sine = _rotation(f, g)
        if k != start:
            above[k - 1] = f
        f = cosine * diagonal[k] + sine * above[k]
        above[k] = cosine * above[k] - sine * diagonal[k]
        g = sine * diagonal[k + 1]
        diagonal[k + 1] = cosine * diagonal[k + 1]
        _rotate(right[k], right[k + 1], cosine, sine)
        f, cosine, sine = _rotation(f, g)
        diagonal[k] = f
        f = cosine * above[k] + sine * diagonal[k + 1]
        diagonal[k + 1] = -sine * above[k] + cosine * diagonal[k + 1]
        g = sine * above[k + 1]
        above[k + 1] = cosine * above[k + 1]
        _rotate(left[k], left[k + 1], cosine, sine)
    above[end - 1] = f


def _shifted(
    diagonal: list[float], above: list[float], start: int, end: int
) -> tuple[float, float]:
    """What the first rotation of a QR step is to make (f, 0) of."""
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


def _rotation(a: float, b: float) -> tuple[float, float, float]:
    """Length of (a, b), and cosine and sine of the rotation onto the first axis."""
    scale = abs(a) + abs(b)
    if scale == 0.0:
        return 0.0, 1.0, 0.0
    p, q = a / scale, b / scale
    length = copysign(1.0, a if abs(a) > abs(b) else b) * (scale * sqrt(p * p + q * q))
    return length, a / length, b / length


def _rotate(a: list[float], b: list[float], cosine: float, sine: float) -> None:
    for i, (x, y) in enumerate(zip(a, b, strict=True)):
        a[i], b[i] = cosine * x + sine * y, cosine * y - sine * x


def _add(factor: float, source: list[float], target: list[float], start: int) -> None:
    for i in range(start, len(target)):
        target[i] += factor * source[i]


def _dot(a: list[float], b: list[float]) -> float:
    total = 0.0
    for x, y in zip(a, b, strict=True):
        total += x * y
    return total


def _norm(values: list[float]) -> float:
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
