"""The compiled inner loops of the CPU engine (numba), over packed rows.

Every kernel takes a range of chunks and releases the GIL; threads are :mod:`n4ax.engines.cpu`'s
affair. Inner loops run from 0 to n over contiguous arrays with unsigned indices and make no
slices, which is what lets LLVM vectorise them and keeps threads off each other's reference
counters. Scatter (histogram) and gather (map) are loops of their own between vector loops.
"""

from typing import Any, NamedTuple

import numba
import numpy as np
import numpy.typing as npt
from numba import float32, float64, int32, uint64

OUTSIDE = 3e38
"""Stands for the log intensity of a voxel that does not count."""

IS_OUTSIDE = 1e30
"""What is above this, even after a field is subtracted, stands for such a voxel."""


class Evaluation(NamedTuple):
    """Tables to evaluate a lattice on a stack of planes of rows.

    ``plane_control`` and ``plane_weight`` (planes, terms): which planes of the lattice a plane
    of the image feels, and how much (the product over the leading axes). ``y_first`` (height,)
    and ``y_weight`` (height, order + 1) likewise for the rows. ``x_weight`` (control points,
    width) is the basis along a row, ``x_range`` (control points, 2) where it is not zero.
    """

    plane_control: npt.NDArray[np.int64]
    plane_weight: npt.NDArray[np.float32]
    y_first: npt.NDArray[np.int64]
    y_weight: npt.NDArray[np.float32]
    x_weight: npt.NDArray[np.float32]
    x_range: npt.NDArray[np.int64]


class Projection(NamedTuple):
    """Tables to sum voxels into a lattice: as :class:`Evaluation`, with the fit's weights."""

    plane_control: npt.NDArray[np.int64]
    plane_weight: npt.NDArray[np.float64]
    y_first: npt.NDArray[np.int64]
    y_weight: npt.NDArray[np.float32]
    x_weight: npt.NDArray[np.float64]
    x_range: npt.NDArray[np.int64]


def _compiled(*fastmath: str) -> Any:
    """A compiled function without the GIL; ``fastmath`` names what may be reordered in it."""
    return numba.njit(
        nogil=True, cache=True, error_model="numpy", boundscheck=False, fastmath=set(fastmath)
    )


# ---- packing ---------------------------------------------------------------------------------


@_compiled()
def lay_stretches(mask, bridged, start, x_first, y_row, plane, included):
    """Where the stretches lie, gaps of up to ``bridged`` voxels carried along.

    Writes as many as the arrays have room for (``start`` and ``included`` one more), and
    returns how many there are.
    """
    planes, height, width = mask.shape
    room = len(x_first)
    at, packed, counted = -1, 0, 0
    for p in range(planes):
        for y in range(height):
            last = -width - bridged - 1
            for x in range(width):
                if mask[p, y, x]:
                    gap = x - last - 1
                    if gap > bridged:
                        at += 1
                        if at < room:
                            start[at], included[at] = packed, counted
                            x_first[at], y_row[at], plane[at] = x, y, p
                        gap = 0
                    packed += gap + 1
                    counted += 1
                    last = x
    if at + 1 == room:
        start[room], included[room] = packed, counted
    return at + 1


@_compiled()
def pack_chunks(first, stop, intensities, mask, confidence, floor, rows):
    """Log intensities (and confidences) of the voxels of chunks ``first:stop``, packed.

    ``floor`` NaN: an intensity that is not positive stays as it is (ITK).
    """
    for i in range(rows.chunk[first], rows.chunk[stop]):
        p, y, x, base = rows.plane[i], rows.y[i], rows.x[i], rows.start[i]
        for j in range(rows.start[i + 1] - base):
            inside = mask[p, y, x + j]
            value = float32(OUTSIDE)
            if inside:
                value = float32(intensities[p, y, x + j])
                if value < floor:
                    value = floor
                if value > float32(0):
                    value = float32(np.log(float64(value)))
            rows.log[base + j] = value
            if len(rows.weights) > 0:
                rows.weights[base + j] = confidence[p, y, x + j] if inside else float32(0)


