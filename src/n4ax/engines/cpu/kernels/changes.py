"""Kernels that compare the field with the field before an iteration."""

# pyright: reportCallIssue=false, reportArgumentType=false

import numpy as np
from numpy import float32, float64, uint64

from n4ax.engines.compiled.kernel import compile_kernel
from n4ax.engines.cpu.kernels.evaluation import evaluate_row, exponentiate
from n4ax.engines.cpu.kernels.layout import IS_OUTSIDE


@compile_kernel("reassoc", "contract", "nsz")
def sum_changes(first, stop, rows, sheets, before, every, result):
    """Sum the change of the field over every ``every``-th stretch of each chunk.

    ``before`` are the sheets before the iteration, whose mesh may be coarser. ``result``
    (chunks, 3) holds the number of voxels, the sum of the change and the sum of its squares. Gaps
    of the mask are summed too, which does not matter for an estimate of the spread.
    """
    _, _, _, length, xs, ys, planes, _, chunk, _, _ = rows
    field = np.empty(sheets.stride, np.float32)
    change = np.empty(sheets.stride, np.float32)
    for c in range(first, stop):
        count, total, squares = 0, 0.0, 0.0
        for i in range(chunk[c], chunk[c + 1]):
            if i % every != 0:
                continue
            n = uint64(length[i])
            p, y, x = planes[i], ys[i], xs[i]
            evaluate_row(sheets, p, y, x, n, field)
            evaluate_row(before, p, y, x, n, change)
            for j in range(n):
                d = float64(change[j] - field[j])
                total += d
                squares += d * d
            count += length[i]
        result[c, 0], result[c, 1], result[c, 2] = count, total, squares


@compile_kernel()
def compute_ratios(first, stop, rows, sheets, before, out):
    """Set ``out`` to exp(old field - new field) of the voxels that count, in image order.

    ``before`` are the sheets before the iteration, whose mesh may be coarser.
    """
    log, _, start, length, xs, ys, planes, included, chunk, _, _ = rows
    field = np.empty(sheets.stride, np.float32)
    change = np.empty(sheets.stride, np.float32)
    ratio = np.empty(sheets.stride, np.float64)
    for c in range(first, stop):
        for i in range(chunk[c], chunk[c + 1]):
            base = uint64(start[i])
            n = uint64(start[i + 1]) - base
            p, y, x = planes[i], ys[i], xs[i]
            evaluate_row(sheets, p, y, x, n, field)
            evaluate_row(before, p, y, x, n, change)
            for j in range(n):
                change[j] -= field[j]
            exponentiate(change, n, ratio)
            # The ratio of a gap is overwritten by the next one, since a stretch ends on a voxel
            # that counts.
            at = uint64(included[i])
            for j in range(uint64(length[i])):
                out[at] = float32(ratio[j])
                at += uint64(log[base + j] < float32(IS_OUTSIDE))
