"""Kernels that compare the field with the field before an iteration, whose mesh may be coarser."""

# pyright: reportCallIssue=false, reportArgumentType=false

import numpy as np
from numpy import float32, float64, int64, uint64

from n4ax.engines.compiled.kernel import compile_kernel
from n4ax.engines.cpu.kernels.evaluation import evaluate_row, exponentiate
from n4ax.engines.cpu.kernels.layout import IS_OUTSIDE
from n4ax.engines.cpu.kernels.recurrence import sum_voxels


@compile_kernel()
def locate_voxels(first, stop, index, rows, planes, ys, xs):
    """Find where voxels lie: those with the numbers ``index`` among the voxels that count."""
    log, _, start, _, x, y, plane, included, _, _, _ = rows
    for k in range(first, stop):
        i = np.searchsorted(included, index[k], side="right") - 1
        left = index[k] - included[i]
        j = -1
        while left >= 0:
            j += 1
            left -= int(log[start[i] + j] < float32(IS_OUTSIDE))
        planes[k], ys[k], xs[k] = plane[i], y[i], x[i] + j


@compile_kernel()
def compute_steps(first, stop, places, sheets, before, steps):
    """Set ``steps`` to old field less new field at the places (plane, y, x) of some samples."""
    for k in range(first, stop):
        old = _evaluate_at(before, places, k)
        steps[k] = old - _evaluate_at(sheets, places, k)


@compile_kernel("contract")
def _evaluate_at(sheets, places, k):
    """Evaluate the field at a place."""
    values, control_rows, stride, y_first, y_weight = sheets
    planes, ys, xs = places
    y = ys[k]
    at = uint64((planes[k] * control_rows + y_first[y]) * stride + xs[k])
    total = float32(0)
    for i in range(y_weight.shape[1]):
        total += y_weight[y, i] * values[at]
        at += uint64(stride)
    return total


@compile_kernel()
def compute_ratios(first, stop, pieces, rows, fields, out):
    """Set ``out`` to exp(old field - new field) of the voxels that count, in image order.

    These are the voxels of the pieces ``pieces[k] : pieces[k + 1]`` of the stretches, for k from
    ``first`` to ``stop``. ``out`` begins with those of the first piece of all. ``fields`` are the
    sheets after and before the iteration.
    """
    included = rows[7]
    base = included[pieces[0]]
    for k in range(first, stop):
        at = included[pieces[k]] - base
        _fill_ratios(pieces[k], pieces[k + 1], rows, fields, out[at:])


@compile_kernel()
def sum_pieces(first, stop, pieces, rows, fields, mean, units, added):
    """Set ``added`` to what each piece adds to sigma, in its ``units``; see :func:`sum_voxels`.

    ``mean`` is mu before the first piece of all. A voxel of a gap gets this as its ratio, since
    it then adds nothing.
    """
    log, _, start, _, xs, ys, planes, included, _, _, _ = rows
    sheets, before = fields
    mu = float32(mean)
    field = np.empty(sheets.stride, np.float32)
    change = np.empty(sheets.stride, np.float32)
    ratio = np.empty(sheets.stride, np.float64)
    most = 0
    for k in range(first, stop):
        most = max(most, start[pieces[k + 1]] - start[pieces[k]])
    voxels = np.empty(most, np.float32)
    for k in range(first, stop):
        at = uint64(0)
        for i in range(pieces[k], pieces[k + 1]):
            base = uint64(start[i])
            n = uint64(start[i + 1]) - base
            evaluate_row(sheets, planes[i], ys[i], xs[i], n, field)
            evaluate_row(before, planes[i], ys[i], xs[i], n, change)
            for j in range(n):
                change[j] -= field[j]
            exponentiate(change, n, ratio)
            for j in range(n):
                counts = log[base + j] < float32(IS_OUTSIDE)
                voxels[at + j] = float32(ratio[j]) if counts else mu
            at += n
        count = included[pieces[k]]
        gaps = int64(at) - (included[pieces[k + 1]] - count)
        added[k] = sum_voxels(voxels, int64(at), float64(count), gaps, mu, units[k])


@compile_kernel()
def _fill_ratios(first, stop, rows, fields, out):
    """Set ``out`` to the ratios of the voxels that count of the stretches ``first:stop``."""
    log, _, start, length, xs, ys, planes, included, _, _, _ = rows
    sheets, before = fields
    field = np.empty(sheets.stride, np.float32)
    change = np.empty(sheets.stride, np.float32)
    ratio = np.empty(sheets.stride, np.float64)
    for i in range(first, stop):
        base = uint64(start[i])
        n = uint64(start[i + 1]) - base
        p, y, x = planes[i], ys[i], xs[i]
        evaluate_row(sheets, p, y, x, n, field)
        evaluate_row(before, p, y, x, n, change)
        for j in range(n):
            change[j] -= field[j]
        exponentiate(change, n, ratio)
        at = uint64(included[i] - included[first])
        # The ratio of a gap is overwritten by the next one, since a stretch ends on a voxel that
        # counts.
        for j in range(uint64(length[i])):
            out[at] = float32(ratio[j])
            at += uint64(log[base + j] < float32(IS_OUTSIDE))
