"""The stopping measure's recurrence, replayed in blocks on the CPU (numba).

See :mod:`n4ax.method.convergence` for what is computed. Once no voxel of a block can move mu, and
while sigma stays within one binade, every addition adds a whole number of ulps of sigma, whatever
sigma is; such a block is summed as integers.
"""

import numpy as np
import numpy.typing as npt
from numba import float32, float64, uint64

from n4ax.engines.cpu.compiled import call_compiled, compile_kernel

_BLOCK = 256
_SETTLED = 1 << 14
"""Voxels that are always taken one by one; after them 1/n is smooth enough over a block."""


def exact_variation(ratios: npt.NDArray[np.float32]) -> float:
    """Coefficient of variation of ``ratios`` (n,), with n - 1 degrees of freedom, in double."""
    return float(call_compiled(_two_pass_variation, ratios))


def itk_variation(ratios: npt.NDArray[np.float32]) -> float:
    """The measure as ITK computes it from ``ratios`` (n,) in image order: its float32 value."""
    return float(call_compiled(_float32_recurrence, ratios))


@compile_kernel("reassoc", "nsz")
def _two_pass_variation(p):
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
def _float32_recurrence(p):
    n = len(p)
    mu, sigma = float32(0), float32(0)
    count = float32(0)  # float32 in ITK too: stands still from 2**24 on
    at = 0
    while at < n:
        size = min(_BLOCK, n - at)
        first = float64(count) + 1.0
        whole = float64(count) + size <= 16777216.0
        if whole and at >= _SETTLED and _keeps_mean(p, at, size, mu, first):
            unit = _ulp(sigma)
            added = _units_added(p, at, size, mu, first, unit)
            if float64(sigma) + added * unit < _binade_end(sigma):
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
def _units_added(p, at, size, mu, first, unit):
    """What the block adds to sigma, in ulps of sigma, each addend rounded to nearest even.

    (n - 1) / n runs over the block as a quadratic, right to 1e-9 (``first`` is over 2**14).
    """
    added = 0.0
    start = uint64(at)
    a = 1.0 / first
    for i in range(uint64(size)):
        gap = p[start + i] - mu
        t = float64(i) * a
        share = (1.0 - a * (1.0 - t * (1.0 - t))) / unit
        added += np.rint(float64(gap * gap) * share)
    return added


@compile_kernel()
def _ulp(value):
    return float64(np.nextafter(value, float32(np.inf)) - value)


@compile_kernel()
def _binade_end(value):
    end = 1.0
    while end <= float64(value):
        end *= 2.0
    while end > 2.0 * float64(value):
        end *= 0.5
    return end
