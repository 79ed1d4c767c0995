"""The compiled inner loops of the CPU engine (numba), over packed rows.

Every kernel takes a range of chunks and releases the GIL. :mod:`n4ax.engines.cpu.engine` has the
threads. Inner loops run from 0 to n over contiguous arrays with unsigned indices and make no
slices, which is what lets LLVM vectorise them and keeps threads off each other's reference
counters. Scatter (histogram) and gather (map) are loops of their own between vector loops.
"""

# Inside a kernel NumPy's names stand for numba's types, which a type checker does not know.
# pyright: reportCallIssue=false, reportArgumentType=false

from typing import NamedTuple

import numpy as np
import numpy.typing as npt
from numba import float32, float64, int32, uint64

from n4ax.engines.cpu.compiled import compile_kernel

LANES = 16
"""Packed stretches are padded to a multiple of this, so vector loops have no remainder."""

OUTSIDE = 3e38
"""Stands for the log intensity of a voxel that does not count."""

IS_OUTSIDE = 1e30
"""What is above this, even after a field is subtracted, stands for such a voxel."""


class Basis(NamedTuple):
    """A B-spline basis on a stack of planes of rows, or any weights of the same support.

    ``plane_control`` and ``plane_weight`` (planes, terms): which planes of the lattice a plane
    of the image feels, and how much (the product over the leading axes). ``y_first`` (height,)
    and ``y_weight`` (height, order + 1) likewise for the rows. ``x_weight`` (control points,
    width) is the weight along a row, ``x_range`` (control points, 2) where it is not zero.
    """

    plane_control: npt.NDArray[np.int64]
    plane_weight: npt.NDArray[np.float64]
    y_first: npt.NDArray[np.int64]
    y_weight: npt.NDArray[np.float32]
    x_weight: npt.NDArray[np.float64]
    x_range: npt.NDArray[np.int64]


class Sheets(NamedTuple):
    """A lattice expanded along the rows, per plane: ``values[plane, control row]`` is a row.

    ``order + 1`` of them, weighted with ``y_weight``, make a row of the field. ``values`` is
    flat; each row has ``stride`` places, ``LANES`` more than the image is wide.
    """

    values: npt.NDArray[np.float32]
    control_rows: int
    stride: int
    y_first: npt.NDArray[np.int64]
    y_weight: npt.NDArray[np.float32]


# ---- packing ---------------------------------------------------------------------------------


@compile_kernel()
def pack_chunks(first, stop, intensities, mask, confidence, floor, rows):
    """Log intensities (and confidences) of the voxels of chunks ``first:stop``, packed.

    ``floor`` NaN: an intensity that is not positive stays as it is (ITK).
    """
    log, weights, start, length, xs, ys, planes, _, chunk, _, _ = rows
    for i in range(chunk[first], chunk[stop]):
        p, y, x, base = planes[i], ys[i], xs[i], start[i]
        for j in range(start[i + 1] - base):
            inside = j < length[i] and mask[p, y, x + j]
            value = float32(OUTSIDE)
            if inside:
                value = float32(intensities[p, y, x + j])
                if value < floor:
                    value = floor
                if value > float32(0):
                    value = float32(np.log(float64(value)))
            log[base + j] = value
            if len(weights) > 0:
                weights[base + j] = confidence[p, y, x + j] if inside else float32(0)


# ---- evaluation ------------------------------------------------------------------------------