# ---- evaluation ------------------------------------------------------------------------------


@_compiled("contract")
def _plane_field(lattice, tables, plane, table):
    """The lattice collapsed onto one plane and expanded along its rows.

    ``table`` (control rows * width) then needs ``order + 1`` of its rows per image row. The
    order of collapsing (leading axes, x, y) is not ITK's (z, y, x); sums are float32 in both.
    """
    rows, columns, width = lattice.shape[1], lattice.shape[2], tables.x_weight.shape[1]
    terms = tables.plane_control.shape[1]
    for cy in range(rows):
        base = uint64(cy * width)
        for x in range(uint64(width)):
            table[base + x] = float32(0)
        for cx in range(columns):
            value = float32(0)
            for k in range(terms):
                value += (
                    tables.plane_weight[plane, k] * lattice[tables.plane_control[plane, k], cy, cx]
                )
            low, high = uint64(tables.x_range[cx, 0]), uint64(tables.x_range[cx, 1])
            for x in range(low, high):
                table[base + x] += value * tables.x_weight[uint64(cx), x]


@_compiled("contract")
def _row_field(table, tables, y, x0, n, field):
    """The field on ``n`` voxels of row ``y`` from column ``x0``, into ``field``."""
    width = uint64(tables.x_weight.shape[1])
    order = tables.y_weight.shape[1] - 1
    r0 = uint64(tables.y_first[y]) * width + uint64(x0)
    if order == 3:
        r1 = r0 + width
        r2 = r1 + width
        r3 = r2 + width
        w0, w1 = tables.y_weight[y, 0], tables.y_weight[y, 1]
        w2, w3 = tables.y_weight[y, 2], tables.y_weight[y, 3]
        for j in range(n):
            field[j] = (
                w0 * table[r0 + j] + w1 * table[r1 + j] + w2 * table[r2 + j] + w3 * table[r3 + j]
            )
    else:
        for j in range(n):
            field[j] = float32(0)
        for k in range(order + 1):
            w = tables.y_weight[y, k]
            for j in range(n):
                field[j] += w * table[r0 + j]
            r0 += width


@_compiled("contract")
def _exponential(values, n, out):
    """exp of ``values[:n]``, rounded once from double: Taylor on a halved argument, squared."""
    largest = float32(0)
    for j in range(n):
        largest = max(largest, abs(values[j]))
    halvings = 0
    while largest > float32(0.5):
        largest *= float32(0.5)
        halvings += 1
    scale = 0.5**halvings
    for j in range(n):
        v = float64(values[j]) * scale
        e = 1.0 / 39916800.0
        e = e * v + 1.0 / 3628800.0
        e = e * v + 1.0 / 362880.0
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


@_compiled()
def evaluate_planes(first, stop, lattice, tables, log_field):
    """The log field on whole planes ``first:stop`` of ``log_field`` (planes, height, width)."""
    height, width = log_field.shape[1], log_field.shape[2]
    table = np.empty(lattice.shape[1] * width, np.float32)
    row = np.empty(width, np.float32)
    for p in range(first, stop):
        _plane_field(lattice, tables, p, table)
        for y in range(height):
            _row_field(table, tables, y, 0, uint64(width), row)
            for x in range(width):
                log_field[p, y, x] = row[x]


@_compiled()
def divide_planes(first, stop, lattice, tables, image, corrected):
    """``corrected = image / exp(field)`` on planes ``first:stop``, the quotient in ITK's types."""
    height, width = image.shape[1], image.shape[2]
    table = np.empty(lattice.shape[1] * width, np.float32)
    row = np.empty(width, np.float32)
    factor = np.empty(width, np.float64)
    for p in range(first, stop):
        _plane_field(lattice, tables, p, table)
        for y in range(height):
            _row_field(table, tables, y, 0, uint64(width), row)
            _exponential(row, uint64(width), factor)
            for x in range(width):
                corrected[p, y, x] = image[p, y, x] / float32(factor[x])


# ---- statistics ------------------------------------------------------------------------------


