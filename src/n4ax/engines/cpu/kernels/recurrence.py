"""Kernels of the recurrence of the stopping measure.

:mod:`n4ax.method.convergence` says what is computed. From some voxel on, no voxel of a block can
move mu. If sigma also stays within one binade during such a block, every addition to sigma adds a
whole number of ulps of sigma, whatever sigma is. So the block is summed as integers, and blocks
can be summed before it is known where sigma stands, if only its binade is known.
"""

# pyright: reportCallIssue=false, reportArgumentType=false

import numpy as np
from numpy import float32, float64, int32, uint64

from n4ax.engines.compiled.kernel import compile_kernel
from n4ax.engines.cpu.kernels.lanes import (
    add,
    load,
    multiply,
    repeat,
    subtract,
    sum_lanes,
    to_double,
)
from n4ax.engines.cpu.kernels.layout import LANES
from n4ax.method.convergence import STANDSTILL

_BLOCK = 256
_SETTLED = 1 << 14
"""This many voxels are always taken one by one. After them, 1/n is smooth enough over a block."""


@compile_kernel()
def compute_variation(p):
    """Return the coefficient of variation of ``p``, in double."""
    mean = _sum_differences(p, 0.0, False) / len(p)
    return np.sqrt(_sum_differences(p, mean, True) / (len(p) - 1.0)) / mean


@compile_kernel()
def _sum_differences(p, centre, squared):
    """Sum the differences of ``p`` to a number, or their squares, in the same order everywhere."""
    n = uint64(len(p))
    whole = n & ~uint64(LANES - 1)
    lanes, centres = repeat(0.0), repeat(centre)
    for i in range(uint64(0), whole, uint64(LANES)):
        gap = subtract(to_double(load(p, i)), centres)
        lanes = add(lanes, multiply(gap, gap) if squared else gap)
    total = sum_lanes(lanes)
    for i in range(whole, n):
        difference = float64(p[i]) - centre
        total += difference * difference if squared else difference
    return total


@compile_kernel()
def compute_measure(running):
    """Return the measure after the last voxel, as ITK computes it."""
    spread = float32(np.sqrt(running[2] / (running[0] - 1.0)))
    return float32(spread / float32(running[1]))


@compile_kernel()
def replay(p, running):
    """Take the voxels with the ratios ``p`` into the running values."""
    n = len(p)
    count, mu, sigma = float32(running[0]), float32(running[1]), float32(running[2])
    at = 0
    while at < n:
        size = min(_BLOCK, n - at)
        settled = count >= float32(_SETTLED) and np.isfinite(mu) and np.isfinite(sigma)
        if settled:
            unit = _ulp(sigma)
            added = _add_block(p, at, size, float64(count), 0, mu, unit)
            if float64(sigma) + added * unit < find_binade_end(sigma):
                sigma = float32(float64(sigma) + added * unit)
                count = float32(min(float64(count) + size, float64(STANDSTILL)))
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
    running[0], running[1], running[2] = count, mu, sigma


@compile_kernel()
def sum_voxels(p, n, count, gaps, mu, unit):
    """Sum what ``n`` voxels with the ratios ``p`` add to sigma, after ``count`` others, in ulps.

    ``gaps`` of them have the ratio mu and are not counted. The sum is NaN if a voxel moves mu, or
    if it is not certain how an addend is rounded.
    """
    total = 0.0
    for at in range(0, n, _BLOCK):
        total += _add_block(p, at, min(_BLOCK, n - at), count + at, gaps, mu, unit)
    return total


@compile_kernel()
def accept_pieces(running, number, first, units, added):
    """Add the sums of pieces to the running values, as long as each was summed in the right ulps.

    ``number`` are the voxels before each piece. The sums are those of the pieces from ``first``
    on, for the mu of the running values. The result is the number of pieces that were added.
    """
    sigma = float32(running[2])
    done = 0
    for k in range(len(added)):
        after = float64(sigma) + added[k] * units[k]
        if not (units[k] == _ulp(sigma) and after < find_binade_end(sigma)):
            break
        sigma = float32(after)
        done += 1
    running[0] = min(float64(number[first + done]), float64(STANDSTILL))
    running[2] = sigma
    return done


@compile_kernel()
def _add_block(p, at, size, count, gaps, mu, unit):
    """Sum a block as :func:`_sum_units` does, or give NaN if that is not right."""
    standing = count >= STANDSTILL
    if not (standing or count + size <= STANDSTILL):
        return np.nan
    first = float64(STANDSTILL) if standing else count + 1.0
    # With gaps, the counts are too large by up to their number.
    if not _keeps_mean(p, at, size, mu, first - gaps):
        return np.nan
    a = 1.0 / first
    doubt = 1e-8 + gaps * a * a
    added, doubtful = _sum_units(p, at, size, mu, a, 0.0 if standing else a, doubt, unit)
    return added if doubtful == 0.0 else np.nan


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
def _sum_units(p, at, size, mu, a, growth, doubt, unit):
    """Sum what the block adds to sigma, in ulps of sigma, each addend rounded to nearest even.

    ``a`` is 1 / n for the first voxel, and ``growth`` is the same, or 0 if n does not grow.
    (n - 1) / n runs over the block as a quadratic, which is right to 1e-9, since n is above 2**14.
    The second result counts the addends that lie so near to a half that the errors of this, up to
    the share ``doubt``, or the parity of sigma, may decide how they are rounded.
    """
    added = 0.0
    doubtful = 0.0
    start = uint64(at)
    per_unit = 1.0 / unit
    constant, linear = (1.0 - a) * per_unit, a * growth * per_unit
    quadratic = linear * growth
    for i in range(uint64(size)):
        gap = p[start + i] - mu
        t = float64(int32(i))
        addend = float64(gap * gap) * (constant + t * (linear - t * quadratic))
        whole = np.rint(addend)
        added += whole
        doubtful += 1.0 if 0.5 - abs(addend - whole) <= 1e-8 + doubt * addend else 0.0
    return added, doubtful


@compile_kernel()
def _ulp(value):
    """The distance to the next larger float32."""
    return float64(np.nextafter(value, float32(np.inf)) - value)


@compile_kernel()
def find_binade_end(value):
    """The least power of two that is larger than ``value``."""
    end = 1.0
    while end <= float64(value):
        end *= 2.0
    while end > 2.0 * float64(value):
        end *= 0.5
    return end
