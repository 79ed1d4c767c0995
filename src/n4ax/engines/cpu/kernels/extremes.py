"""The kernel that finds the range of the corrected log intensities."""

# pyright: reportCallIssue=false, reportArgumentType=false

import numpy as np
from numpy import float32, int32, uint64

from n4ax.engines.compiled.kernel import compile_kernel
from n4ax.engines.cpu.kernels.evaluation import evaluate_row
from n4ax.engines.cpu.kernels.layout import IS_OUTSIDE, OUTSIDE


@compile_kernel()
def find_extremes(first, stop, rows, sheets, search, result):
    """Find the least and the greatest corrected log intensity of each chunk.

    They go into ``result`` (chunks, 2). ``search`` says which stretches are looked at.

    The scan of ITK 5 tests a voxel for a new minimum only if it is no new maximum. So the strictly
    rising run of voxels at the start of an image never sets the minimum. That run is followed to
    the end of the first chunk; only an image that was made for it rises for longer. ITK 6 tests
    every voxel for both.
    """
    log, _, start, length, xs, ys, planes, _, chunk, _, _ = rows
    bounds, lowest, highest, keep, skips_rise = search
    field = np.empty(sheets.stride, np.float32)
    bits = field.view(np.int32)
    ends = np.array([OUTSIDE, -OUTSIDE], np.float32)
    end_bits = ends.view(np.int32)
    above, below = _order_bits(end_bits[0]), _order_bits(end_bits[1])
    for c in range(first, stop):
        rising, last = c == 0 and skips_rise, float32(-np.inf)
        result[c, 0], result[c, 1] = OUTSIDE, -OUTSIDE
        for i in range(chunk[c], chunk[c + 1]):
            if bounds[i, 0] > lowest and bounds[i, 1] < highest and not rising:
                continue
            base = uint64(start[i])
            n = uint64(start[i + 1]) - base
            evaluate_row(sheets, planes[i], ys[i], xs[i], n, field)
            for j in range(n):
                u = log[base + j] - field[j]
                field[j] = u if u < float32(IS_OUTSIDE) else float32(OUTSIDE)
            low, high = _find_ends(bits, n, above, below)
            end_bits[0], end_bits[1] = _order_bits(low), _order_bits(high)
            if keep:
                bounds[i, 0], bounds[i, 1] = ends[0], ends[1]
            if rising:
                ends[0], last, rising = _follow_rise(field, length[i], last)
            result[c, 0] = min(result[c, 0], ends[0])
            result[c, 1] = max(result[c, 1], ends[1])


@compile_kernel()
def _order_bits(bits):
    """Turn the bits of a float32 (as int32) into an integer of the same order, or back.

    Comparing integers vectorises; comparing floats does not.
    """
    return bits ^ ((bits >> int32(31)) & int32(0x7FFFFFFF))


@compile_kernel()
def _find_ends(bits, n, above, below):
    """Find the ordered bits of the least and the greatest of ``n`` numbers.

    ``above`` marks voxels that do not count, and ``below`` is what the greatest is if none does.
    """
    low, high = above, below
    for j in range(n):
        value = _order_bits(bits[j])
        inside = value if value < above else below
        low = min(low, value)
        high = max(high, inside)
    return low, high


@compile_kernel()
def _follow_rise(field, length, last):
    """Follow the rising start of the image through one stretch, after a voxel of ``last``.

    Returns the least value after the rise has ended, the last value, and whether it still rises.
    """
    rising = True
    least = float32(OUTSIDE)
    for j in range(uint64(length)):
        if field[j] < float32(IS_OUTSIDE):
            rising = rising and field[j] > last
            last = field[j]
            if not rising:
                least = min(least, last)
    return least, last, rising