@_compiled()
def rising_prefix(rows, tables, lattice):
    """Length of the strictly rising run of corrected log intensities that the image begins with.

    ITK's scan tests for a new minimum only where there is no new maximum, so these voxels never
    set the minimum (the first voxel always is one).
    """
    width = tables.x_weight.shape[1]
    table = np.empty(lattice.shape[1] * width, np.float32)
    field = np.empty(width, np.float32)
    length = 0
    highest = float32(-np.inf)
    plane = -1
    for i in range(len(rows.x)):
        if rows.plane[i] != plane:
            plane = rows.plane[i]
            _plane_field(lattice, tables, plane, table)
        base = rows.start[i]
        n = rows.start[i + 1] - base
        _row_field(table, tables, rows.y[i], rows.x[i], uint64(n), field)
        for j in range(n):
            if rows.log[base + j] < float32(IS_OUTSIDE):
                u = rows.log[base + j] - field[j]
                if not u > highest:
                    return length
                highest = u
                length += 1
    return length


@_compiled("nnan", "nsz", "reassoc", "contract")
def _row_statistics(u, change, n, result):
    """Least and greatest of ``u[:n]``, sum and sum of squares of ``change[:n]``, inside only."""
    low, high = float32(IS_OUTSIDE), float32(-IS_OUTSIDE)
    total, squares = float32(0), float32(0)
    for j in range(n):
        value = u[j]
        inside = value < float32(IS_OUTSIDE)
        low = value if value < low else low
        upper = value if inside else float32(-IS_OUTSIDE)
        high = upper if upper > high else high
        d = change[j] if inside else float32(0)
        total += d
        squares += d * d
    result[0], result[1] = low, high
    result[2], result[3] = total, squares


@_compiled()
def statistics(first, stop, rows, tables, lattice, before, prefix, result):
    """Per chunk: range of the corrected log intensities, sums of the field's change.

    ``result`` (chunks, 4): minimum (but for the first ``prefix`` voxels), maximum, sum and sum
    of squares of the field of ``before`` less that of ``lattice``.
    """
    width = tables.x_weight.shape[1]
    table = np.empty(lattice.shape[1] * width, np.float32)
    table_before = np.empty(lattice.shape[1] * width, np.float32)
    field = np.empty(width, np.float32)
    change = np.empty(width, np.float32)
    row = np.empty(4, np.float32)
    for c in range(first, stop):
        low, high = float32(IS_OUTSIDE), float32(-IS_OUTSIDE)
        total, squares = 0.0, 0.0
        plane = -1
        for i in range(rows.chunk[c], rows.chunk[c + 1]):
            if rows.plane[i] != plane:
                plane = rows.plane[i]
                _plane_field(lattice, tables, plane, table)
                _plane_field(before, tables, plane, table_before)
            base = uint64(rows.start[i])
            n = uint64(rows.start[i + 1]) - base
            _row_field(table, tables, rows.y[i], rows.x[i], n, field)
            _row_field(table_before, tables, rows.y[i], rows.x[i], n, change)
            for j in range(n):
                change[j] -= field[j]
            for j in range(n):
                field[j] = rows.log[base + j] - field[j]
            _row_statistics(field, change, n, row)
            if rows.included[i] < prefix:
                row[0] = IS_OUTSIDE
                seen = rows.included[i]
                for j in range(n):
                    if field[j] < float32(IS_OUTSIDE):
                        if seen >= prefix:
                            row[0] = min(row[0], field[j])
                        seen += 1
            low, high = min(low, row[0]), max(high, row[1])
            total += row[2]
            squares += row[3]
        result[c, 0], result[c, 1] = low, high
        result[c, 2], result[c, 3] = total, squares