@compile_kernel("contract")
def expand(first, stop, lattice, basis, stride, values):
    """The lattice collapsed onto planes ``first:stop`` and expanded along their rows.

    Fills ``values`` of :class:`Sheets`. The order of collapsing (leading axes, x, y) is not
    ITK's (z, y, x); both sum in float32.
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
def _row_field(values, control_rows, stride, y_first, y_weight, plane, y, x0, n, field):
    """The field on ``n`` voxels of row ``y`` of a plane from column ``x0``, into ``field``."""
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


@compile_kernel("contract", "nnan", "nsz", "reassoc")
def _norm(values, n):
    """A bound on the magnitude of ``values[:n]``: their Euclidean norm."""
    total = float32(0)
    for j in range(n):
        total += values[j] * values[j]
    return np.sqrt(total)


@compile_kernel("contract")
def _exponential(values, n, out):
    """Exp of ``values[:n]`` in double: a Taylor series, of a halved argument where it is large."""
    bound = _norm(values, n)
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
    """The log field on whole planes ``first:stop`` of ``log_field`` (planes, height, width)."""
    values, control_rows, stride, y_first, y_weight = sheets
    height, width = log_field.shape[1], log_field.shape[2]
    row = np.empty(width, np.float32)
    n = uint64(width)
    for p in range(first, stop):
        for y in range(height):
            _row_field(values, control_rows, stride, y_first, y_weight, p, y, 0, n, row)
            for x in range(width):
                log_field[p, y, x] = row[x]


@compile_kernel()
def divide_planes(first, stop, sheets, image, corrected):
    """``corrected = image / exp(field)`` on planes ``first:stop``, the quotient in ITK's types."""
    values, control_rows, stride, y_first, y_weight = sheets
    height, width = image.shape[1], image.shape[2]
    row = np.empty(width, np.float32)
    factor = np.empty(width, np.float64)
    n = uint64(width)
    for p in range(first, stop):
        for y in range(height):
            _row_field(values, control_rows, stride, y_first, y_weight, p, y, 0, n, row)
            _exponential(row, n, factor)
            for x in range(width):
                corrected[p, y, x] = image[p, y, x] / float32(factor[x])


# ---- statistics ------------------------------------------------------------------------------


@compile_kernel()
def _ordered_bits(bits):
    """Bits of a float32 (as int32) to an integer of the same order, and back."""
    return bits ^ ((bits >> int32(31)) & int32(0x7FFFFFFF))


@compile_kernel()
def extremes(first, stop, rows, sheets, reach, keep, bounds, result):
    """Least and greatest corrected log intensity per chunk, into ``result`` (chunks, 2).

    ``bounds`` (stretches, 2) are the extremes of each stretch at some earlier time; a stretch
    whose own lie within ``reach`` is left out. ``keep`` sets them anew.

    ITK's scan tests for a new minimum only where there is no new maximum. So the strictly
    rising run of voxels that an image begins with never sets the minimum. It is followed to the
    end of the first chunk here; nothing rises for longer but an image made to.

    Compares bits as integers, which vectorises where comparing floats does not.
    """
    log, _, start, length, xs, ys, planes, _, chunk, _, _ = rows
    values, control_rows, stride, y_first, y_weight = sheets
    field = np.empty(stride, np.float32)
    bits = field.view(np.int32)
    ends = np.array([OUTSIDE, -OUTSIDE], np.float32)
    end_bits = ends.view(np.int32)
    above, below = _ordered_bits(end_bits[0]), _ordered_bits(end_bits[1])
    for c in range(first, stop):
        rising = c == 0
        highest = float32(-np.inf)
        result[c, 0], result[c, 1] = OUTSIDE, -OUTSIDE
        for i in range(chunk[c], chunk[c + 1]):
            if bounds[i, 0] > reach[0] and bounds[i, 1] < reach[1] and not rising:
                continue
            base = uint64(start[i])
            n = uint64(start[i + 1]) - base
            _row_field(
                values, control_rows, stride, y_first, y_weight, planes[i], ys[i], xs[i], n, field
            )
            for j in range(n):
                u = log[base + j] - field[j]
                field[j] = u if u < float32(IS_OUTSIDE) else float32(OUTSIDE)
            low, high = above, below
            for j in range(n):
                value = _ordered_bits(bits[j])
                inside = value if value < above else below
                low = min(low, value)
                high = max(high, inside)
            end_bits[0], end_bits[1] = _ordered_bits(low), _ordered_bits(high)
            if keep:
                bounds[i, 0], bounds[i, 1] = ends[0], ends[1]
            if rising:
                ends[0] = OUTSIDE
                for j in range(uint64(length[i])):
                    if field[j] < float32(IS_OUTSIDE):
                        rising = rising and field[j] > highest
                        highest = field[j]
                        if not rising:
                            ends[0] = min(ends[0], field[j])
            result[c, 0] = min(result[c, 0], ends[0])
            result[c, 1] = max(result[c, 1], ends[1])


