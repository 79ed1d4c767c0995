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
from math import asin, cos, sin

import numpy as np
import numpy.typing as npt

from n4ax.engines.itk.kernels.passes import pass_2, pass_4, pass_8

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
    size = real.shape[-1]
    cosines, sines = _make_turns(size)
    turns = (cosines, direction * sines)
    a, b = (np.ascontiguousarray(part).reshape(-1, size) for part in (real, imaginary))
    done = 1
    for radix in _choose_radices(size):
        x, y = np.empty_like(a), np.empty_like(b)
        _PASSES[radix](a, b, x, y, turns, done, float(direction))
        a, b = x, y
        done *= radix
    return a.reshape(real.shape), b.reshape(real.shape)


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


_PASSES = {2: pass_2, 4: pass_4, 8: pass_8}