@_compiled()
def ratios(first, stop, rows, tables, lattice, before, out):
    """exp(field of ``before`` - field of ``lattice``) of the included voxels, in image order.

    ``out`` has one place more than there are voxels.
    """
    width = tables.x_weight.shape[1]
    table = np.empty(lattice.shape[1] * width, np.float32)
    table_before = np.empty(lattice.shape[1] * width, np.float32)
    field = np.empty(width, np.float32)
    change = np.empty(width, np.float32)
    ratio = np.empty(width, np.float64)
    for c in range(first, stop):
        plane = -1
        for i in range(rows.chunk[c], rows.chunk[c + 1]):
            if rows.plane[i] != plane:
                plane = rows.plane[i]
                _plane_field(lattice, tables, plane, table)
                _plane_field(before, tables, plane, table_before)
            base = uint64(rows.start[i])
            n = uint64(rows.start[i + 1]) - base
            _row_field(table, tables, rows.y[i], rows.x[i], n, field)
            _row_field(table_before, tables, rows.y[i], rows.x[i], n, change)
            for j in range(n):
                change[j] -= field[j]
            _exponential(change, n, ratio)
            at = uint64(rows.included[i])
            end = uint64(rows.included[i + 1])
            for j in range(n):
                if at < end:
                    out[at] = float32(ratio[j])
                at += uint64(rows.log[base + j] < float32(IS_OUTSIDE))


# ---- histogram, map and fit ------------------------------------------------------------------


@_compiled()
def _histogram_position(u, n, lowest, width, nbins):
    """Corrected log intensities to positions in bins, in place.

    What ITK drops from the histogram and maps to the last bin goes to position ``nbins``.
    """
    top, dropped = float32(nbins - 1), float32(nbins)
    for j in range(n):
        c = (u[j] - lowest) / width
        u[j] = c if (c >= float32(0) and c <= top) else dropped


@_compiled()
def histogram(first, stop, rows, tables, lattice, lowest, width, running, gained):
    """Voxels per bin, each shared between the two nearest centres, rounded as ITK rounds them.

    ITK adds every voxel to one float32 histogram. What an addition loses depends on the binade
    of the count so far, so each chunk starts from ``running`` (chunks, nbins), the counts that
    are expected before it, and gives what it adds to them, ``gained`` (chunks, nbins).
    """
    columns = tables.x_weight.shape[1]
    nbins = running.shape[1]
    table = np.empty(lattice.shape[1] * columns, np.float32)
    field = np.empty(columns, np.float32)
    lower = np.empty(columns, np.int32)
    cells = np.zeros(nbins + 2, np.float32)
    for c in range(first, stop):
        for b in range(nbins):
            cells[b] = running[c, b]
        plane = -1
        for i in range(rows.chunk[c], rows.chunk[c + 1]):
            if rows.plane[i] != plane:
                plane = rows.plane[i]
                _plane_field(lattice, tables, plane, table)
            base = uint64(rows.start[i])
            n = uint64(rows.start[i + 1]) - base
            _row_field(table, tables, rows.y[i], rows.x[i], n, field)
            for j in range(n):
                field[j] = rows.log[base + j] - field[j]
            _histogram_position(field, n, lowest, width, nbins)
            for j in range(n):
                k = int32(field[j])
                lower[j] = k
                field[j] -= float32(k)
            for j in range(n):
                cell = uint64(lower[j])
                part = field[j]
                cells[cell] += float32(1) - part
                cells[cell + uint64(1)] += part
        for b in range(nbins):
            gained[c, b] = float64(cells[b]) - float64(running[c, b])


@_compiled()
def _residual(u, position, n, expected, rise):
    """Measured less expected log intensity into ``u``, 0 where the voxel does not count."""
    for j in range(n):
        c = position[j]
        k = int32(c)
        position[j] = expected[uint64(k)] + rise[uint64(k)] * (c - float32(k))
    for j in range(n):
        u[j] = u[j] - position[j] if u[j] < float32(IS_OUTSIDE) else float32(0)


@_compiled("contract")
def _add_row(sums, tables, y, x0, n, values):
    """Add a row of values to the sums per control row (control rows * width), float32."""
    width = uint64(tables.x_weight.shape[1])
    r = uint64(tables.y_first[y]) * width + uint64(x0)
    for k in range(tables.y_weight.shape[1]):
        w = tables.y_weight[y, k]
        for j in range(n):
            sums[r + j] += w * values[j]
        r += width


