"""Kernels that evaluate a field."""

# pyright: reportCallIssue=false, reportArgumentType=false

import numpy as np
from numpy import float32, float64, uint64

from n4ax.engines.compiled.kernel import compile_kernel
from n4ax.engines.itk.kernels.lanes import raise_lanes, read_index, read_single, set_lanes
from n4ax.engines.itk.kernels.layout import LANES
from n4ax.engines.itk.kernels.libm import exponentiate_double, exponentiate_single


@compile_kernel()
def collapse_axis(first, stop, first_control, weights, lattice, out):
    """Evaluate the spline along one axis, for the places ``first:stop`` of ``out``.

    ``lattice`` has shape (outer, control points, inner), and ``out`` (outer, voxels, inner).
    """
    voxels, inner = out.shape[1], out.shape[2]
    for place in range(first, stop):
        o, i = place // voxels, place % voxels
        for j in range(inner):
            total = float32(0)
            for k in range(weights.shape[1]):
                total = total + lattice[o, first_control[i] + k, j] * weights[i, k]
            out[o, i, j] = total


@compile_kernel()
def _locate_rows(rows):
    """Return what :func:`_evaluate_run` needs of the rows: addresses and lengths."""
    values, first_control, weights, stop = rows
    tables = (first_control.ctypes.data, stop.ctypes.data, weights.ctypes.data)
    sizes = (uint64(values.shape[1]), uint64(weights.shape[0]), uint64(weights.shape[1]))
    return values.ctypes.data, tables, sizes


@compile_kernel()
def _evaluate_run(places, row, x0, n, field):
    """Evaluate the field on ``n`` voxels of a row, from column ``x0`` on.

    ``field`` is the address of a buffer. Whole blocks of lanes are written, so that up to
    ``LANES - 1`` numbers behind the run are written, too.
    """
    values, (first_control, stop, weights), (controls, taps, columns) = places
    x, end = uint64(x0), uint64(x0 + n)
    while x < end:
        segment_end = min(uint64(read_index(stop, x)), end)
        at = uint64(row) * controls + uint64(read_index(first_control, x))
        for block in range(x, segment_end, uint64(LANES)):
            place = block - uint64(x0)
            set_lanes(field, place, weights, block, read_single(values, at))
            for k in range(uint64(1), taps):
                value = read_single(values, at + k)
                raise_lanes(field, place, weights, k * columns + block, value)
        x = segment_end


@compile_kernel()
def evaluate_rows(first, stop, rows, log_field):
    """Evaluate the field on the rows ``first:stop`` of ``log_field`` (rows, columns)."""
    n = log_field.shape[1]
    places = _locate_rows(rows)
    buffer = np.empty(n + LANES, np.float32)
    for row in range(first, stop):
        _evaluate_run(places, row, 0, n, buffer.ctypes.data)
        for x in range(n):
            log_field[row, x] = buffer[x]


@compile_kernel()
def divide_rows(first, stop, rows, single, image, corrected):
    """Set ``corrected = image / exp(field)`` on the rows ``first:stop``.

    The exponential is computed in single precision, or in double and rounded to float32.
    """
    n = image.shape[1]
    places = _locate_rows(rows)
    field = np.empty(n + LANES, np.float32)
    factor = np.empty(n, np.float32)
    for row in range(first, stop):
        _evaluate_run(places, row, 0, n, field.ctypes.data)
        if single:
            exponentiate_single(field, n, factor)
        else:
            exponentiate_double(field, n, factor)
        for x in range(n):
            corrected[row, x] = image[row, x] / factor[x]


@compile_kernel()
def correct_runs(first, stop, runs, rows, log, corrected, ends):
    """Subtract the field from the log intensities of the chunks ``first:stop``.

    ``ends`` (chunks, 2) are set to the least and the greatest of each chunk, and are NaN if any
    is.
    """
    start, xs, row, chunk = runs
    places = _locate_rows(rows)
    field = np.empty(len(rows.first) + LANES, np.float32)
    for c in range(first, stop):
        least, greatest = float32(np.inf), float32(-np.inf)
        for i in range(chunk[c], chunk[c + 1]):
            base, n = uint64(start[i]), start[i + 1] - start[i]
            _evaluate_run(places, row[i], xs[i], n, field.ctypes.data)
            for j in range(uint64(n)):
                value = log[base + j] - field[j]
                corrected[base + j] = value
                if value < least or value != value:
                    least = value
                if value > greatest or value != value:
                    greatest = value
        ends[c, 0], ends[c, 1] = least, greatest


@compile_kernel()
def compute_ratios(first, stop, runs, rows, before, ratios):
    """Set ``ratios`` to exp(field before - field) of the voxels of the chunks ``first:stop``."""
    start, xs, row, chunk = runs
    places, places_before = _locate_rows(rows), _locate_rows(before)
    change = np.empty(len(rows.first) + LANES, np.float32)
    ratio = np.empty(len(rows.first) + LANES, np.float32)
    for i in range(chunk[first], chunk[stop]):
        base, n = uint64(start[i]), start[i + 1] - start[i]
        _evaluate_run(places_before, row[i], xs[i], n, change.ctypes.data)
        _evaluate_run(places, row[i], xs[i], n, ratio.ctypes.data)
        for j in range(n):
            change[j] = change[j] - ratio[j]
        exponentiate_single(change, n, ratio)
        for j in range(uint64(n)):
            ratios[base + j] = ratio[j]


@compile_kernel()
def sum_changes(first, stop, runs, rows, before, every, result):
    """Sum the change of the field over every ``every``-th run of each chunk.

    ``result`` (chunks, 3) holds the number of voxels, the sum of the change and that of its
    squares.
    """
    start, xs, row, chunk = runs
    places, places_before = _locate_rows(rows), _locate_rows(before)
    old = np.empty(len(rows.first) + LANES, np.float32)
    new = np.empty(len(rows.first) + LANES, np.float32)
    for c in range(first, stop):
        count, total, squares = 0, 0.0, 0.0
        for i in range(-(-chunk[c] // every) * every, chunk[c + 1], every):
            n = start[i + 1] - start[i]
            _evaluate_run(places_before, row[i], xs[i], n, old.ctypes.data)
            _evaluate_run(places, row[i], xs[i], n, new.ctypes.data)
            for j in range(n):
                change = float64(old[j] - new[j])
                total += change
                squares += change * change
            count += n
        result[c, 0], result[c, 1], result[c, 2] = count, total, squares
