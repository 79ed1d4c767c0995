"""The kernel that packs the voxels of an image."""

# pyright: reportCallIssue=false, reportArgumentType=false

import numpy as np
from numpy import float32, float64

from n4ax.engines.compiled.kernel import compile_kernel
from n4ax.engines.cpu.kernels.layout import OUTSIDE


@compile_kernel()
def pack_chunks(first, stop, intensities, mask, confidence, floor, rows):
    """Fill in the log intensities (and confidences) of the chunks ``first:stop`` of ``rows``.

    ``intensities``, ``mask`` and ``confidence`` are of shape (planes, height, width). Intensities
    are raised to ``floor``; if that is NaN, an intensity that is not positive stays as it is, as
    in ITK.
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