@compile_kernel("reassoc", "contract", "nsz")
def change_sums(first, stop, rows, sheets, before, every, result):
    """Sums of the change of the field on every ``every``-th stretch, per chunk.

    ``result`` (chunks, 3): number of voxels, sum and sum of squares, gaps of the mask included:
    enough to judge the spread. ``before`` are the sheets before, maybe of a coarser mesh.
    """
    _, _, _, length, xs, ys, planes, _, chunk, _, _ = rows
    values, control_rows, stride, y_first, y_weight = sheets
    values_0, control_rows_0, _, y_first_0, y_weight_0 = before
    field = np.empty(stride, np.float32)
    change = np.empty(stride, np.float32)
    for c in range(first, stop):
        count, total, squares = 0, 0.0, 0.0
        for i in range(chunk[c], chunk[c + 1]):
            if i % every != 0:
                continue
            n = uint64(length[i])
            p, y, x = planes[i], ys[i], xs[i]
            _row_field(values, control_rows, stride, y_first, y_weight, p, y, x, n, field)
            _row_field(values_0, control_rows_0, stride, y_first_0, y_weight_0, p, y, x, n, change)
            for j in range(n):
                d = float64(change[j] - field[j])
                total += d
                squares += d * d
            count += length[i]
        result[c, 0], result[c, 1], result[c, 2] = count, total, squares


@compile_kernel()
def ratios(first, stop, rows, sheets, before, out):
    """exp(old field - new field) of the included voxels, in image order; ``before`` as above."""
    log, _, start, length, xs, ys, planes, included, chunk, _, _ = rows
    values, control_rows, stride, y_first, y_weight = sheets
    values_0, control_rows_0, _, y_first_0, y_weight_0 = before
    field = np.empty(stride, np.float32)
    change = np.empty(stride, np.float32)
    ratio = np.empty(stride, np.float64)
    for c in range(first, stop):
        for i in range(chunk[c], chunk[c + 1]):
            base = uint64(start[i])
            n = uint64(start[i + 1]) - base
            p, y, x = planes[i], ys[i], xs[i]
            _row_field(values, control_rows, stride, y_first, y_weight, p, y, x, n, field)
            _row_field(values_0, control_rows_0, stride, y_first_0, y_weight_0, p, y, x, n, change)
            for j in range(n):
                change[j] -= field[j]
            _exponential(change, n, ratio)
            # A stretch ends on an included voxel, so what a gap leaves is overwritten.
            at = uint64(included[i])
            for j in range(uint64(length[i])):
                out[at] = float32(ratio[j])
                at += uint64(log[base + j] < float32(IS_OUTSIDE))


# ---- histogram, map and fit ------------------------------------------------------------------


@compile_kernel()
def histogram(first, stop, rows, sheets, lowest, bin_width, running, gained):
    """Voxels per bin, each shared between the two nearest centres, rounded as ITK rounds them.

    What ITK drops from the histogram, and maps to the last bin, goes to position ``nbins``.

    ITK adds every voxel to one float32 histogram. What an addition loses depends on the binade
    of the count so far, so each chunk starts from ``running`` (chunks, nbins), the counts that
    are expected before it, and gives what it adds to them, ``gained`` (chunks, nbins).
    """
    log, _, start, length, xs, ys, planes, _, chunk, _, _ = rows
    values, control_rows, stride, y_first, y_weight = sheets
    nbins = running.shape[1]
    field = np.empty(stride, np.float32)
    cell = np.empty(stride, np.int32)
    part = np.empty(stride, np.float32)
    top, dropped = float32(nbins - 1), float32(nbins)
    cells = np.zeros(4 * (nbins + 2), np.float32)
    for c in range(first, stop):
        for b in range(nbins):
            for lane in range(4):
                cells[4 * b + lane] = running[c, b]
        for i in range(chunk[c], chunk[c + 1]):
            base = uint64(start[i])
            n = uint64(start[i + 1]) - base
            _row_field(
                values, control_rows, stride, y_first, y_weight, planes[i], ys[i], xs[i], n, field
            )
            for j in range(n):
                q = (log[base + j] - field[j] - lowest) / bin_width
                q = q if (q >= float32(0) and q <= top) else dropped
                k = int32(q)
                # Four interleaved histograms: neighbours in one bin do not wait for each other.
                cell[j] = k * int32(4) + int32(j & uint64(3))
                part[j] = q - float32(k)
            for j in range(uint64(length[i])):
                at = uint64(np.uint32(cell[j]))
                cells[at] += float32(1) - part[j]
                cells[at + uint64(4)] += part[j]
        for b in range(nbins):
            total = 0.0
            for lane in range(4):
                total += float64(cells[4 * b + lane]) - float64(running[c, b])
            gained[c, b] = total