@_compiled("reassoc", "contract", "nsz")
def _flush_plane(sums, tables, plane_sums):
    """Contract a plane's sums along x into ``plane_sums`` (control rows, columns), in double."""
    width = tables.x_weight.shape[1]
    rows, columns = plane_sums.shape
    for cy in range(rows):
        base = uint64(cy * width)
        for cx in range(columns):
            low, high = uint64(tables.x_range[cx, 0]), uint64(tables.x_range[cx, 1])
            total = 0.0
            for x in range(low, high):
                total += float64(sums[base + x]) * tables.x_weight[uint64(cx), x]
            plane_sums[cy, cx] = total
        for x in range(uint64(width)):
            sums[base + x] = float32(0)


@_compiled()
def residual_sums(
    first, stop, rows, tables, lattice, lowest, width, expected, rise, projection, result
):
    """Map the corrected log intensities, and sum the residuals per plane (the fit's delta).

    ``expected`` and ``rise`` (nbins + 1): E at the bin centres and its rise to the next; the
    last place is for dropped positions. ``result`` (slots, control rows, control columns).
    """
    columns = tables.x_weight.shape[1]
    table = np.empty(lattice.shape[1] * columns, np.float32)
    field = np.empty(columns, np.float32)
    position = np.empty(columns, np.float32)
    sums = np.zeros(lattice.shape[1] * columns, np.float32)
    nbins = len(expected) - 1
    for c in range(first, stop):
        slot = rows.slot[c]
        plane = rows.plane[rows.chunk[c]]
        _plane_field(lattice, tables, plane, table)
        for i in range(rows.chunk[c], rows.chunk[c + 1]):
            if rows.plane[i] != plane:
                _flush_plane(sums, projection, result[slot])
                slot += 1
                plane = rows.plane[i]
                _plane_field(lattice, tables, plane, table)
            base = uint64(rows.start[i])
            n = uint64(rows.start[i + 1]) - base
            _row_field(table, tables, rows.y[i], rows.x[i], n, field)
            for j in range(n):
                u = rows.log[base + j] - field[j]
                field[j] = u
                position[j] = u
            _histogram_position(position, n, lowest, width, nbins)
            _residual(field, position, n, expected, rise)
            if len(rows.weights) > 0:
                for j in range(n):
                    field[j] *= rows.weights[base + j]
            _add_row(sums, projection, rows.y[i], rows.x[i], n, field)
        _flush_plane(sums, projection, result[slot])


@_compiled()
def weight_sums(first, stop, rows, projection, result):
    """Sum the confidences per plane (the fit's omega); ``result`` as in residual_sums."""
    columns = projection.x_weight.shape[1]
    values = np.empty(columns, np.float32)
    sums = np.zeros(result.shape[1] * columns, np.float32)
    for c in range(first, stop):
        slot = rows.slot[c]
        plane = rows.plane[rows.chunk[c]]
        for i in range(rows.chunk[c], rows.chunk[c + 1]):
            if rows.plane[i] != plane:
                _flush_plane(sums, projection, result[slot])
                slot += 1
                plane = rows.plane[i]
            base = uint64(rows.start[i])
            n = uint64(rows.start[i + 1]) - base
            for j in range(n):
                inside = rows.log[base + j] < float32(IS_OUTSIDE)
                values[j] = float32(1) if inside else float32(0)
            if len(rows.weights) > 0:
                for j in range(n):
                    values[j] *= rows.weights[base + j]
            _add_row(sums, projection, rows.y[i], rows.x[i], n, values)
        _flush_plane(sums, projection, result[slot])


@_compiled("contract")
def join_planes(first, stop, slot_plane, projection, plane_sums, lattice):
    """Contract the plane sums over the leading axes, for control rows ``first:stop``.

    ``plane_sums`` (slots, control rows, columns); ``lattice`` (control planes, rows, columns).
    """
    terms = projection.plane_control.shape[1]
    columns = lattice.shape[2]
    for s in range(len(slot_plane)):
        plane = slot_plane[s]
        for k in range(terms):
            control = projection.plane_control[plane, k]
            weight = projection.plane_weight[plane, k]
            for cy in range(first, stop):
                for cx in range(columns):
                    lattice[control, cy, cx] += weight * plane_sums[s, cy, cx]
