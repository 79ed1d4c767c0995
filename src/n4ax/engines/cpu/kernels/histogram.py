"""The kernel that counts voxels per bin, and where a voxel lies on the bins."""

# pyright: reportCallIssue=false, reportArgumentType=false

import numpy as np
from numpy import float32, float64, int32, uint64

from n4ax.engines.compiled.kernel import compile_kernel
from n4ax.engines.cpu.kernels.evaluation import evaluate_row


@compile_kernel()
def place_on_bins(value, bins, top, dropped):
    """Return the position of a log intensity, in bins; ``dropped`` if it is not in 0 to ``top``."""
    lowest, width = bins
    position = (value - lowest) / width
    return position if (position >= float32(0) and position <= top) else dropped


@compile_kernel()
def fill_histogram(first, stop, rows, sheets, bins, running, gained):
    """Count the voxels per bin, each shared between the two nearest centres, for each chunk.

    Voxels that ITK drops from the histogram go to position ``nbins``; these are the voxels that
    its map sends to the last bin.

    ITK adds all voxels to one float32 histogram. What each addition loses to rounding depends on
    the binade of the count so far. So each chunk starts from ``running`` (chunks, nbins), the
    counts that are expected before it, and returns what it adds to them in ``gained``
    (chunks, nbins).
    """
    log, _, start, length, xs, ys, planes, _, chunk, _, _ = rows
    nbins = running.shape[1]
    field = np.empty(sheets.stride, np.float32)
    cell = np.empty(sheets.stride, np.int32)
    part = np.empty(sheets.stride, np.float32)
    top, dropped = float32(nbins - 1), float32(nbins)
    cells = np.zeros(4 * (nbins + 2), np.float32)
    for c in range(first, stop):
        for b in range(nbins):
            for lane in range(4):
                cells[4 * b + lane] = running[c, b]
        for i in range(chunk[c], chunk[c + 1]):
            base = uint64(start[i])
            n = uint64(start[i + 1]) - base
            evaluate_row(sheets, planes[i], ys[i], xs[i], n, field)
            for j in range(n):
                q = place_on_bins(log[base + j] - field[j], bins, top, dropped)
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
