"""Memory that the CPU engine reuses in every iteration."""

from functools import cache
from math import cos, log, pi, sin, sqrt
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from n4ax.engines.cpu.kernels.layout import Bins, IntensityMap, Search
from n4ax.itk.versions import RULES
from n4ax.method.sharpening import pad_size


class Extremes(NamedTuple):
    """Room for a search for the extremes.

    Attributes
    ----------
    search
        Which stretches are looked at.
    chunks, ends
        The least and the greatest of each chunk, shape (chunks, 2), and of all.
    full
        What they were when all stretches were last looked at.
    """

    search: Search
    chunks: npt.NDArray[np.float32]
    ends: npt.NDArray[np.float32]
    full: npt.NDArray[np.float32]

    @classmethod
    def allocate(cls, chunks: int, stretches: int, version: int) -> "Extremes":
        """Allocate the room, for the scan of a version of ITK."""
        skips_rise = not RULES[version].tests_both_ends
        search = Search(np.zeros((stretches, 2), np.float32), np.zeros(4), skips_rise)
        ends = np.zeros((chunks, 2), np.float32)
        return cls(search, ends, np.zeros(2, np.float32), np.zeros(2, np.float32))


class Counts(NamedTuple):
    """Room for a histogram and for the map that it leads to.

    Attributes
    ----------
    bins
        The bins.
    running, running_bits
        The float32 counts before each chunk, as the last iteration left them, (chunks, nbins), and
        their bits as int32 in the same memory.
    gained
        What each chunk adds to them.
    total
        The counts of all chunks, (nbins,).
    misrounded
        The share of the counts that was rounded unlike in ITK, (1,).
    expected, map
        The expected log intensity at each bin centre, and the map of log intensities to them.
    """

    bins: Bins
    running: npt.NDArray[np.float32]
    running_bits: npt.NDArray[np.int32]
    gained: npt.NDArray[np.float64]
    total: npt.NDArray[np.float64]
    misrounded: npt.NDArray[np.float64]
    expected: npt.NDArray[np.float32]
    map: IntensityMap

    @classmethod
    def allocate(cls, chunks: int, nbins: int) -> "Counts":
        """Allocate the room, with running counts of 0."""
        bins = np.zeros(2, np.float32)
        intensity_map = IntensityMap(bins, np.zeros(2 * (nbins + 1), np.float32))
        running = np.zeros((chunks, nbins), np.float32)
        gained = np.zeros((chunks, nbins))
        expected = np.zeros(nbins, np.float32)
        bits = running.view(np.int32)
        return cls(
            bins, running, bits, gained, np.zeros(nbins), np.zeros(1), expected, intensity_map
        )


class Sharpening(NamedTuple):
    """The arguments of :func:`n4ax.engines.cpu.kernels.sharpening.sharpen_counts`."""

    counts: npt.NDArray[np.float64]
    bins: Bins
    parameters: npt.NDArray[np.float32]
    turns: npt.NDArray[np.float64]
    work: npt.NDArray[np.float64]
    expected: npt.NDArray[np.float32]

    @classmethod
    def allocate(cls, nbins: int) -> "Sharpening":
        """Allocate the room."""
        size = pad_size(nbins)
        constants = [0.0, 0.0, 4.0 * log(2.0), 2.0 * sqrt(log(2.0) / pi)]
        return cls(
            np.zeros(nbins),
            np.zeros(2, np.float32),
            np.array(constants, np.float32),
            _make_turns(size),
            np.zeros((5, size)),
            np.zeros(nbins, np.float32),
        )


@cache
def _make_turns(size: int) -> npt.NDArray[np.float64]:
    """Make the cosines and sines of all whole multiples of 2 pi / size, shape (2, size)."""
    angles = [2.0 * pi * k / size for k in range(size)]
    return np.array([[cos(angle) for angle in angles], [sin(angle) for angle in angles]])
