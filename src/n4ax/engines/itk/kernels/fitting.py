"""Kernels that add up the fit: each control point's addends one by one, in the order of voxels."""

# pyright: reportCallIssue=false, reportArgumentType=false

import numpy as np
from numba import float32, float64, uint64

from n4ax.engines.cpu.compiled import compile_kernel
from n4ax.engines.itk.kernels.lanes import (
    add_confidence,
    add_residual,
    add_weighted,
    load_lanes,
    read_double,
    read_index,
    read_single,
    scale_lanes,
    write_single,
)
from n4ax.engines.itk.kernels.layout import LANES

_RESIDUALS, _WEIGHTED, _CONFIDENCES, _ONES = range(4)
"""What is summed: residuals, with or without confidences, or the confidences, all 1 perhaps."""


@compile_kernel()
def sum_squares(first, stop, runs, fit, result):
    """Set ``result`` to the sum of the squared weights of each voxel, for chunks ``first:stop``.

    The squares are added with x fastest, in float32.
    """
    start, xs, row, chunk = runs
    taps = fit.x_weights.shape[0]
    weight = np.empty(fit.x_weights.shape[1], np.float64)
    for i in range(chunk[first], chunk[stop]):
        base, x, n = uint64(start[i]), uint64(xs[i]), uint64(start[i + 1] - start[i])
        for j in range(n):
            result[base + j] = float32(0)
        outer = fit.row_outer[row[i]]
        for k in range(taps):
            for lane in range(len(fit.lane_offset)):
                for j in range(n):
                    weight[j] = float64(fit.x_weights[lane % taps, x + j])
                for m in range(fit.row_factors.shape[0]):
                    factor = fit.factors[fit.row_factors[m, row[i]] * fit.lanes + lane]
                    for j in range(n):
                        weight[j] = float64(float32(weight[j] * factor))
                for j in range(n):
                    t = float32(weight[j] * fit.outer_weights[outer, k])
                    result[base + j] += t * t


@compile_kernel()
def _add_run(kind, place, tables, voxels, taps, room):
    """Add the voxels of one run in one cell of the mesh to the sums of their control points.

    A voxel of residual z and confidence c adds ``z t^3 c / w2`` to a control point of weight t,
    where w2 is the sum of its squared weights; or ``c t^2``, for the confidences. All arrays are
    given by addresses: ``tables`` are those of the row.
    """
    at, n, x = place
    x_lanes, factors, more_factors, outer_weights = tables
    values, squares, confidence = voxels
    first, stop, step, lanes, between = taps
    sums, product = room
    for i in range(at, at + n):
        for block in range(uint64(0), lanes, uint64(LANES)):
            load_lanes(product, x_lanes, x * lanes + block)
            if between > 0:
                scale_lanes(product, factors, block)
            if between > 1:
                scale_lanes(product, more_factors, block)
            k = first
            while k < stop:
                base = k * lanes + block
                weight = read_double(outer_weights, k)
                if kind == _RESIDUALS:
                    z, w2 = read_single(values, i), read_single(squares, i)
                    add_residual(sums, base, product, weight, z, w2)
                elif kind == _WEIGHTED:
                    z, w2 = read_single(values, i), read_single(squares, i)
                    add_weighted(sums, base, product, weight, z, w2, read_single(confidence, i))
                elif kind == _CONFIDENCES:
                    add_confidence(sums, base, product, weight, read_single(confidence, i))
                else:
                    add_confidence(sums, base, product, weight, float32(1))
                k += step
        x += uint64(1)


@compile_kernel()
def _load_cell(lattice, stride, offsets, count, taps, sums):
    """Load the sums of the control points of a cell, whose first one is at ``lattice``."""
    first, stop, step, lanes, _ = taps
    k = first
    while k < stop:
        for lane in range(count):
            place = k * stride + uint64(read_index(offsets, lane))
            write_single(sums, k * lanes + lane, read_single(lattice, place))
        k += step


@compile_kernel()
def _store_cell(lattice, stride, offsets, count, taps, sums):
    """Store the sums of the control points of a cell, whose first one is at ``lattice``."""
    first, stop, step, lanes, _ = taps
    k = first
    while k < stop:
        for lane in range(count):
            place = k * stride + uint64(read_index(offsets, lane))
            write_single(lattice, place, read_single(sums, k * lanes + lane))
        k += step


@compile_kernel()
def sum_units(first, stop, units, classes, runs, fit, voxels, result):
    """Sum what the voxels of each work unit add to each control point.

    Parameters
    ----------
    first, stop
        The tasks to do. Task ``p`` is the work unit ``p // classes``.
    units
        Work unit ``u`` has the voxels ``units[u] : units[u + 1]``.
    classes
        Task ``p`` adds to those control points alone whose number along the first axis is ``p``
        modulo this. So several threads can share a work unit, and each sum keeps its order.
    runs, fit
        The runs of voxels, and the weights of the fit.
    voxels
        Residuals, sums of squared weights, and confidences. Without residuals, the confidences
        are summed.
    result
        Shape (work units, control points on the first axis, other control points), zeros.
    """
    start, xs, rows, _ = runs
    values, squares, confidence = voxels
    kind = _RESIDUALS if len(values) > 0 else _ONES
    if len(confidence) > 0:
        kind = _WEIGHTED if len(values) > 0 else _CONFIDENCES
    numbers = (values.ctypes.data, squares.ctypes.data, confidence.ctypes.data)
    order, between = fit.outer_weights.shape[1] - 1, fit.row_factors.shape[0]
    lanes, stride = uint64(fit.lanes), uint64(result.shape[2])
    count, offsets = uint64(len(fit.lane_offset)), fit.lane_offset.ctypes.data
    product = np.empty(LANES, np.float64)
    sums = np.zeros((order + 1) * fit.lanes, np.float32)
    room = (sums.ctypes.data, product.ctypes.data)
    for p in range(first, stop):
        lattice = result[p // classes].ctypes.data
        i, end = units[p // classes], units[p // classes + 1]
        run = np.searchsorted(start, i, side="right") - 1
        cell, taps = uint64(0), (uint64(0), uint64(0), uint64(1), lanes, between)
        while i < end:
            row, x = rows[run], xs[run] + i - start[run]
            run_end = min(start[run + 1], end)
            outer = fit.row_outer[row]
            control = fit.outer_first[outer]
            factors = fit.factors.ctypes.data
            more = factors
            if between > 0:
                factors += uint64(8) * lanes * uint64(fit.row_factors[0, row])
            if between > 1:
                more += uint64(8) * lanes * uint64(fit.row_factors[1, row])
            weights = fit.outer_weights.ctypes.data + uint64(8 * outer * (order + 1))
            tables = (fit.x_lanes.ctypes.data, factors, more, weights)
            row_place = uint64(control) * stride + uint64(fit.row_offset[row])
            while i < run_end:
                n = min(fit.x_stop[x] - x, run_end - i)
                address = lattice + uint64(4) * (row_place + uint64(fit.x_first[x]))
                if address != cell:
                    _store_cell(cell, stride, offsets, count, taps, room[0])
                    own = uint64((p % classes - control) % classes)
                    cell, taps = address, (own, uint64(order + 1), uint64(classes), lanes, between)
                    _load_cell(cell, stride, offsets, count, taps, room[0])
                _add_run(kind, (uint64(i), uint64(n), uint64(x)), tables, numbers, taps, room)
                i += n
                x += n
            run += 1
        _store_cell(cell, stride, offsets, count, taps, room[0])
