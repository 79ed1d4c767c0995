"""Otsu's threshold as ITK computes it (Otsu 1979), for masks where none is given.

References
----------
N. Otsu, "A Threshold Selection Method from Gray-Level Histograms", IEEE Transactions on Systems,
Man, and Cybernetics 9(1), 1979, doi:10.1109/TSMC.1979.4310076.
"""

from functools import cache, reduce
from typing import Any

import numpy as np
import numpy.typing as npt

from n4ax.images.arrays import import_array, is_jax, is_traced, load_array
from n4ax.images.libraries import make_like, open_image


def otsu_mask(volume: npt.ArrayLike, nbins: int = 200) -> Any:
    """Foreground of an image: 1 above Otsu's threshold and 0 elsewhere.

    Equals ``SimpleITK.OtsuThreshold(image, 0, 1, nbins)`` voxel for voxel. Of a dask or zarr
    array all is read.

    Parameters
    ----------
    volume
        Intensities, any shape, any real dtype: an image or array as :func:`n4ax.n4` takes.
    nbins
        Histogram bins, at least 2.

    Returns
    -------
    like the volume, of its shape, uint8
        Of the volume's library, on its device; NumPy for what is of none. A JAX volume may be
        traced: then one without a finite value is not found out, and gives zeros.

    Raises
    ------
    ValueError
        No finite value, not real numbers, or fewer than 2 bins.
    """
    if not nbins >= 2 or nbins != int(nbins):
        raise ValueError(f"nbins is {nbins}; expected a whole number of at least 2")
    values = load_array(import_array(open_image(volume, "volume").voxels))
    if values.dtype.kind not in "biuf":
        raise ValueError(f"volume has dtype {values.dtype}; expected real numbers")
    if values.size == 0:
        raise ValueError(f"volume has shape {values.shape}; expected at least one voxel")
    mask = _compiled_mask(values, int(nbins)) if is_jax(values) else _mask(values, int(nbins))
    known = values.dtype.kind == "f" and not is_traced(values)
    if known and not mask.any() and not values.__array_namespace__().isfinite(values).any():
        raise ValueError("volume has no finite value to find a threshold in")
    return make_like(volume, mask)


def _mask(values: Any, nbins: int) -> Any:
    with np.errstate(all="ignore"):  # where no value is finite, which is seen to by the caller
        threshold = otsu_threshold(values, nbins)
    return (values > threshold).astype(np.uint8)


def _compiled_mask(values: Any, nbins: int) -> Any:
    import jax

    with jax.enable_x64(True):
        return _jitted_mask()(values, nbins)


@cache
def _jitted_mask() -> Any:
    import jax

    return jax.jit(_mask, static_argnums=1)


def otsu_threshold(values: Any, nbins: int = 200) -> Any:
    """The upper edge of the bin that best splits the histogram in two (ITK's arithmetic).

    Maximises ``sum(frequency * mean^2)`` of the two classes, which is the between-class
    variance up to a constant, over the first ``nbins - 1`` bins. Double, of integers whole;
    infinite or not a number where no value is finite.
    """
    xp = values.__array_namespace__()
    lowest, highest = _value_range(values, nbins, xp)
    # ITK keeps the interval, and its multiples, in float32 and the bounds in double.
    interval = (xp.float32(highest) - xp.float32(lowest)) / nbins
    edges = lowest + (xp.arange(nbins, dtype=xp.float32) * interval).astype(xp.float64)
    edges = xp.concatenate([edges, xp.reshape(highest, 1)])
    count = _count if isinstance(values, np.ndarray) else _count_on_device
    counts = count(values, edges).astype(xp.float64)

    centres = (edges[:-1] + edges[1:]) / 2.0
    weighted = xp.cumsum(counts * centres)
    below = xp.cumsum(counts)[:-1]
    above = counts.sum() - below
    mean_below = xp.where(below > 0, weighted[:-1] / below, 0.0)
    mean_above = xp.where(above > 0, (weighted[-1] - weighted[:-1]) / above, 0.0)
    between = below * mean_below**2 + above * mean_above**2
    threshold = edges[_first_clear_maximum(between, xp) + 1]
    # ITK casts the threshold to the image's type.
    return xp.trunc(threshold) if values.dtype.kind in "iu" else threshold


def _value_range(values: Any, nbins: int, xp: Any) -> tuple[Any, Any]:
    if values.dtype in (np.int8, np.uint8):
        info = np.iinfo(values.dtype)
        return xp.float64(info.min - 0.5), xp.float64(info.max + 0.5)
    if values.dtype.kind == "f":
        finite = xp.isfinite(values)
        lowest = xp.min(values, initial=xp.inf, where=finite).astype(xp.float64)
        highest = xp.max(values, initial=-xp.inf, where=finite).astype(xp.float64)
    else:
        lowest, highest = (end().astype(xp.float64) for end in (values.min, values.max))
    return lowest, highest + (highest - lowest) / nbins / 100.0


def _bins(values: Any, edges: Any, xp: Any) -> Any:
    """The bin of each finite value, the lower edge within."""
    nbins = len(edges) - 1
    extent = edges[-1] - edges[0]
    per_unit = nbins / xp.where(extent > 0, extent, xp.inf)
    # A division lands within one bin of the true one; the edges decide.
    bins = xp.clip((values - edges[0]) * per_unit, 0, nbins - 1).astype(xp.int32)
    bins = bins - (values < edges[bins])
    bins = bins + (values >= edges[bins + 1])
    return xp.clip(bins, 0, nbins - 1)


def _count(values: npt.NDArray[Any], edges: npt.NDArray[np.float64]) -> npt.NDArray[np.int64]:
    """Finite values per bin; a block at a time, to stay in the cache."""
    nbins = len(edges) - 1
    counts = np.zeros(nbins, np.int64)
    flat = values.ravel(order="K")
    for start in range(0, flat.size, 1 << 18):
        block = flat[start : start + (1 << 18)].astype(np.float64)
        if values.dtype.kind == "f":
            block = block[np.isfinite(block)]
        counts += np.bincount(_bins(block, edges, np), minlength=nbins)
    return counts


def _count_on_device(values: Any, edges: Any) -> Any:
    """Finite values per bin; integers may be added in any order, in rows that seldom collide."""
    xp = values.__array_namespace__()
    flat = values.reshape(-1).astype(xp.float64)
    finite = xp.isfinite(flat)
    bins = _bins(xp.where(finite, flat, edges[0]), edges, xp)
    rows = xp.zeros((256, len(edges) - 1), xp.int32)
    return rows.at[xp.arange(len(flat)) % 256, bins].add(finite.astype(xp.int32)).sum(axis=0)


def _first_clear_maximum(between: Any, xp: Any) -> Any:
    """The first that no later one exceeds by more than an ulp, as ITK looks for it."""

    def better(index: Any, best: Any) -> Any:
        clearly = between[index] > xp.nextafter(between[best], xp.inf)
        return xp.where(clearly, index, best)

    if isinstance(between, np.ndarray):
        return reduce(lambda best, index: better(index, best), range(1, len(between)), 0)
    from jax import lax

    return lax.fori_loop(1, len(between), better, 0)
