"""Kernels that evaluate a field, and divide an image by its exponential."""

# pyright: reportCallIssue=false, reportArgumentType=false

import numpy as np
from numpy import float32, float64, uint64

from n4ax.engines.compiled.kernel import compile_kernel

LARGE = 1 << 16
"""A stretch of a row whose log field has this Euclidean norm or a larger one is not squared."""


@compile_kernel("contract")
def expand_planes(first, stop, lattice, basis, stride, values):
    """Sum the lattice over its leading axes for planes ``first:stop``, and expand the rows.

    This fills the ``values`` of :class:`~n4ax.engines.cpu.kernels.layout.Sheets`. The axes are
    summed in the order leading axes, x, y; in ITK the order is z, y, x. Both sum in float32.
    """
    plane_control, plane_weight, _, _, x_weight, x_range = basis
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


@compile_kernel("contract")
def evaluate_row(sheets, plane, y, x0, n, field):
    """Evaluate the field on ``n`` voxels of row ``y`` of a plane, from column ``x0`` on."""
    values, control_rows, stride, y_first, y_weight = sheets
    order = y_weight.shape[1] - 1
    r0 = uint64((plane * control_rows + y_first[y]) * stride + x0)
    if order == 3:
        r1 = r0 + uint64(stride)
        r2 = r1 + uint64(stride)
        r3 = r2 + uint64(stride)
        w0, w1, w2, w3 = y_weight[y, 0], y_weight[y, 1], y_weight[y, 2], y_weight[y, 3]
        for j in range(n):
            field[j] = (
                w0 * values[r0 + j]
                + w1 * values[r1 + j]
                + w2 * values[r2 + j]
                + w3 * values[r3 + j]
            )
    else:
        for j in range(n):
            field[j] = float32(0)
        for k in range(order + 1):
            w = y_weight[y, k]
            for j in range(n):
                field[j] += w * values[r0 + j]
            r0 += uint64(stride)


@compile_kernel("contract", "nsz", "reassoc")
def _norm(values, n):
    """Return the Euclidean norm of ``values[:n]``, which no magnitude among them exceeds."""
    total = float32(0)
    for j in range(n):
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
    row = np.empty(width, np.float32)
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
    row = np.empty(width, np.float32)
    factor = np.empty(width, np.float64)
    n = uint64(width)
    for p in range(first, stop):
        for y in range(height):
            evaluate_row(sheets, p, y, 0, n, row)
            exponentiate(row, n, factor)
            for x in range(width):
                corrected[p, y, x] = image[p, y, x] / float32(factor[x])
