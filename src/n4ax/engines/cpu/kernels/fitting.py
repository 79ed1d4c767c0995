"""Kernels that sum what the spline is fitted to: residuals and weights, plane by plane."""

# pyright: reportCallIssue=false, reportArgumentType=false

import numpy as np
from numpy import float32, float64, uint64

from n4ax.engines.compiled.kernel import compile_kernel
from n4ax.engines.cpu.kernels.evaluation import combine, find_rows, find_sheet_rows, spread
from n4ax.engines.cpu.kernels.histogram import lay_out_bins, place_on_bins
from n4ax.engines.cpu.kernels.lanes import (
    add,
    add_product,
    choose_below,
    copy_pair,
    load,
    load_pairs,
    multiply,
    repeat,
    store,
    subtract,
    sum_lanes,
    to_double,
)
from n4ax.engines.cpu.kernels.layout import IS_OUTSIDE, LANES


@compile_kernel("contract")
def _sum_products(values, base, weights, first, stop):
    """Sum ``values[base + x] * weights[x]`` from ``first`` to ``stop``, in double.

    The order is the same on all processors: lanes, then four sums side by side, then the rest.
    """
    lanes = repeat(0.0)
    x = first
    while x + uint64(LANES) <= stop:
        lanes = add_product(lanes, to_double(load(values, base + x)), load(weights, x))
        x += uint64(LANES)
    total = sum_lanes(lanes)
    if x + uint64(4) <= stop:
        a, b, c, d = total, 0.0, 0.0, 0.0
        while x + uint64(4) <= stop:
            at = base + x
            a += float64(values[at]) * weights[x]
            b += float64(values[at + uint64(1)]) * weights[x + uint64(1)]
            c += float64(values[at + uint64(2)]) * weights[x + uint64(2)]
            d += float64(values[at + uint64(3)]) * weights[x + uint64(3)]
            x += uint64(4)
        total = (a + c) + (b + d)
    while x < stop:
        total += float64(values[base + x]) * weights[x]
        x += uint64(1)
    return total


@compile_kernel()
def _flush_plane(sums, stride, x_weight, x_range, result, slot):
    """Sum the sums of one plane along x, in double, into ``result[slot]``, and clear them."""
    for cy in range(result.shape[1]):
        base = uint64(cy * stride)
        for cx in range(result.shape[2]):
            first, stop = uint64(x_range[cx, 0]), uint64(x_range[cx, 1])
            result[slot, cy, cx] = _sum_products(sums, base, x_weight[cx], first, stop)
        for x in range(uint64(stride)):
            sums[base + x] = float32(0)


@compile_kernel()
def _add_residuals(log, confidence, base, n, intensity_map, laid_bins, room, rows, sums):
    """Add the residuals of a stretch of voxels to ``sums``, rows of sums.

    A residual is the corrected less the expected log intensity; it is 0 where no voxel counts.
    ``rows`` are the rows of the sheets of the field. There is ``room`` for the corrected log
    intensities, the bins, the positions within them, and what the map has for each bin.
    """
    corrected, lower, part, mapped = room
    for j in range(uint64(0), n, uint64(LANES)):
        value = subtract(load(log, base + j), combine(rows, j))
        bin_, position = place_on_bins(value, laid_bins)
        store(corrected, j, value)
        store(lower, j, bin_)
        store(part, j, position)
    for j in range(n):
        copy_pair(mapped, j, intensity_map.pairs, uint64(np.uint32(lower[j])))
    zero, outside = repeat(float32(0)), repeat(float32(IS_OUTSIDE))
    for j in range(uint64(0), n, uint64(LANES)):
        value = load(corrected, j)
        expected, rise = load_pairs(mapped, j)
        residual = subtract(value, add(expected, multiply(rise, load(part, j))))
        residual = choose_below(value, outside, residual, zero)
        if len(confidence) > 0:
            residual = multiply(residual, load(confidence, base + j))
        spread(sums, j, residual)


