"""Kernels that compare the field with the field before an iteration."""

# pyright: reportCallIssue=false, reportArgumentType=false

import numpy as np
from numpy import float64, uint64

from n4ax.engines.compiled.kernel import compile_kernel
from n4ax.engines.cpu.kernels.recurrence import sum_voxels
from n4ax.engines.itk.kernels.evaluation import evaluate_run, locate_rows
from n4ax.engines.itk.kernels.layout import LANES
from n4ax.engines.itk.kernels.libm import exponentiate_single


@compile_kernel()
def compute_steps(first, stop, places, rows, before, steps):
    """Set ``steps`` to field before less field at the places (row, x) of some samples."""
    row, xs = places
    sheet, sheet_before = locate_rows(rows), locate_rows(before)
    new = np.empty(1 + LANES, np.float32)
    old = np.empty(1 + LANES, np.float32)
    for k in range(first, stop):
        evaluate_run(sheet_before, row[k], xs[k], 1, old.ctypes.data)
        evaluate_run(sheet, row[k], xs[k], 1, new.ctypes.data)
        steps[k] = old[0] - new[0]


@compile_kernel()
def compute_ratios(first, stop, pieces, runs, rows, before, out):
    """Set ``out`` to exp(field before - field) of the voxels of some pieces of the runs.

    These are the pieces ``pieces[k] : pieces[k + 1]``, for k from ``first`` to ``stop``. ``out``
    begins with the voxels of the first piece of all. The rows of the field are those after and
    before the iteration.
    """
    start = runs[0]
    base = start[pieces[0]]
    for k in range(first, stop):
        part = out[start[pieces[k]] - base :]
        _fill_ratios(pieces[k], pieces[k + 1], runs, rows, before, part)


@compile_kernel()
def sum_pieces(first, stop, pieces, runs, rows, before, mean, units, added):
    """Set ``added`` to what each piece adds to sigma, in its ``units``; see :func:`sum_voxels`.

    ``mean`` is mu before the first piece of all.
    """
    start = runs[0]
    mu = np.float32(mean)
    most = 0
    for k in range(first, stop):
        most = max(most, start[pieces[k + 1]] - start[pieces[k]])
    voxels = np.empty(most, np.float32)
    for k in range(first, stop):
        begin, end = start[pieces[k]], start[pieces[k + 1]]
        _fill_ratios(pieces[k], pieces[k + 1], runs, rows, before, voxels)
        added[k] = sum_voxels(voxels, end - begin, float64(begin), 0, mu, units[k])


@compile_kernel()
def _fill_ratios(first, stop, runs, rows, before, out):
    """Set ``out`` to the ratios of the voxels of the runs ``first:stop``."""
    start, xs, row, _ = runs
    places, places_before = locate_rows(rows), locate_rows(before)
    change = np.empty(len(rows.first) + LANES, np.float32)
    ratio = np.empty(len(rows.first) + LANES, np.float32)
    for i in range(first, stop):
        base, n = uint64(start[i] - start[first]), start[i + 1] - start[i]
        evaluate_run(places_before, row[i], xs[i], n, change.ctypes.data)
        evaluate_run(places, row[i], xs[i], n, ratio.ctypes.data)
        for j in range(n):
            change[j] = change[j] - ratio[j]
        exponentiate_single(change, n, ratio)
        for j in range(uint64(n)):
            out[base + j] = ratio[j]
