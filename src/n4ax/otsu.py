"""Otsu's threshold as ITK computes it (Otsu 1979), for masks where none is given.

References
----------
N. Otsu, "A Threshold Selection Method from Gray-Level Histograms", IEEE Transactions on Systems,
Man, and Cybernetics 9(1), 1979, doi:10.1109/TSMC.1979.4310076.
"""

from typing import Any

import numpy as np
import numpy.typing as npt


def otsu_mask(volume: npt.ArrayLike, nbins: int = 200) -> npt.NDArray[np.uint8]:
    """Foreground of an image: 1 above Otsu's threshold and 0 elsewhere.

    Equals ``SimpleITK.OtsuThreshold(image, 0, 1, nbins)`` voxel for voxel.

    Parameters
    ----------
    volume
        Intensities, any shape, any real dtype.
    nbins
        Histogram bins, at least 2.

    Returns
    -------
    ndarray of the volume's shape, uint8

    Raises
    ------
    ValueError
        No finite value, not real numbers, or fewer than 2 bins.
    """
    values = np.asarray(volume)
    if not nbins >= 2 or nbins != int(nbins):
        raise ValueError(f"nbins is {nbins}; expected a whole number of at least 2")
    threshold = otsu_threshold(values, nbins)
    if values.dtype.kind in "iu":
        threshold = float(int(threshold))  # ITK casts the threshold to the image's type
    return (values > threshold).astype(np.uint8)


def otsu_threshold(values: npt.NDArray[Any], nbins: int = 200) -> float:
    """The upper edge of the bin that best splits the histogram in two (ITK's arithmetic).

    Maximises ``sum(frequency * mean^2)`` of the two classes, which is the between-class
    variance up to a constant, over the first ``nbins - 1`` bins.
    """
    lowest, highest = _value_range(values, nbins)
    # ITK keeps the interval, and its multiples, in float32 and the bounds in double.
    interval = np.float32((np.float32(highest) - np.float32(lowest)) / nbins)
    edges = lowest + (np.arange(nbins + 1, dtype=np.float32) * interval).astype(np.float64)
    edges[-1] = highest
    counts = _count(values, edges).astype(np.float64)

    centres = (edges[:-1] + edges[1:]) / 2.0
    weighted = np.cumsum(counts * centres)
    below = np.cumsum(counts)[:-1]
    above = counts.sum() - below
    with np.errstate(invalid="ignore", divide="ignore"):
        mean_below = np.where(below > 0, weighted[:-1] / below, 0.0)
        mean_above = np.where(above > 0, (weighted[-1] - weighted[:-1]) / above, 0.0)
    between = below * mean_below**2 + above * mean_above**2
    return float(edges[_first_clear_maximum(between) + 1])


def _value_range(values: npt.NDArray[Any], nbins: int) -> tuple[float, float]:
    if values.dtype.kind not in "biuf":
        raise ValueError(f"volume has dtype {values.dtype}; expected real numbers")
    if values.size == 0:
        raise ValueError(f"volume has shape {values.shape}; expected at least one voxel")
    if values.dtype in (np.int8, np.uint8):
        info = np.iinfo(values.dtype)
        return info.min - 0.5, info.max + 0.5
    if values.dtype.kind == "f":
        lowest = float(np.min(values, initial=np.inf, where=np.isfinite(values)))
        highest = float(np.max(values, initial=-np.inf, where=np.isfinite(values)))
    else:
        lowest, highest = float(values.min()), float(values.max())
    if not lowest <= highest:
        raise ValueError("volume has no finite value to find a threshold in")
    return lowest, highest + (highest - lowest) / nbins / 100.0


def _count(values: npt.NDArray[Any], edges: npt.NDArray[np.float64]) -> npt.NDArray[np.int64]:
    """Voxels per bin, the lower edge within; a block at a time, to stay in the cache."""
    nbins = len(edges) - 1
    counts = np.zeros(nbins, np.int64)
    flat = values.ravel(order="K")
    per_unit = nbins / (edges[-1] - edges[0]) if edges[-1] > edges[0] else 0.0
    for start in range(0, flat.size, 1 << 18):
        block = flat[start : start + (1 << 18)].astype(np.float64)
        if values.dtype.kind == "f":
            block = block[np.isfinite(block)]
        # A division lands within one bin of the true one; the edges decide.
        bins = np.clip((block - edges[0]) * per_unit, 0, nbins - 1).astype(np.intp)
        bins -= block < edges[bins]
        bins += block >= edges[bins + 1]
        counts += np.bincount(np.clip(bins, 0, nbins - 1), minlength=nbins)
    return counts


def _first_clear_maximum(between: npt.NDArray[np.float64]) -> int:
    best = 0
    for index in range(1, len(between)):
        if between[index] > between[best] and between[index] > np.nextafter(between[best], np.inf):
            best = index
    return best
