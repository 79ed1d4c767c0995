"""The kernel that counts voxels per bin, and where voxels lie on the bins."""

# pyright: reportCallIssue=false, reportArgumentType=false, reportGeneralTypeIssues=false

import numpy as np
from numpy import float32, float64, int32, uint64

from n4ax.engines.compiled.kernel import compile_kernel
from n4ax.engines.cpu.kernels.evaluation import combine, find_sheet_rows
from n4ax.engines.cpu.kernels.lanes import (
    add_pair,
    add_whole,
    choose_between,
    divide,
    load,
    repeat,
    store,
    store_pairs,
    subtract,
    to_float,
    truncate,
)
from n4ax.engines.cpu.kernels.layout import LANES

HISTOGRAMS = 4
"""Voxels are counted in turn in so many histograms, which are added in the end."""


@compile_kernel()
def lay_out_bins(bins, nbins):
    """Return the bins in lanes, for :func:`place_on_bins`."""
    ends = repeat(float32(0)), repeat(float32(nbins - 1))
    return repeat(bins[0]), repeat(bins[1]), ends, repeat(float32(nbins))


@compile_kernel()
def place_on_bins(values, laid_bins):
    """Return the bins that log intensities (lanes) lie in, and where they lie between centres.

    An intensity that is not between the first and the last centre is in the bin ``nbins``.
    """
    lowest, width, ends, dropped = laid_bins
    position = divide(subtract(values, lowest), width)
    position = choose_between(position, ends[0], ends[1], dropped)
    lower = truncate(position)
    return lower, subtract(position, to_float(lower))


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
    size = nbins + 2
    cell = np.empty(sheets.stride, np.int32)
    shares = np.empty(2 * sheets.stride, np.float32)
    # Neighbours are counted in different histograms, so that they do not wait for each other.
    cells = np.zeros(HISTOGRAMS * size, np.float32)
    offset = np.empty(LANES, np.int32)
    for lane in range(LANES):
        offset[lane] = lane % HISTOGRAMS * size
    offsets = load(offset, uint64(0))
    laid_bins = lay_out_bins(bins, nbins)
    one = repeat(float32(1))
    for c in range(first, stop):
        for h in range(HISTOGRAMS):
            for b in range(nbins):
                cells[h * size + b] = running[c, b]
        for i in range(chunk[c], chunk[c + 1]):
            base = uint64(start[i])
            n = uint64(start[i + 1]) - base
            sheet_rows = find_sheet_rows(sheets, planes[i], ys[i], xs[i])
            for j in range(uint64(0), n, uint64(LANES)):
                corrected = subtract(load(log, base + j), combine(sheet_rows, j))
                lower, part = place_on_bins(corrected, laid_bins)
                store(cell, j, add_whole(lower, offsets))
                store_pairs(shares, j, subtract(one, part), part)
            for j in range(uint64(length[i])):
                add_pair(cells, uint64(np.uint32(cell[j])), shares, j)
        for b in range(nbins):
            total = 0.0
            for h in range(HISTOGRAMS):
                total += float64(cells[h * size + b]) - float64(running[c, b])
            gained[c, b] = total


@compile_kernel()
def close_counts(gained, running, running_bits, counts, misrounded):
    """Add up what the chunks have gained, and find the counts before each chunk anew.

    ``running`` (chunks, nbins) are the counts that the chunks have started from, and afterwards
    those that they should have started from; ``running_bits`` are their bits as whole numbers.
    ``counts`` (nbins,) become those of all chunks. ``misrounded`` (1,) becomes the share of all
    counts that was rounded as if the running count had another binade.
    """
    chunks, nbins = gained.shape
    for b in range(nbins):
        counts[b] = 0.0
    wrong = 0.0
    for c in range(chunks):
        for b in range(nbins):
            gain, binade = gained[c, b], _find_exponent(running_bits[c, b])
            after = counts[b] + gain
            running[c, b] = float32(after - gain)
            same = _find_exponent(running_bits[c, b]) == binade
            wrong += 0.0 if same else gain
            counts[b] = after
    total = 0.0
    for b in range(nbins):
        total += counts[b]
    misrounded[0] = wrong / total if total != 0.0 else 0.0  # a single intensity has no bin


@compile_kernel(inline=True)
def _find_exponent(bits):
    """Find the exponent of a count from its bits; that of 0 is the one of the numbers below 1."""
    return int32(126) if bits == int32(0) else bits >> int32(23)