@compile_kernel()
def sum_residuals(first, stop, rows, sheets, intensity_map, projection, result):
    """Sum the residuals of each plane, corrected less expected log intensities (fit's delta).

    ``result`` (slots, control rows, control columns) belongs to the mesh of ``projection``, which
    may be finer than the mesh of ``sheets``.
    """
    log, weights, start, _, xs, ys, planes, _, chunk, slots, _ = rows
    _, _, fit_first, y_fit, x_fit, x_range = projection
    stride = sheets.stride
    room = (
        np.empty(stride, np.float32),
        np.empty(stride, np.int32),
        np.empty(stride, np.float32),
        np.empty(2 * stride, np.float32),
    )
    laid_bins = lay_out_bins(intensity_map.bins, len(intensity_map.pairs) // 2 - 1)
    sums = np.zeros(result.shape[1] * stride, np.float32)
    for c in range(first, stop):
        slot = slots[c]
        plane = planes[chunk[c]]
        for i in range(chunk[c], chunk[c + 1]):
            if planes[i] != plane:
                _flush_plane(sums, stride, x_fit, x_range, result, slot)
                slot += 1
                plane = planes[i]
            base = uint64(start[i])
            n = uint64(start[i + 1]) - base
            sheet_rows = find_sheet_rows(sheets, planes[i], ys[i], xs[i])
            at = fit_first[ys[i]] * stride + xs[i]
            sum_rows = find_rows(sums, at, stride, y_fit, ys[i])
            _add_residuals(
                log, weights, base, n, intensity_map, laid_bins, room, sheet_rows, sum_rows
            )
        _flush_plane(sums, stride, x_fit, x_range, result, slot)


@compile_kernel()
def pair_up(expected, pairs):
    """Fill the ``pairs`` of an intensity map with expected log intensities and their rises."""
    last = len(expected) - 1
    for b in range(last):
        pairs[2 * b], pairs[2 * b + 1] = expected[b], expected[b + 1] - expected[b]
    for b in (last, last + 1):
        pairs[2 * b], pairs[2 * b + 1] = expected[last], float32(0)


@compile_kernel()
def _add_weights(log, confidence, base, n, sums):
    """Add the confidences of a stretch of voxels to ``sums``, rows of sums."""
    zero, one, outside = repeat(float32(0)), repeat(float32(1)), repeat(float32(IS_OUTSIDE))
    for j in range(uint64(0), n, uint64(LANES)):
        weight = choose_below(load(log, base + j), outside, one, zero)
        if len(confidence) > 0:
            weight = multiply(weight, load(confidence, base + j))
        spread(sums, j, weight)


@compile_kernel()
def sum_weights(first, stop, rows, projection, result):
    """Sum the confidences of each plane (fit's omega); ``result`` as in :func:`sum_residuals`."""
    log, weights, start, _, xs, ys, planes, _, chunk, slots, _ = rows
    _, _, fit_first, y_fit, x_fit, x_range = projection
    stride = projection.x_weight.shape[1] + LANES
    sums = np.zeros(result.shape[1] * stride, np.float32)
    for c in range(first, stop):
        slot = slots[c]
        plane = planes[chunk[c]]
        for i in range(chunk[c], chunk[c + 1]):
            if planes[i] != plane:
                _flush_plane(sums, stride, x_fit, x_range, result, slot)
                slot += 1
                plane = planes[i]
            base = uint64(start[i])
            n = uint64(start[i + 1]) - base
            at = fit_first[ys[i]] * stride + xs[i]
            _add_weights(log, weights, base, n, find_rows(sums, at, stride, y_fit, ys[i]))
        _flush_plane(sums, stride, x_fit, x_range, result, slot)


@compile_kernel("contract")
def join_planes(first, stop, slot_plane, projection, plane_sums, lattice):
    """Sum the planes over the leading axes, for the control rows ``first:stop``.

    ``plane_sums`` has shape (slots, control rows, columns), ``lattice`` (control planes, control
    rows, columns).
    """
    plane_control, plane_weight, _, _, _, _ = projection
    for cz in range(lattice.shape[0]):
        for cy in range(first, stop):
            for cx in range(lattice.shape[2]):
                lattice[cz, cy, cx] = 0.0
    for s in range(len(slot_plane)):
        plane = slot_plane[s]
        for k in range(plane_control.shape[1]):
            control, weight = plane_control[plane, k], plane_weight[plane, k]
            for cy in range(first, stop):
                for cx in range(lattice.shape[2]):
                    lattice[control, cy, cx] += weight * plane_sums[s, cy, cx]
