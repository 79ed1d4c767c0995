"""Kernels that add up the fit: each control point's addends one by one, in the order of voxels."""

# pyright: reportCallIssue=false, reportArgumentType=false

import numpy as np
from numpy import float32, float64, uint64

from n4ax.engines.compiled.kernel import compile_kernel
from n4ax.engines.itk.kernels.lanes import (
    add_confidence,
    add_larger,
    add_residual,
    add_weighted,
    copy_four,
    load_lanes,
    read_double,
    read_index,
    read_single,
    scale_lanes,
    tiny_matter,
    write_single,
)
from n4ax.engines.itk.kernels.layout import LANES, TINY

_RESIDUALS, _WEIGHTED, _CONFIDENCES, _ONES = range(4)
"""What is summed: residuals without and with confidences; confidences; or ones in their place."""


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
def _add_residual(place, taps, residual, squares):
    """Add a residual to the sums of a block of lanes, along the first axis."""
    sums, product, outer_weights = place
    k, stop, step, lanes, _ = taps
    while k < stop:
        weight = read_double(outer_weights, k)
        add_residual(sums, k * lanes, product, weight, residual, squares)
        k += step


@compile_kernel()
def _add_residual_with_care(place, taps, residual, squares):
    """Do the same, without the arithmetic of tiny weights where it changes nothing."""
    sums, product, outer_weights = place
    k, stop, step, lanes, _ = taps
    while k < stop:
        weight = read_double(outer_weights, k)
        if tiny_matter(sums, k * lanes, product, weight, residual):
            add_residual(sums, k * lanes, product, weight, residual, squares)
        else:
            add_larger(sums, k * lanes, product, weight, residual, squares)
        k += step


@compile_kernel()
def _add_weighted(place, taps, residual, squares, confidence):
    """Add a residual of a voxel with a confidence."""
    sums, product, outer_weights = place
    k, stop, step, lanes, _ = taps
    while k < stop:
        weight = read_double(outer_weights, k)
        add_weighted(sums, k * lanes, product, weight, residual, squares, confidence)
        k += step


@compile_kernel()
def _add_confidence(place, taps, confidence):
    """Add the squared weights of a voxel, times its confidence."""
    sums, product, outer_weights = place
    k, stop, step, lanes, _ = taps
    while k < stop:
        weight = read_double(outer_weights, k)
        add_confidence(sums, k * lanes, product, weight, confidence)
        k += step


@compile_kernel()
def _add_run(kind, place, tables, voxels, taps, room):
    """Add the voxels of one run in one cell of the mesh to the sums of their control points.

    A voxel of residual z and confidence c adds ``z t^3 c / w2`` to a control point of weight t,
    where w2 is the sum of its squared weights; or ``c t^2``, for the confidences. All arrays are
    given by addresses: ``tables`` are those of the row.
    """
    at, n, x = place
    x_lanes, factors, more_factors, outer_weights, x_least, least = tables
    values, squares, confidence = voxels
    _, _, _, lanes, between = taps
    sums, product = room
    for i in range(at, at + n):
        none_tiny = float64(read_single(x_least, x)) * least >= 2.0 * TINY
        for block in range(uint64(0), lanes, uint64(LANES)):
            load_lanes(product, x_lanes, x * lanes + block)
            if between > 0:
                scale_lanes(product, factors, block)
            if between > 1:
                scale_lanes(product, more_factors, block)
            at_sums = (sums + uint64(4) * block, product, outer_weights)
            if kind == _RESIDUALS:
                z, w2 = read_single(values, i), read_single(squares, i)
                if none_tiny:
                    _add_residual(at_sums, taps, z, w2)
                else:
                    _add_residual_with_care(at_sums, taps, z, w2)
            elif kind == _WEIGHTED:
                z, w2 = read_single(values, i), read_single(squares, i)
                _add_weighted(at_sums, taps, z, w2, read_single(confidence, i))
            else:
                c = read_single(confidence, i) if kind == _CONFIDENCES else float32(1)
                _add_confidence(at_sums, taps, c)
        x += uint64(1)


