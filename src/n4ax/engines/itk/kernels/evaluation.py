"""Kernels that evaluate a field."""

# pyright: reportCallIssue=false, reportArgumentType=false

import numpy as np
from numba import float32, float64, uint64

from n4ax.engines.cpu.compiled import compile_kernel
from n4ax.engines.itk.libm import exponentiate_double, exponentiate_single


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
def evaluate_run(rows, row, x0, n, field, at):
    """Set ``field[at : at + n]`` to the field on ``n`` voxels of a row, from column ``x0`` on."""
    values, first_control, weights, stop = rows
    x = x0
    while x < x0 + n:
        end = min(stop[x], x0 + n)
        start, length, column = uint64(at + x - x0), uint64(end - x), uint64(x)
        control = first_control[x]
        if weights.shape[0] == 4:
            v0, v1 = values[row, control], values[row, control + 1]
            v2, v3 = values[row, control + 2], values[row, control + 3]
            for j in range(length):
                total = float32(0) + v0 * weights[0, column + j]
                total = total + v1 * weights[1, column + j]
                total = total + v2 * weights[2, column + j]
                field[start + j] = total + v3 * weights[3, column + j]
        else:
            for j in range(length):
                field[start + j] = float32(0)
            for k in range(weights.shape[0]):
                value = values[row, control + k]
                for j in range(length):
                    field[start + j] = field[start + j] + value * weights[k, column + j]
        x = end


@compile_kernel()
def evaluate_rows(first, stop, rows, log_field):
    """Evaluate the field on the rows ``first:stop`` of ``log_field`` (rows, columns)."""
    n = log_field.shape[1]
    buffer = np.empty(n, np.float32)
    for row in range(first, stop):
        evaluate_run(rows, row, 0, n, buffer, 0)
        for x in range(n):
            log_field[row, x] = buffer[x]


@compile_kernel()
def divide_rows(first, stop, rows, single, image, corrected):
    """Set ``corrected = image / exp(field)`` on the rows ``first:stop``.

    The exponential is computed in single precision, or in double and rounded to float32.
    """
    n = image.shape[1]
    field = np.empty(n, np.float32)
    factor = np.empty(n, np.float32)
    for row in range(first, stop):
        evaluate_run(rows, row, 0, n, field, 0)
        if single:
            exponentiate_single(field, n, factor)
        else:
            exponentiate_double(field, n, factor)
        for x in range(n):
            corrected[row, x] = image[row, x] / factor[x]


@compile_kernel()
def correct_runs(first, stop, runs, rows, log, corrected):
    """Subtract the field from the log intensities of the chunks ``first:stop``."""
    start, xs, row, chunk = runs
    for i in range(chunk[first], chunk[stop]):
        n = start[i + 1] - start[i]
        evaluate_run(rows, row[i], xs[i], n, corrected, start[i])
        base = uint64(start[i])
        for j in range(uint64(n)):
            corrected[base + j] = log[base + j] - corrected[base + j]


@compile_kernel()
def compute_ratios(first, stop, runs, rows, before, ratios):
    """Set ``ratios`` to exp(field before - field) of the voxels of the chunks ``first:stop``."""
    start, xs, row, chunk = runs
    change = np.empty(len(rows.first), np.float32)
    ratio = np.empty(len(rows.first), np.float32)
    for i in range(chunk[first], chunk[stop]):
        base, n = uint64(start[i]), start[i + 1] - start[i]
        evaluate_run(before, row[i], xs[i], n, change, 0)
        evaluate_run(rows, row[i], xs[i], n, ratio, 0)
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
    old = np.empty(len(rows.first), np.float32)
    new = np.empty(len(rows.first), np.float32)
    for c in range(first, stop):
        count, total, squares = 0, 0.0, 0.0
        for i in range(-(-chunk[c] // every) * every, chunk[c + 1], every):
            n = start[i + 1] - start[i]
            evaluate_run(before, row[i], xs[i], n, old, 0)
            evaluate_run(rows, row[i], xs[i], n, new, 0)
            for j in range(n):
                change = float64(old[j] - new[j])
                total += change
                squares += change * change
            count += n
        result[c, 0], result[c, 1], result[c, 2] = count, total, squares
