"""Kernels that evaluate a field, and divide an image by its exponential."""

# pyright: reportCallIssue=false, reportArgumentType=false

import numpy as np
from numpy import float32, float64, uint64

from n4ax.engines.compiled.kernel import compile_kernel
from n4ax.engines.cpu.kernels.lanes import (
    add_product,
    find_address,
    load,
    load_from,
    multiply,
    repeat,
    repeat_from,
    store,
    store_to,
    sum_lanes,
)
from n4ax.engines.cpu.kernels.layout import LANES

LARGE = 1 << 16
"""A stretch of a row whose log field has this Euclidean norm or a larger one is not squared."""


@compile_kernel("contract")
def expand_planes(first, stop, lattice, basis, sheets):
    """Sum the lattice over its leading axes for planes ``first:stop``, and expand the rows.

    This fills the ``values`` of ``sheets``. The axes are
    summed in the order leading axes, x, y; in ITK the order is z, y, x. Both sum in float32.
    """
    plane_control, plane_weight, _, _, x_weight, x_range = basis
    values, _, stride, _, _ = sheets
    for plane in range(first, stop):
        for cy in range(lattice.shape[1]):
            base = uint64((plane * lattice.shape[1] + cy) * stride)
            for x in range(uint64(stride)):
                values[base + x] = float32(0)
            for cx in range(lattice.shape[2]):
                value = float32(0)
                for k in range(plane_control.shape[1]):
                    weight = float32(plane_weight[plane, k])
                    value += weight * lattice[plane_control[plane, k], cy, cx]
                for x in range(uint64(x_range[cx, 0]), uint64(x_range[cx, 1])):
                    values[base + x] += value * float32(x_weight[uint64(cx), x])


@compile_kernel()
def evaluate_row(sheets, plane, y, x0, n, field):
    """Evaluate the field on ``n`` voxels of row ``y`` of a plane, from column ``x0`` on.

    ``n`` is rounded up to whole lanes, so that up to ``LANES - 1`` places more of ``field`` are
    written.
    """
    rows = find_sheet_rows(sheets, plane, y, x0)
    for j in range(uint64(0), n, uint64(LANES)):
        store(field, j, combine(rows, j))


@compile_kernel()
def find_sheet_rows(sheets, plane, y, x0):
    """Find the rows of sheets that row ``y`` of a plane of the field is combined of."""
    values, control_rows, stride, y_first, y_weight = sheets
    at = (plane * control_rows + y_first[y]) * stride + x0
    return find_rows(values, at, stride, y_weight, y)


@compile_kernel()
def find_rows(values, at, stride, weight, y):
    """Find rows of ``values``, for :func:`combine` and :func:`spread`.

    The first row starts at the place ``at``, and there are as many as row ``y`` has weights.
    ``values`` has to outlive what this returns.
    """
    last = weight.shape[1] - 1
    start = find_address(values) + uint64(4 * at)
    weights = find_address(weight) + uint64(4 * (last + 1) * y)
    first_four = (
        repeat(weight[y, 0]),
        repeat(weight[y, min(1, last)]),
        repeat(weight[y, min(2, last)]),
        repeat(weight[y, min(3, last)]),
    )
    return start, uint64(stride), first_four, weights, uint64(last + 1)


@compile_kernel()
def combine(rows, j):
    """Return the weighted sum of rows from the column ``j`` on."""
    start, stride, w, weights, count = rows
    if count == uint64(4):
        value = multiply(w[0], load_from(start, j))
        value = add_product(value, w[1], load_from(start, j + stride))
        value = add_product(value, w[2], load_from(start, j + stride + stride))
        return add_product(value, w[3], load_from(start, j + stride + stride + stride))
    value = repeat(float32(0))
    for k in range(count):
        weight = repeat_from(weights, k)
        value = add_product(value, weight, load_from(start, j + k * stride))
    return value


@compile_kernel()
def spread(rows, j, value):
    """Add ``value`` to rows from the column ``j`` on, times the weights of the rows."""
    start, stride, w, weights, count = rows
    if count == uint64(4):
        _add_to(start, j, w[0], value)
        _add_to(start, j + stride, w[1], value)
        _add_to(start, j + stride + stride, w[2], value)
        _add_to(start, j + stride + stride + stride, w[3], value)
    else:
        for k in range(count):
            _add_to(start, j + k * stride, repeat_from(weights, k), value)


@compile_kernel()
def _add_to(start, at, weight, value):
    """Add ``weight * value`` to the numbers from a place after an address on."""
    store_to(start, at, add_product(load_from(start, at), weight, value))


@compile_kernel("contract")
def _norm(values, n):
    """Return the Euclidean norm of ``values[:n]``, which no magnitude among them exceeds."""
    lanes = repeat(float32(0))
    whole = uint64(n) & ~uint64(LANES - 1)
    for j in range(uint64(0), whole, uint64(LANES)):
        value = load(values, j)
        lanes = add_product(lanes, value, value)
    total = sum_lanes(lanes)
    for j in range(whole, uint64(n)):
        total += values[j] * values[j]
    return np.sqrt(total)


@compile_kernel("contract")
def exponentiate(values, n, out):
    """Set ``out[:n]`` to exp of ``values[:n]``, in double.

    It is a Taylor series. While the arguments may be large they are halved, and the result is
    squared as often. Squaring costs digits, so that arguments which are too large for most
    results to be a float32 number, infinite or NaN go to the library's function.
    """
    bound = _norm(values, n)
    if not bound < float32(LARGE):
        for j in range(n):
            out[j] = np.exp(float64(values[j]))
        return
    halvings = 0
    while bound > float32(0.5):
        bound *= float32(0.5)
        halvings += 1
    scale = 0.5**halvings
    for j in range(n):
        v = float64(values[j]) * scale
        e = v * (1.0 / 3628800.0) + 1.0 / 362880.0
        e = e * v + 1.0 / 40320.0
        e = e * v + 1.0 / 5040.0
        e = e * v + 1.0 / 720.0
        e = e * v + 1.0 / 120.0
        e = e * v + 1.0 / 24.0
        e = e * v + 1.0 / 6.0
        e = e * v + 0.5
        e = e * v + 1.0
        out[j] = e * v + 1.0
    for _ in range(halvings):
        for j in range(n):
            out[j] *= out[j]


@compile_kernel()
def evaluate_planes(first, stop, sheets, log_field):
    """Evaluate the field on the planes ``first:stop`` of ``log_field`` (planes, height, width)."""
    height, width = log_field.shape[1], log_field.shape[2]
    row = np.empty(sheets.stride, np.float32)
    n = uint64(width)
    for p in range(first, stop):
        for y in range(height):
            evaluate_row(sheets, p, y, 0, n, row)
            for x in range(width):
                log_field[p, y, x] = row[x]


@compile_kernel()
def divide_planes(first, stop, sheets, image, corrected):
    """Set ``corrected = image / exp(field)`` on planes ``first:stop``.

    The exponential is rounded to float32 before the division, as in ITK.
    """
    height, width = image.shape[1], image.shape[2]
    row = np.empty(sheets.stride, np.float32)
    factor = np.empty(width, np.float64)
    n = uint64(width)
    for p in range(first, stop):
        for y in range(height):
            evaluate_row(sheets, p, y, 0, n, row)
            exponentiate(row, n, factor)
            for x in range(width):
                corrected[p, y, x] = image[p, y, x] / float32(factor[x])
