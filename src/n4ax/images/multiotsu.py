"""Otsu's method for several thresholds, which cut an image into classes of intensity.

References
----------
P.-S. Liao, T.-S. Chen and P.-C. Chung, "A Fast Algorithm for Multilevel Thresholding", Journal of
Information Science and Engineering 17(5), 2001.
"""

from typing import Any

import numpy as np
import numpy.typing as npt

from n4ax.errors import InputError
from n4ax.images.otsu import count_bins


def find_thresholds(
    values: npt.NDArray[Any], count: int, nbins: int = 128
) -> npt.NDArray[np.float64]:
    """Find the thresholds that separate the classes of a histogram best.

    They maximise the sum of ``weight * mean^2`` over the classes, which is the variance between
    the classes up to a constant. All placements are compared, by dynamic programming over the bins.

    Parameters
    ----------
    values
        Intensities of any shape.
    count
        Number of thresholds, one less than the classes.
    nbins
        Number of histogram bins.

    Returns
    -------
    ndarray of float64
        The thresholds in ascending order, each the upper edge of a bin.

    Raises
    ------
    InputError
        There are not enough different intensities.
    """
    counts, edges = count_bins(values, nbins)
    if np.count_nonzero(counts) <= count:
        raise InputError(
            "{image} has intensities in {0} of {1} histogram bins, which are too few for {2} "
            "classes",
            int(np.count_nonzero(counts)),
            nbins,
            count + 1,
        )
    gain = _measure_classes(counts, (edges[:-1] + edges[1:]) / 2)
    best, choices = gain[0], []
    for _ in range(count):
        # A class begins at bin k and ends before bin e; the classes before it end before bin k.
        totals = best[:, None] + gain
        choices.append(totals.argmax(axis=0))
        best = totals.max(axis=0)
    end, ends = nbins, []
    for choice in reversed(choices):
        end = int(choice[end])
        ends.append(end)
    return edges[ends[::-1]]


def _measure_classes(
    counts: npt.NDArray[np.float64], centres: npt.NDArray[np.float64]
) -> npt.NDArray[np.float64]:
    """``weight * mean^2`` of the class from bin k to before bin e, at ``[k, e]``.

    Classes without a value are impossible: minus infinity.
    """
    weights = np.concatenate([[0.0], np.cumsum(counts)])
    sums = np.concatenate([[0.0], np.cumsum(counts * centres)])
    weight = weights[None, :] - weights[:, None]
    total = sums[None, :] - sums[:, None]
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.where(weight > 0, total**2 / weight, -np.inf)
