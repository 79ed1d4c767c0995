"""Kernels that add up the fit: each control point's addends one by one, in the order of voxels."""

# pyright: reportCallIssue=false, reportArgumentType=false

import numpy as np
from numba import float32, float64, uint64

from n4ax.engines.cpu.compiled import compile_kernel
from n4ax.engines.itk.kernels.lanes import add_confidence, add_residual, load_lanes, scale_lanes
from n4ax.engines.itk.kernels.layout import LANES


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
def _multiply_lanes(fit, row, x, block, product):
    """Set ``product`` to the weights of a block of lanes along all axes but the first."""
    lanes = uint64(fit.lanes)
    load_lanes(product, fit.x_lanes, uint64(x) * lanes + block)
    for m in range(fit.row_factors.shape[0]):
        scale_lanes(product, fit.factors, uint64(fit.row_factors[m, row]) * lanes + block)


@compile_kernel()
def _add_residuals(fit, place, voxels, taps, product, sums):
    """Add the voxels of one run in one cell of the mesh to the sums of their control points.

    A voxel of residual z and confidence c adds ``z t^3 c / w2`` to a control point of weight t,
    where w2 is the sum of its squared weights.
    """
    row, x, at, n = place
    values, squares, confidence = voxels
    lanes = uint64(fit.lanes)
    outer = fit.row_outer[row]
    for j in range(n):
        c = confidence[at + j] if len(confidence) > 0 else float32(1)
        for block in range(uint64(0), lanes, uint64(LANES)):
            _multiply_lanes(fit, row, x + j, block, product)
            k = taps[0]
            while k < taps[1]:
                base = uint64(k) * lanes + block
                weight = fit.outer_weights[outer, k]
                add_residual(sums, base, product, weight, values[at + j], c, squares[at + j])
                k += taps[2]


@compile_kernel()
def _add_confidences(fit, place, voxels, taps, product, sums):
    """Add the squared weights, times the confidence, of the voxels of one run in one cell."""
    row, x, at, n = place
    _, _, confidence = voxels
    lanes = uint64(fit.lanes)
    outer = fit.row_outer[row]
    for j in range(n):
        c = confidence[at + j] if len(confidence) > 0 else float32(1)
        for block in range(uint64(0), lanes, uint64(LANES)):
            _multiply_lanes(fit, row, x + j, block, product)
            k = taps[0]
            while k < taps[1]:
                base = uint64(k) * lanes + block
                add_confidence(sums, base, product, fit.outer_weights[outer, k], c)
                k += taps[2]


@compile_kernel()
def _exchange(fit, cell, taps, sums, lattice, load):
    """Load the sums of the control points of a cell from the lattice, or store them there."""
    control, offset = cell
    lanes = fit.lanes
    for k in range(taps[0], taps[1], taps[2]):
        for lane in range(len(fit.lane_offset)):
            place = offset + fit.lane_offset[lane]
            if load:
                sums[k * lanes + lane] = lattice[control + k, place]
            else:
                lattice[control + k, place] = sums[k * lanes + lane]


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
    order = fit.outer_weights.shape[1] - 1
    product = np.empty(LANES, np.float64)
    sums = np.zeros((order + 1) * fit.lanes, np.float32)
    for p in range(first, stop):
        lattice = result[p // classes]
        i, end = units[p // classes], units[p // classes + 1]
        run = np.searchsorted(start, i, side="right") - 1
        cell, taps = (-1, 0), (0, 0, 1)
        while i < end:
            row, x = rows[run], xs[run] + i - start[run]
            run_end = min(start[run + 1], end)
            while i < run_end:
                n = min(fit.x_stop[x] - x, run_end - i)
                control = fit.outer_first[fit.row_outer[row]]
                offset = fit.row_offset[row] + fit.x_first[x]
                if cell[0] != control or cell[1] != offset:
                    _exchange(fit, cell, taps, sums, lattice, False)
                    cell = (control, offset)
                    taps = ((p % classes - control) % classes, order + 1, classes)
                    _exchange(fit, cell, taps, sums, lattice, True)
                place = (row, uint64(x), uint64(i), uint64(n))
                if len(voxels[0]) > 0:
                    _add_residuals(fit, place, voxels, taps, product, sums)
                else:
                    _add_confidences(fit, place, voxels, taps, product, sums)
                i += n
                x += n
            run += 1
        _exchange(fit, cell, taps, sums, lattice, False)
