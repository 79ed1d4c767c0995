"""Kernels that count voxels per bin, and map them to their expected intensities."""

# pyright: reportCallIssue=false, reportArgumentType=false

import numpy as np
from numpy import float32, float64, int32, uint64

from n4ax.engines.compiled.kernel import compile_kernel

_BLOCK = 1024


@compile_kernel()
def _place(value, lowest, width):
    """Return the position of a log intensity in bins, and the bin below it.

    The bin is found as ITK finds it, from the nearest even number. For a position that is NaN, as
    in bins without width, it is far below 0.
    """
    position = (value - lowest) / width
    return position, int32(np.rint(float32(2) * position - float32(0.5))) >> int32(1)


@compile_kernel()
def fill_histogram(values, bins, counts):
    """Add all values to the float32 ``counts`` in their order, each shared between two bins."""
    lowest, width = bins
    last = len(counts) - 1
    bin_below = np.empty(_BLOCK, np.int32)
    part = np.empty(_BLOCK, np.float32)
    for start in range(0, len(values), _BLOCK):
        n = uint64(min(_BLOCK, len(values) - start))
        base = uint64(start)
        for j in range(n):
            position, below = _place(values[base + j], lowest, width)
            bin_below[j] = below
            part[j] = position - float32(below)
        for j in range(n):
            k = bin_below[j]
            if k < 0 or k > last:
                continue
            if part[j] == float32(0):
                counts[k] += float32(1)
            elif k < last:
                counts[k] = float32(float64(counts[k]) + (1.0 - float64(part[j])))
                counts[k + 1] += part[j]


@compile_kernel()
def compute_residuals(first, stop, bins, expected, values):
    """Replace the log intensities ``first:stop`` by what they exceed their expected ones by.

    Outside the bins, the expected log intensity is that of the last one.
    """
    lowest, width = bins
    last = int32(len(expected) - 1)
    rise = np.zeros(len(expected), np.float32)
    for k in range(len(expected) - 1):
        rise[k] = expected[k + 1] - expected[k]
    bin_below = np.empty(_BLOCK, np.int32)
    part = np.empty(_BLOCK, np.float32)
    for start in range(first, stop, _BLOCK):
        n = uint64(min(_BLOCK, stop - start))
        base = uint64(start)
        for j in range(n):
            position, below = _place(values[base + j], lowest, width)
            inside = below >= int32(0) and below < last
            bin_below[j] = below if inside else last
            part[j] = position - float32(below) if inside else float32(0)
        for j in range(n):
            k = uint64(np.uint32(bin_below[j]))
            part[j] = expected[k] + rise[k] * part[j]
        for j in range(n):
            values[base + j] = values[base + j] - part[j]
