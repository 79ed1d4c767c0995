"""Kernels that sum what the spline is fitted to: residuals and weights, plane by plane."""

# pyright: reportCallIssue=false, reportArgumentType=false

import numpy as np
from numpy import float32, float64, int32, uint64

from n4ax.engines.compiled.kernel import compile_kernel
from n4ax.engines.cpu.kernels.evaluation import evaluate_row
from n4ax.engines.cpu.kernels.histogram import place_on_bins
from n4ax.engines.cpu.kernels.layout import IS_OUTSIDE, LANES


@compile_kernel("contract")
def _add_row(sums, stride, y_weight, y, first, n, values):
    """Add row ``y`` of a plane to the sums of the control rows that it reaches.

    ``sums`` is flat (control rows * stride), float32. ``first`` is the place in ``sums`` of the
    first of the ``n`` values, for the first of these control rows.
    """
    r = first
    for k in range(y_weight.shape[1]):
        w = y_weight[y, k]
        for j in range(n):
            sums[r + j] += w * values[j]
        r += uint64(stride)


@compile_kernel("reassoc", "contract", "nsz")
def _flush_plane(sums, stride, x_weight, x_range, result, slot):
    """Sum the sums of one plane along x, in double, into ``result[slot]``, and clear them."""
    for cy in range(result.shape[1]):
        base = uint64(cy * stride)
        for cx in range(result.shape[2]):
            total = 0.0
            for x in range(uint64(x_range[cx, 0]), uint64(x_range[cx, 1])):
                total += float64(sums[base + x]) * x_weight[uint64(cx), x]
            result[slot, cy, cx] = total
        for x in range(uint64(stride)):
            sums[base + x] = float32(0)


@compile_kernel(inline=True)
def _compute_residuals(log, base, n, intensity_map, field, lower, part):
    """Replace ``field[:n]`` by corrected less expected log intensity; 0 where no voxel counts.

    ``lower`` and ``part`` are room for the bins and the positions within them.
    """
    bins, expected, rise = intensity_map
    top, dropped = float32(len(expected) - 2), float32(len(expected) - 1)
    for j in range(n):
        u = log[base + j] - field[j]
        q = place_on_bins(u, bins, top, dropped)
        k = int32(q)
        field[j] = u
        lower[j] = k
        part[j] = q - float32(k)
    for j in range(n):
        k = uint64(np.uint32(lower[j]))
        part[j] = expected[k] + rise[k] * part[j]
    for j in range(n):
        u = field[j]
        field[j] = u - part[j] if u < float32(IS_OUTSIDE) else float32(0)


@compile_kernel()
def sum_residuals(first, stop, rows, sheets, intensity_map, projection, result):
    """Sum the residuals of each plane, corrected less expected log intensities (fit's delta).

    ``result`` (slots, control rows, control columns) belongs to the mesh of ``projection``, which
    may be finer than the mesh of ``sheets``.
    """
    log, weights, start, _, xs, ys, planes, _, chunk, slots, _ = rows
    _, _, fit_first, y_fit, x_fit, x_range = projection
    stride = sheets.stride
    field = np.empty(stride, np.float32)
    part = np.empty(stride, np.float32)
    lower = np.empty(stride, np.int32)
    sums = np.zeros(result.shape[1] * stride, np.float32)
    for c in range(first, stop):
        slot = slots[c]
        plane = planes[chunk[c]]
        for i in range(chunk[c], chunk[c + 1]):
            if planes[i] != plane:
                _flush_plane(sums, stride, x_fit, x_range, result, slot)
                slot += 1
                plane = planes[i]
            base = uint64(start[i])
            n = uint64(start[i + 1]) - base
            evaluate_row(sheets, planes[i], ys[i], xs[i], n, field)
            _compute_residuals(log, base, n, intensity_map, field, lower, part)
            if len(weights) > 0:
                for j in range(n):
                    field[j] *= weights[base + j]
            at = uint64(fit_first[ys[i]] * stride + xs[i])
            _add_row(sums, stride, y_fit, ys[i], at, n, field)
        _flush_plane(sums, stride, x_fit, x_range, result, slot)


@compile_kernel()
def sum_weights(first, stop, rows, projection, result):
    """Sum the confidences of each plane (fit's omega); ``result`` as in :func:`sum_residuals`."""
    log, weights, start, _, xs, ys, planes, _, chunk, slots, _ = rows
    _, _, fit_first, y_fit, x_fit, x_range = projection
    stride = projection.x_weight.shape[1] + LANES
    values = np.empty(stride, np.float32)
    sums = np.zeros(result.shape[1] * stride, np.float32)
    for c in range(first, stop):
        slot = slots[c]
        plane = planes[chunk[c]]
        for i in range(chunk[c], chunk[c + 1]):
            if planes[i] != plane:
                _flush_plane(sums, stride, x_fit, x_range, result, slot)
                slot += 1
                plane = planes[i]
            base = uint64(start[i])
            n = uint64(start[i + 1]) - base
            for j in range(n):
                inside = log[base + j] < float32(IS_OUTSIDE)
                values[j] = float32(1) if inside else float32(0)
            if len(weights) > 0:
                for j in range(n):
                    values[j] *= weights[base + j]
            at = uint64(fit_first[ys[i]] * stride + xs[i])
            _add_row(sums, stride, y_fit, ys[i], at, n, values)
        _flush_plane(sums, stride, x_fit, x_range, result, slot)


@compile_kernel("contract")
def join_planes(first, stop, slot_plane, projection, plane_sums, lattice):
    """Sum the planes over the leading axes, for the control rows ``first:stop``.

    ``plane_sums`` has shape (slots, control rows, columns), ``lattice`` (control planes, control
    rows, columns).
    """
    plane_control, plane_weight, _, _, _, _ = projection
    for s in range(len(slot_plane)):
        plane = slot_plane[s]
        for k in range(plane_control.shape[1]):
            control, weight = plane_control[plane, k], plane_weight[plane, k]
            for cy in range(first, stop):
                for cx in range(lattice.shape[2]):
                    lattice[control, cy, cx] += weight * plane_sums[s, cy, cx]