@compile_kernel("contract")
def _add_row(sums, stride, y_first, y_weight, y, x0, n, values):
    """Add a row of values to the sums per control row (control rows * stride), float32."""
    r = uint64(y_first[y] * stride + x0)
    for k in range(y_weight.shape[1]):
        w = y_weight[y, k]
        for j in range(n):
            sums[r + j] += w * values[j]
        r += uint64(stride)


@compile_kernel("reassoc", "contract", "nsz")
def _flush_plane(sums, stride, x_weight, x_range, result, slot):
    """Contract a plane's sums along x, in double, into ``result[slot]``, and clear them."""
    for cy in range(result.shape[1]):
        base = uint64(cy * stride)
        for cx in range(result.shape[2]):
            total = 0.0
            for x in range(uint64(x_range[cx, 0]), uint64(x_range[cx, 1])):
                total += float64(sums[base + x]) * x_weight[uint64(cx), x]
            result[slot, cy, cx] = total
        for x in range(uint64(stride)):
            sums[base + x] = float32(0)


@compile_kernel()
def residual_sums(first, stop, rows, sheets, lowest, bin_width, expected, rise, projection, result):
    """Map the corrected log intensities, and sum the residuals per plane (the fit's delta).

    ``expected`` and ``rise`` (nbins + 1): E at the bin centres and its rise to the next; the
    last place is for dropped positions. ``result`` (slots, control rows, control columns) is of
    the mesh of ``projection``, which may be finer than that of ``sheets``.
    """
    log, weights, start, _, xs, ys, planes, _, chunk, slots, _ = rows
    values, control_rows, stride, y_first, y_weight = sheets
    _, _, fit_first, y_fit, x_fit, x_range = projection
    field = np.empty(stride, np.float32)
    part = np.empty(stride, np.float32)
    lower = np.empty(stride, np.int32)
    sums = np.zeros(result.shape[1] * stride, np.float32)
    top, dropped = float32(len(expected) - 2), float32(len(expected) - 1)
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
            _row_field(
                values, control_rows, stride, y_first, y_weight, planes[i], ys[i], xs[i], n, field
            )
            for j in range(n):
                u = log[base + j] - field[j]
                q = (u - lowest) / bin_width
                q = q if (q >= float32(0) and q <= top) else dropped
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
            if len(weights) > 0:
                for j in range(n):
                    field[j] *= weights[base + j]
            _add_row(sums, stride, fit_first, y_fit, ys[i], xs[i], n, field)
        _flush_plane(sums, stride, x_fit, x_range, result, slot)


@compile_kernel()
def weight_sums(first, stop, rows, projection, result):
    """Sum the confidences per plane (the fit's omega); ``result`` as in residual_sums."""
    log, weights, start, _, xs, ys, planes, _, chunk, slots, _ = rows
    _, _, y_first, y_weight, x_weight, x_range = projection
    stride = x_weight.shape[1] + LANES
    values = np.empty(stride, np.float32)
    sums = np.zeros(result.shape[1] * stride, np.float32)
    for c in range(first, stop):
        slot = slots[c]
        plane = planes[chunk[c]]
        for i in range(chunk[c], chunk[c + 1]):
            if planes[i] != plane:
                _flush_plane(sums, stride, x_weight, x_range, result, slot)
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
            _add_row(sums, stride, y_first, y_weight, ys[i], xs[i], n, values)
        _flush_plane(sums, stride, x_weight, x_range, result, slot)


@compile_kernel("contract")
def join_planes(first, stop, slot_plane, projection, plane_sums, lattice):
    """Contract the plane sums over the leading axes, for control rows ``first:stop``.

    ``plane_sums`` (slots, control rows, columns); ``lattice`` (control planes, rows, columns).
    """
    plane_control, plane_weight, _, _, _, _ = projection
    for s in range(len(slot_plane)):
        plane = slot_plane[s]
        for k in range(plane_control.shape[1]):
            control, weight = plane_control[plane, k], plane_weight[plane, k]
            for cy in range(first, stop):
                for cx in range(lattice.shape[2]):
                    lattice[control, cy, cx] += weight * plane_sums[s, cy, cx]
