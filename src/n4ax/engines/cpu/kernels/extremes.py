"""The kernel that finds the range of the corrected log intensities."""

# pyright: reportCallIssue=false, reportArgumentType=false

import numpy as np
from numpy import float32, float64, int32, uint64

from n4ax.engines.compiled.kernel import compile_kernel
from n4ax.engines.cpu.kernels.evaluation import combine, find_sheet_rows
from n4ax.engines.cpu.kernels.lanes import (
    choose_below,
    choose_greatest,
    choose_least,
    find_greatest,
    find_least,
    load,
    order_bits,
    repeat,
    store,
    subtract,
)
from n4ax.engines.cpu.kernels.layout import IS_OUTSIDE, LANES, OUTSIDE


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
    bounds, limits, skips_rise = search
    lowest, highest, keep = limits[0], limits[1], limits[2] != 0.0
    field = np.empty(sheets.stride, np.float32)
    ends = np.empty(2, np.float32)
    end_bits = ends.view(np.int32)
    for c in range(first, stop):
        rising, last = c == 0 and skips_rise, float32(-np.inf)
        result[c, 0], result[c, 1] = OUTSIDE, -OUTSIDE
        for i in range(chunk[c], chunk[c + 1]):
            if bounds[i, 0] > lowest and bounds[i, 1] < highest and not rising:
                continue
            base = uint64(start[i])
            n = uint64(start[i + 1]) - base
            sheet_rows = find_sheet_rows(sheets, planes[i], ys[i], xs[i])
            low, high = _find_ends(log, base, n, sheet_rows, field)
            end_bits[0], end_bits[1] = _restore_bits(low), _restore_bits(high)
            if keep:
                bounds[i, 0], bounds[i, 1] = ends[0], ends[1]
            if rising:
                ends[0], last, rising = _follow_rise(field, length[i], last)
            result[c, 0] = min(result[c, 0], ends[0])
            result[c, 1] = max(result[c, 1], ends[1])


@compile_kernel()
def choose_search(points, searched, ends, bounds, limits):
    """Choose which stretches have to be looked at, and set the ``limits`` for them.

    ``searched`` are the control points when all stretches were last looked at, and ``ends`` the
    extremes then. The spline changes nowhere by more than its control points do. So a stretch that
    was further from the extremes than twice that change cannot hold one now.
    """
    drift = float32(0)
    for i in range(len(points)):
        change = abs(points[i] - searched[i])
        if not change <= drift:  # NaN stays
            drift = change
        if change != change:
            break
    drift = float64(drift) * (1.0 + 1e-6) + 1e-5
    limits[0] = float64(ends[0]) + 2.0 * drift
    limits[1] = float64(ends[1]) - 2.0 * drift
    limits[2] = 0.0
    near = 0
    for i in range(len(bounds)):
        if bounds[i, 0] <= limits[0] or bounds[i, 1] >= limits[1]:
            near += 1
    limits[3] = near / len(bounds)


@compile_kernel()
def join_ends(result, ends):
    """Set ``ends`` to the extremes of all chunks."""
    ends[0], ends[1] = result[0, 0], result[0, 1]
    for c in range(1, len(result)):
        ends[0] = min(ends[0], result[c, 0])
        ends[1] = max(ends[1], result[c, 1])


@compile_kernel()
def _find_ends(log, base, n, sheet_rows, field):
    """Find the ordered bits of the least and the greatest corrected log intensity of a stretch.

    The corrected log intensities of its ``n`` voxels are written to ``field``.
    """
    outside, above, below = float32(IS_OUTSIDE), repeat(float32(OUTSIDE)), repeat(-float32(OUTSIDE))
    low, high = order_bits(above), order_bits(below)
    for j in range(uint64(0), n, uint64(LANES)):
        corrected = subtract(load(log, base + j), combine(sheet_rows, j))
        value = choose_below(corrected, repeat(outside), corrected, above)
        store(field, j, value)
        low = choose_least(low, order_bits(value))
        inside = choose_below(corrected, repeat(outside), corrected, below)
        high = choose_greatest(high, order_bits(inside))
    return find_least(low), find_greatest(high)


@compile_kernel()
def _restore_bits(bits):
    """Turn ordered bits back into the bits of a float32, as int32."""
    return bits ^ ((bits >> int32(31)) & int32(0x7FFFFFFF))


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
