"""Fourier transforms with the bits of ITK 5: Temperton's prime factor algorithm in double.

A transform of 2^m numbers is done in passes of radix 4, with one pass of radix 2 or 8 in the
middle if m is odd. Every pass combines the numbers that lie a fraction of the array apart, and
turns the results by powers of exp(2 pi i / n). The library works in place; what decides the bits
is which numbers are combined and in which order they are added, and both are the same here.

References
----------
C. Temperton, "A generalized prime factor FFT algorithm for any N = 2^p 3^q 5^r", SIAM Journal on
Scientific and Statistical Computing 13(3), 1992, doi:10.1137/0913039.
"""

from functools import cache
from math import asin, cos, sin, sqrt

import numpy as np
import numpy.typing as npt

Values = npt.NDArray[np.float64]
Parts = tuple[Values, Values]
"""Real and imaginary parts."""


def transform(real: Values, imaginary: Values, direction: int) -> Parts:
    """Transform complex numbers along the last axis, unnormalised.

    Parameters
    ----------
    real, imaginary
        The numbers, shape (..., n), where n is a power of 2.
    direction
        1 for the sum of ``exp(+2 pi i j k / n)``, which is forward in ITK 5, or -1.
    """
    shape = real.shape
    size = shape[-1]
    cosines, sines = _make_turns(size)
    turns = (cosines, direction * sines)
    a, b = (part.reshape(-1, 1, size) for part in (real, imaginary))
    done = 1
    for radix in _choose_radices(size):
        pieces = [part.reshape(*part.shape[:-1], radix, -1) for part in (a, b)]
        a, b = _PASSES[radix](pieces, turns, done, float(direction))
        a, b = (part.reshape(part.shape[0], -1, part.shape[-1]) for part in (a, b))
        done *= radix
    return a.reshape(shape), b.reshape(shape)


def _choose_radices(size: int) -> list[int]:
    power = size.bit_length() - 1
    if power % 2 == 0:
        return [4] * (power // 2)
    middle, fours = (2, (power - 1) // 2) if power % 4 == 1 else (8, (power - 3) // 2)
    before = (fours + 1) // 2
    return [4] * before + [middle] + [4] * (fours - before)


@cache
def _make_turns(size: int) -> Parts:
    """Make the table of cosines and sines of whole multiples of 2 pi / size."""
    unit = asin(1.0) * 4.0 / size
    angles = [k * unit for k in range(size)]
    return np.array([cos(x) for x in angles]), np.array([sin(x) for x in angles])


def _turn(value: Parts, turns: Parts, done: int, number: int) -> Parts:
    """Turn the result of a number; the first one of each array is not multiplied."""
    x, y = value
    step = number * done
    co, si = (table[: step * x.shape[-1] : step] for table in turns)
    a, b = co * x - si * y, si * x + co * y
    a[..., 0], b[..., 0] = x[..., 0], y[..., 0]
    return a, b


def _stack(outputs: list[Parts]) -> Parts:
    """Stack the outputs of a pass so that earlier passes vary faster."""
    a, b = (np.stack([output[part] for output in outputs], axis=1) for part in (0, 1))
    return a, b


def _pass_4(pieces: list[Values], turns: Parts, done: int, sign: float) -> Parts:
    a, b = ([part[..., k, :] for k in range(4)] for part in pieces)
    t0, t2, t1, t3 = a[0] + a[2], a[0] - a[2], a[1] + a[3], sign * (a[1] - a[3])
    u0, u2, u1, u3 = b[0] + b[2], b[0] - b[2], b[1] + b[3], sign * (b[1] - b[3])
    outputs = [(t2 - u3, u2 + t3), (t0 - t1, u0 - u1), (t2 + u3, u2 - t3)]
    turned = [_turn(value, turns, done, k + 1) for k, value in enumerate(outputs)]
    return _stack([(t0 + t1, u0 + u1), *turned])


def _pass_2(pieces: list[Values], turns: Parts, done: int, sign: float) -> Parts:
    a, b = ([part[..., k, :] for k in range(2)] for part in pieces)
    t, u = a[0] - a[1], b[0] - b[1]
    x, y = _turn((t, u), turns, done, 1)
    if t.shape[-1] > 1:  # a quarter of a turn exchanges the parts
        quarter = t.shape[-1] // 2
        x[..., quarter], y[..., quarter] = -sign * u[..., quarter], sign * t[..., quarter]
    return _stack([(a[0] + a[1], b[0] + b[1]), (x, y)])


def _pass_8(pieces: list[Values], turns: Parts, done: int, sign: float) -> Parts:
    even: list[list[Values]] = []
    odd: list[list[Values]] = []
    for part in pieces:
        x = [part[..., k, :] for k in range(8)]
        even.append([x[0] + x[4], x[1] + x[5], x[2] + x[6], x[3] + x[7]])
        d0, d1, d2, d3 = x[0] - x[4], sign * (x[2] - x[6]), x[1] - x[5], x[3] - x[7]
        odd.append([d0, d1, sqrt(0.5) * (d2 - d3), sign * sqrt(0.5) * (d2 + d3)])
    (a0, a1, a2, a3), (b0, b1, b2, b3) = even
    t0, t2, t1, t3 = a0 + a2, a0 - a2, a1 + a3, sign * (a1 - a3)
    u0, u2, u1, u3 = b0 + b2, b0 - b2, b1 + b3, sign * (b1 - b3)
    (p0, p1, p2, p3), (q0, q1, q2, q3) = odd
    s0, s2, s1, s3 = p0 + p2, p0 - p2, p1 - p3, p1 + p3
    v0, v2, v1, v3 = q0 + q2, q0 - q2, q1 - q3, q1 + q3
    outputs = [
        (s0 - v3, v0 + s3), (t2 - u3, u2 + t3), (s2 + v1, v2 - s1), (t0 - t1, u0 - u1),
        (s2 - v1, v2 + s1), (t2 + u3, u2 - t3), (s0 + v3, v0 - s3),
    ]  # fmt: skip
    turned = [_turn(value, turns, done, k + 1) for k, value in enumerate(outputs)]
    return _stack([(t0 + t1, u0 + u1), *turned])


_PASSES = {2: _pass_2, 4: _pass_4, 8: _pass_8}
