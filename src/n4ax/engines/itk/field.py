"""A log bias field in ITK's arithmetic: expanded to rows, evaluated, and divided by."""

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from n4ax.engines.cpu.threads import Threads
from n4ax.engines.itk.bases import AxisTable
from n4ax.engines.itk.kernels.evaluation import collapse_axis, divide_rows, evaluate_rows
from n4ax.engines.itk.kernels.layout import LANES, Rows
from n4ax.engines.itk.kernels.libm import exponentiate_double
from n4ax.errors import explain_shortage

Lattice = npt.NDArray[np.float32]

FEW_NUMBERS = 1 << 17
"""Fewer numbers are computed by one thread: handing them out takes longer than it saves."""


class ItkField(NamedTuple):
    """A lattice, and the rows that it is expanded to."""

    lattice: Lattice
    rows: Rows


def expand_lattice(lattice: Lattice, tables: Sequence[AxisTable], threads: Threads) -> ItkField:
    """Expand a lattice to the rows of a grid: along the slowest axis first, as ITK does."""
    *leading, x = tables
    outer = 1
    values = lattice
    for axis, table in enumerate(leading):
        inner = int(np.prod(lattice.shape[axis + 1 :]))
        out = np.empty((outer, len(table.first), inner), np.float32)
        source = np.ascontiguousarray(values).reshape(outer, -1, inner)
        places = outer * len(table.first)
        if out.size < FEW_NUMBERS:
            collapse_axis(0, places, table.first, table.weights, source, out)
        else:
            threads.run(places, collapse_axis, table.first, table.weights, source, out)
        values, outer = out, places
    weights = np.zeros((x.weights.shape[1], len(x.first) + LANES), np.float32)
    weights[:, : len(x.first)] = x.weights.T
    rows = Rows(values.reshape(outer, -1), x.first, weights, find_stops(x.first))
    return ItkField(lattice, rows)


def find_stops(first: npt.NDArray[np.int64]) -> npt.NDArray[np.int64]:
    """Find for each voxel of an axis where the first control point changes next."""
    ends = np.append(np.flatnonzero(np.diff(first)) + 1, len(first))
    return ends[np.searchsorted(ends, np.arange(len(first)), side="right")]


@explain_shortage()
def evaluate(
    lattice: Lattice, tables: Sequence[AxisTable], threads: Threads
) -> npt.NDArray[np.float32]:
    """Evaluate a spline on a grid, float32."""
    log_field = np.empty([len(table.first) for table in tables], np.float32)
    flat = log_field.reshape(-1, log_field.shape[-1])
    threads.run(len(flat), evaluate_rows, expand_lattice(lattice, tables, threads).rows, flat)
    return log_field


def exponentiate(log_field: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
    """The multiplicative field as ITK's filter for exponentials computes it."""
    bias = np.empty(log_field.size, np.float32)
    exponentiate_double(np.ascontiguousarray(log_field).ravel(), log_field.size, bias)
    return bias.reshape(log_field.shape)


@explain_shortage()
def divide(
    lattice: Lattice,
    single: bool,
    image: npt.NDArray[Any],
    tables: Sequence[AxisTable],
    threads: Threads,
) -> npt.NDArray[Any]:
    """Divide an image by exp(spline), as ITK does.

    Parameters
    ----------
    lattice
        Control points of the log field.
    single
        Whether the exponential is computed in single precision, as ITK's N4 filter does, or in
        double precision and then rounded, as its filter for exponentials does.
    image
        The image, on the grid of ``tables``.
    tables
        The spline on each axis of the image.
    threads
        The threads that run the kernels.

    Returns
    -------
    array, C-ordered
        float64 for a float64 image, and float32 otherwise.
    """
    wide = image.dtype.kind == "f" and image.dtype.itemsize >= 8
    given = np.ascontiguousarray(image, np.float64 if wide else np.float32)
    corrected = np.empty_like(given)
    rows = expand_lattice(lattice, tables, threads).rows
    flat, out = (array.reshape(-1, given.shape[-1]) for array in (given, corrected))
    threads.run(len(flat), divide_rows, rows, single, flat, out)
    return corrected
