"""Kernels that compare the field with the field before an iteration, whose mesh may be coarser."""

# pyright: reportCallIssue=false, reportArgumentType=false

import numpy as np
from numpy import float32, float64, int64, uint64

from n4ax.engines.compiled.kernel import compile_kernel
from n4ax.engines.cpu.kernels.evaluation import combine, exponentiate, find_sheet_rows
from n4ax.engines.cpu.kernels.lanes import store, subtract
from n4ax.engines.cpu.kernels.layout import IS_OUTSIDE, LANES
from n4ax.engines.cpu.kernels.recurrence import sum_voxels

_BLOCK = 256
"""Ratios are computed for so many places at a time."""


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
def compute_ratios(first, stop, pieces, rows, sheets, before, out):
    """Set ``out`` to exp(old field - new field) of the voxels that count, in image order.

    These are the voxels of the pieces ``pieces[k] : pieces[k + 1]`` of the stretches, for k from
    ``first`` to ``stop``. ``out`` begins with those of the first piece of all. The sheets are
    those after and before the iteration.
    """
    log, _, start, length, _, _, _, included, _, _, _ = rows
    room = np.empty(_count_places(first, stop, pieces, start), np.float32)
    ratios = np.empty_like(room)
    for k in range(first, stop):
        _fill_ratios(pieces[k], pieces[k + 1], rows, sheets, before, room, ratios)
        for i in range(pieces[k], pieces[k + 1]):
            place = uint64(start[i] - start[pieces[k]])
            at = uint64(included[i] - included[pieces[0]])
            if included[i + 1] - included[i] == length[i]:
                for j in range(uint64(length[i])):
                    out[at + j] = ratios[place + j]
                continue
            # The ratio of a gap is overwritten by the next one, since a stretch ends on a voxel
            # that counts.
            for j in range(uint64(length[i])):
                out[at] = ratios[place + j]
                at += uint64(log[uint64(start[i]) + j] < float32(IS_OUTSIDE))


@compile_kernel()
def sum_pieces(first, stop, pieces, rows, sheets, before, mean, units, added):
    """Set ``added`` to what each piece adds to sigma, in its ``units``; see :func:`sum_voxels`.

    ``mean`` is mu before the first piece of all. A voxel of a gap gets this as its ratio, since
    it then adds nothing.
    """
    log, _, start, _, _, _, _, included, _, _, _ = rows
    mu = float32(mean)
    room = np.empty(_count_places(first, stop, pieces, start), np.float32)
    ratios = np.empty_like(room)
    for k in range(first, stop):
        base = uint64(start[pieces[k]])
        n = uint64(start[pieces[k + 1]]) - base
        _fill_ratios(pieces[k], pieces[k + 1], rows, sheets, before, room, ratios)
        for j in range(n):
            ratios[j] = ratios[j] if log[base + j] < float32(IS_OUTSIDE) else mu
        count = included[pieces[k]]
        gaps = int64(n) - (included[pieces[k + 1]] - count)
        added[k] = sum_voxels(ratios, int64(n), float64(count), gaps, mu, units[k])


@compile_kernel()
def _count_places(first, stop, pieces, start):
    """Count the places of the longest of some pieces, gaps included."""
    most = 0
    for k in range(first, stop):
        most = max(most, start[pieces[k + 1]] - start[pieces[k]])
    return most


@compile_kernel()
def _fill_ratios(first, stop, rows, sheets, before, room, ratios):
    """Set ``ratios`` to those of all places of the stretches ``first:stop``, gaps included."""
    _, _, start, _, xs, ys, planes, _, _, _, _ = rows
    for i in range(first, stop):
        at, n = uint64(start[i] - start[first]), uint64(start[i + 1] - start[i])
        rows_after = find_sheet_rows(sheets, planes[i], ys[i], xs[i])
        rows_before = find_sheet_rows(before, planes[i], ys[i], xs[i])
        for j in range(uint64(0), n, uint64(LANES)):
            store(room, at + j, subtract(combine(rows_before, j), combine(rows_after, j)))
    ratio = np.empty(_BLOCK, np.float64)
    places = start[stop] - start[first]
    for at in range(0, places, _BLOCK):
        size = min(_BLOCK, places - at)
        exponentiate(room[at:], size, ratio)
        base = uint64(at)
        for j in range(uint64(size)):
            ratios[base + j] = float32(ratio[j])
