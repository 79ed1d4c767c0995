"""The recurrence of the stopping measure, replayed in blocks by compiled code (numba).

:mod:`n4ax.method.convergence` says what is computed. From some voxel on, no voxel of a block can
move mu. If sigma also stays within one binade during such a block, every addition to sigma adds a
whole number of ulps of sigma, whatever sigma is. So the block is summed as integers.
"""

# pyright: reportCallIssue=false, reportArgumentType=false

import numpy as np
import numpy.typing as npt
from numpy import float32, float64, uint64

from n4ax.engines.compiled.kernel import compile_kernel

_BLOCK = 256
_SETTLED = 1 << 14
"""This many voxels are always taken one by one. After them, 1/n is smooth enough over a block."""


def exact_variation(ratios: npt.NDArray[np.float32]) -> float:
    """Coefficient of variation of ``ratios`` (n,), with n - 1 degrees of freedom, in double."""
    return float(_compute_variation(ratios))


def itk_variation(ratios: npt.NDArray[np.float32]) -> float:
    """The measure that ITK computes from ``ratios`` (n,) in image order, with its float32 bits."""
    return float(_replay_recurrence(ratios))


@compile_kernel("reassoc", "nsz")
def _compute_variation(p):
    n = uint64(len(p))
    total = 0.0
    for i in range(n):
        total += float64(p[i])
    mean = total / len(p)
    squares = 0.0
    for i in range(n):
        squares += (p[i] - mean) ** 2
    return np.sqrt(squares / (len(p) - 1.0)) / mean


@compile_kernel()
def _replay_recurrence(p):
    n = len(p)
    mu, sigma = float32(0), float32(0)
    count = float32(0)  # ITK's count is float32 too, and stops growing at 2**24
    at = 0
    while at < n:
        size = min(_BLOCK, n - at)
        first = float64(count) + 1.0
        whole = float64(count) + size <= 16777216.0
        settled = whole and at >= _SETTLED and np.isfinite(mu) and np.isfinite(sigma)
        if settled and _keeps_mean(p, at, size, mu, first):
            unit = _ulp(sigma)
            added, doubtful = _sum_units(p, at, size, mu, first, unit)
            if doubtful == 0.0 and float64(sigma) + added * unit < _binade_end(sigma):
                sigma = float32(float64(sigma) + added * unit)
                count = float32(first + size - 1.0)
                at += size
                continue
        for i in range(at, at + size):
            count = float32(float64(count) + 1.0)
            if count > float32(1):
                gap = float32(p[i] - mu)
                square = float64(float32(gap * gap))
                sigma = float32(float64(sigma) + square * (float64(count) - 1.0) / float64(count))
            mu = float32(
                float64(mu) * (1.0 - 1.0 / float64(count)) + float64(float32(p[i] / count))
            )
        at += size
    spread = float32(np.sqrt(float64(sigma) / (float64(count) - 1.0)))
    return float32(spread / mu)


@compile_kernel("nnan", "nsz", "reassoc")
def _keeps_mean(p, at, size, mu, first):
    """Whether no voxel of the block moves mu, with a margin for the roundings on the way."""
    largest = float32(0)
    start = uint64(at)
    for i in range(uint64(size)):
        gap = abs(p[start + i] - mu)
        largest = gap if gap > largest else largest
    half_gap = 0.5 * float64(mu - np.nextafter(mu, float32(0)))
    return float64(largest) / first < 0.99 * half_gap


@compile_kernel("reassoc", "nsz", "contract")
def _sum_units(p, at, size, mu, first, unit):
    """Sum what the block adds to sigma, in ulps of sigma, each addend rounded to nearest even.

    (n - 1) / n runs over the block as a quadratic, which is right to 1e-9, since ``first`` is
    above 2**14. The second result counts the addends that lie so near to a half that the errors
    of this, or the parity of sigma, may decide how they are rounded.
    """
    added = 0.0
    doubtful = 0.0
    start = uint64(at)
    a = 1.0 / first
    for i in range(uint64(size)):
        gap = p[start + i] - mu
        t = float64(i) * a
        share = (1.0 - a * (1.0 - t * (1.0 - t))) / unit
        addend = float64(gap * gap) * share
        whole = np.rint(addend)
        added += whole
        doubtful += 1.0 if 0.5 - abs(addend - whole) <= 1e-8 * (1.0 + addend) else 0.0
    return added, doubtful


@compile_kernel()
def _ulp(value):
    """The distance to the next larger float32."""
    return float64(np.nextafter(value, float32(np.inf)) - value)


@compile_kernel()
def _binade_end(value):
    """The least power of two that is larger than ``value``."""
    end = 1.0
    while end <= float64(value):
        end *= 2.0
    while end > 2.0 * float64(value):
        end *= 0.5
    return end
