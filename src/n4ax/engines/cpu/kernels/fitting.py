"""Kernels that sum what the spline is fitted to: residuals and weights, plane by plane."""

# pyright: reportCallIssue=false, reportArgumentType=false

import numpy as np
from numba import float32, float64, int32, uint64

from n4ax.engines.cpu.compiled import compile_kernel
from n4ax.engines.cpu.kernels.evaluation import evaluate_row
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
)
from n4ax.engines.cpu.kernels.layout import IS_OUTSIDE, LANES


@compile_kernel()
def _add_row(sums, stride, y_weight, y, first, n, values):
    """Add row ``y`` of a plane to the sums of the control rows that it reaches.

    ``sums`` is flat (control rows * stride), float32. ``first`` is the place in ``sums`` of the
    first of the ``n`` values, for the first of these control rows.
    """
    if y_weight.shape[1] == 4:
        _add_to_four(sums, first, uint64(stride), y_weight, y, n, values)
    else:
        _add_to_rows(sums, first, uint64(stride), y_weight, y, n, values)


@compile_kernel()
def _add_to_four(sums, at, stride, weight, y, n, values):
    """Add ``values[:n]`` to four rows of sums, with the weights of row ``y``."""
    r1, r2, r3 = at + stride, at + stride + stride, at + stride + stride + stride
    w0, w1 = repeat(weight[y, 0]), repeat(weight[y, 1])
    w2, w3 = repeat(weight[y, 2]), repeat(weight[y, 3])
    for j in range(uint64(0), n, uint64(LANES)):
        value = load(values, j)
        store(sums, at + j, add_product(load(sums, at + j), w0, value))
        store(sums, r1 + j, add_product(load(sums, r1 + j), w1, value))
        store(sums, r2 + j, add_product(load(sums, r2 + j), w2, value))
        store(sums, r3 + j, add_product(load(sums, r3 + j), w3, value))


@compile_kernel()
def _add_to_rows(sums, at, stride, weight, y, n, values):
    """Do the same with any number of rows."""
    for j in range(uint64(0), n, uint64(LANES)):
        value = load(values, j)
        for k in range(weight.shape[1]):
            place = at + uint64(k) * stride + j
            store(sums, place, add_product(load(sums, place), repeat(weight[y, k]), value))


@compile_kernel("reassoc", "contract", "nsz")
def _flush_plane(sums, stride, x_weight, x_range, result, slot):
    """Sum the sums of one plane along x, in double, into ``result[slot]``, and clear them."""
    for cy in range(result.shape[1]):
        base = uint64(cy * stride)
        for cx in range(result.shape[2]):
            total = 0.0
            for x in range(uint64(x_range[cx, 0]), uint64(x_range[cx, 1])):
                total += float64(sums[base + x]) * x_weight[uint64(cx), x]
            result[slot, cy, cx] = total
        for x in range(uint64(stride)):
            sums[base + x] = float32(0)


@compile_kernel()
def _compute_residuals(log, base, n, intensity_map, laid_bins, room):
    """Replace the field by corrected less expected log intensity; 0 where no voxel counts.

    ``room`` holds the field of the ``n`` voxels, and has room for the bins, the positions within
    them, and the map of each voxel's bin.
    """
    field, lower, part, mapped = room
    for j in range(uint64(0), n, uint64(LANES)):
        corrected = subtract(load(log, base + j), load(field, j))
        bin_, position = place_on_bins(corrected, laid_bins)
        store(field, j, corrected)
        store(lower, j, bin_)
        store(part, j, position)
    for j in range(n):
        copy_pair(mapped, j, intensity_map.pairs, uint64(np.uint32(lower[j])))
    zero, outside = repeat(float32(0)), repeat(float32(IS_OUTSIDE))
    for j in range(uint64(0), n, uint64(LANES)):
        corrected = load(field, j)
        expected, rise = load_pairs(mapped, j)
        expected = add(expected, multiply(rise, load(part, j)))
        residual = subtract(corrected, expected)
        store(field, j, choose_below(corrected, outside, residual, zero))


@compile_kernel()
def sum_residuals(first, stop, rows, sheets, intensity_map, projection, result):
    """Sum the residuals of each plane, corrected less expected log intensities (fit's delta).

    ``result`` (slots, control rows, control columns) belongs to the mesh of ``projection``, which
    may be finer than the mesh of ``sheets``.
    """
    log, weights, start, _, xs, ys, planes, _, chunk, slots, _ = rows
    _, _, fit_first, y_fit, x_fit, x_range = projection
    stride = sheets.stride
    field = np.empty(stride, np.float32)
    part = np.empty(stride, np.float32)
    lower = np.empty(stride, np.int32)
    room = field, lower, part, np.empty(2 * stride, np.float32)
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
            evaluate_row(sheets, planes[i], ys[i], xs[i], n, field)
            _compute_residuals(log, base, n, intensity_map, laid_bins, room)
            if len(weights) > 0:
                for j in range(n):
                    field[j] *= weights[base + j]
            at = uint64(fit_first[ys[i]] * stride + xs[i])
            _add_row(sums, stride, y_fit, ys[i], at, n, field)
        _flush_plane(sums, stride, x_fit, x_range, result, slot)


@compile_kernel()
def sum_weights(first, stop, rows, projection, result):
    """Sum the confidences of each plane (fit's omega); ``result`` as in :func:`sum_residuals`."""
    log, weights, start, _, xs, ys, planes, _, chunk, slots, _ = rows
    _, _, fit_first, y_fit, x_fit, x_range = projection
    stride = projection.x_weight.shape[1] + LANES
    values = np.empty(stride, np.float32)
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
            for j in range(n):
                inside = log[base + j] < float32(IS_OUTSIDE)
                values[j] = float32(1) if inside else float32(0)
            if len(weights) > 0:
                for j in range(n):
                    values[j] *= weights[base + j]
            at = uint64(fit_first[ys[i]] * stride + xs[i])
            _add_row(sums, stride, y_fit, ys[i], at, n, values)
        _flush_plane(sums, stride, x_fit, x_range, result, slot)


@compile_kernel("contract")
def join_planes(first, stop, slot_plane, projection, plane_sums, lattice):
    """Sum the planes over the leading axes, for the control rows ``first:stop``.

    ``plane_sums`` has shape (slots, control rows, columns), ``lattice`` (control planes, control
    rows, columns).
    """
    plane_control, plane_weight, _, _, _, _ = projection
    for s in range(len(slot_plane)):
        plane = slot_plane[s]
        for k in range(plane_control.shape[1]):
            control, weight = plane_control[plane, k], plane_weight[plane, k]
            for cy in range(first, stop):
                for cx in range(lattice.shape[2]):
                    lattice[control, cy, cx] += weight * plane_sums[s, cy, cx]