@compile_kernel()
def _exchange(lattice, layout, taps, sums, load):
    """Load the sums of the control points of a cell from the lattice, or store them there.

    The first of these control points is at the address ``lattice``; along x they are neighbours.
    """
    stride, offsets, count, along_x = layout
    k, stop, step, lanes, _ = taps
    while k < stop:
        for first in range(uint64(0), count, along_x):
            there = lattice + uint64(4) * (k * stride + uint64(read_index(offsets, first)))
            here = sums + uint64(4) * (k * lanes + first)
            target, source = (here, there) if load else (there, here)
            if along_x == uint64(4):
                copy_four(target, source)
            else:
                for x in range(along_x):
                    write_single(target, x, read_single(source, x))
        k += step


@compile_kernel()
def _choose_kind(voxels):
    """Return what is summed, and the addresses of the numbers of the voxels."""
    values, squares, confidence = voxels
    kind = _RESIDUALS if len(values) > 0 else _ONES
    if len(confidence) > 0:
        kind = _WEIGHTED if len(values) > 0 else _CONFIDENCES
    return kind, (values.ctypes.data, squares.ctypes.data, confidence.ctypes.data)


@compile_kernel()
def _locate_fit(fit):
    """Return the addresses of the arrays of the fit, and its sizes."""
    of_rows = (fit.row_factors.ctypes.data, fit.row_outer.ctypes.data, fit.row_least.ctypes.data)
    of_outer = (fit.outer_weights.ctypes.data, fit.outer_least.ctypes.data)
    of_x = (fit.x_lanes.ctypes.data, fit.x_least.ctypes.data)
    sizes = (
        uint64(len(fit.row_outer)),
        uint64(fit.lanes),
        uint64(fit.outer_weights.shape[1]),
        uint64(fit.row_factors.shape[0]),
    )
    return (of_rows, of_outer, of_x, fit.factors.ctypes.data, fit.lane_offset.ctypes.data), sizes


@compile_kernel()
def _find_tables(places, sizes, row):
    """Return the addresses of the weights of a row, and the least weight along all axes but x."""
    of_rows, of_outer, of_x, factors, _ = places
    row_factors, row_outer, row_least = of_rows
    rows, lanes, taps, between = sizes
    outer = uint64(read_index(row_outer, row))
    own = more = factors
    if between > 0:
        own += uint64(8) * lanes * uint64(read_index(row_factors, row))
    if between > 1:
        more += uint64(8) * lanes * uint64(read_index(row_factors, rows + row))
    weights = of_outer[0] + uint64(8) * outer * taps
    least = read_double(row_least, row) * read_double(of_outer[1], outer)
    return of_x[0], own, more, weights, of_x[1], least


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
    kind, numbers = _choose_kind(voxels)
    places, sizes = _locate_fit(fit)
    _, lanes, taps_along, between = sizes
    layout = (uint64(result.shape[2]), places[-1], uint64(len(fit.lane_offset)), taps_along)
    product = np.empty(LANES, np.float64)
    sums = np.zeros(taps_along * lanes, np.float32)
    room = (sums.ctypes.data, product.ctypes.data)
    for p in range(first, stop):
        lattice = result[p // classes].ctypes.data
        i, end = units[p // classes], units[p // classes + 1]
        run = np.searchsorted(start, i, side="right") - 1
        cell, taps = uint64(0), (uint64(0), uint64(0), uint64(1), lanes, between)
        while i < end:
            row, x = rows[run], xs[run] + i - start[run]
            run_end = min(start[run + 1], end)
            tables = _find_tables(places, sizes, uint64(row))
            control = fit.outer_first[fit.row_outer[row]]
            row_place = uint64(control) * layout[0] + uint64(fit.row_offset[row])
            while i < run_end:
                n = min(fit.x_stop[x] - x, run_end - i)
                address = lattice + uint64(4) * (row_place + uint64(fit.x_first[x]))
                if address != cell:
                    _exchange(cell, layout, taps, room[0], False)
                    own = uint64((p % classes - control) % classes)
                    cell, taps = address, (own, taps_along, uint64(classes), lanes, between)
                    _exchange(cell, layout, taps, room[0], True)
                _add_run(kind, (uint64(i), uint64(n), uint64(x)), tables, numbers, taps, room)
                i += n
                x += n
            run += 1
        _exchange(cell, layout, taps, room[0], False)
    # numba frees an array after its last use, and does not see the uses by address.
    sums[0], product[0] = float32(0), 0.0
