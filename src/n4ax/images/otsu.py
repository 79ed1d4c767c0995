"""Otsu's threshold as ITK computes it (Otsu 1979), for images that come without a mask.

References
----------
N. Otsu, "A Threshold Selection Method from Gray-Level Histograms", IEEE Transactions on Systems,
Man, and Cybernetics 9(1), 1979, doi:10.1109/TSMC.1979.4310076.
"""

from functools import cache, reduce
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from n4ax.errors import InputError
from n4ax.images.arguments import take_image
from n4ax.images.arrays import check_real, import_array, is_jax, is_traced, load_array
from n4ax.images.libraries import make_like, open_image
from n4ax.namespaces import find_namespace
from n4ax.settings import LARGEST, check_whole_number

MOST_BINS = 1 << 16

BLOCK = 1 << 18
"""So many values are counted at a time, since so many stay in the cache."""

LEVELS = 1 << 14
"""Values are counted in so many levels before they are counted in bins."""

FEW_VALUES = 1 << 14
"""Fewer values than this are counted in bins at once."""


def otsu_mask(volume: npt.ArrayLike, nbins: int = 200) -> Any:
    """Find the foreground of an image: 1 above Otsu's threshold and 0 elsewhere.

    The result equals ``SimpleITK.OtsuThreshold(image, 0, 1, nbins)`` voxel for voxel. A dask or
    zarr array is read as a whole.

    Parameters
    ----------
    volume : image, array or path
        Intensities of any shape and any real dtype, as :func:`n4ax.n4` takes them.
    nbins : int
        Number of histogram bins, from 2 to 65536.

    Returns
    -------
    image or array of uint8
        It has the volume's shape, library and device; a nested list gives a NumPy array. If JAX
        traces the volume, its values are unknown: a volume without any finite value then gives
        zeros instead of an error.

    Raises
    ------
    ValueError
        The volume has no value that is finite in single precision, or no real numbers; or the
        number of bins is out of its range.

    Examples
    --------
    >>> import n4ax
    >>> n4ax.otsu_mask([[1.0, 2.0], [8.0, 9.0]])
    array([[0, 0],
           [1, 1]], dtype=uint8)
    """
    nbins = check_whole_number("nbins", nbins, 2, MOST_BINS)
    volume = take_image("volume", volume)
    values = import_array(open_image(volume, "volume").voxels)
    return make_like(volume, find_foreground(values, nbins, "volume"))


def find_foreground(values: Any, nbins: int = 200, name: str = "image") -> Any:
    """Find the foreground of an array: see :func:`otsu_mask`.

    Parameters
    ----------
    values
        A NumPy, JAX or dask array.
    nbins
        Number of histogram bins.
    name
        What messages call the array.
    """
    values = load_array(values)
    check_real(name, values.dtype)
    if values.size == 0:
        raise InputError(f"{{{name}}} has shape {{0}}; expected at least one voxel", values.shape)
    find = _find_above_by_jax if is_jax(values) else _find_above
    mask = find(values, nbins)
    known = values.dtype.kind == "f" and not is_traced(values)
    if known and not mask.any():
        xp = find_namespace(values)
        if not xp.isfinite(_drop_too_large(values, xp)).any():
            raise InputError(
                f"{{{name}}} has no finite value in single precision to find a threshold in"
            )
    return mask


def _find_above(values: Any, nbins: int) -> Any:
    above = values > otsu_threshold(values, nbins)
    return above.view(np.uint8) if isinstance(above, np.ndarray) else above.astype(np.uint8)


def _find_above_by_jax(values: Any, nbins: int) -> Any:
    import jax

    with jax.enable_x64(True):
        return _compile_for_jax()(values, nbins)


@cache
def _compile_for_jax() -> Any:
    import jax

    return jax.jit(_find_above, static_argnums=1)


def otsu_threshold(values: Any, nbins: int = 200) -> Any:
    """Find the upper edge of the bin that best splits the histogram in two (ITK's arithmetic).

    This maximises ``sum(frequency * mean^2)`` of the two classes over the first ``nbins - 1``
    bins, which is the variance between the classes up to a constant.

    Returns
    -------
    float64
        The threshold; a whole number for integers. It is infinite or NaN if no value is finite.
    """
    with np.errstate(all="ignore"):  # the sums may leave the range of float64
        return _find_threshold(values, nbins)


def _find_threshold(values: Any, nbins: int) -> Any:
    xp = find_namespace(values)
    counts, edges = count_bins(values, nbins)
    centres = (edges[:-1] + edges[1:]) / 2.0
    weighted = xp.cumsum(counts * centres)
    below = xp.cumsum(counts)[:-1]
    above = counts.sum() - below
    mean_below = xp.where(below > 0, weighted[:-1] / below, 0.0)
    mean_above = xp.where(above > 0, (weighted[-1] - weighted[:-1]) / above, 0.0)
    between = below * mean_below**2 + above * mean_above**2
    threshold = edges[_find_first_clear_maximum(between, xp) + 1]
    # ITK casts the threshold to the image's type.
    return xp.trunc(threshold) if values.dtype.kind in "iu" else threshold


def count_bins(values: Any, nbins: int) -> tuple[Any, Any]:
    """Count the finite values in the bins of ITK's histogram.

    Returns
    -------
    counts, edges : arrays of float64
        The numbers of values, and the edges of the bins, which are one more.
    """
    xp = find_namespace(values)
    lowest, highest = _find_range(values, nbins, xp)
    if not (isinstance(values, np.ndarray) and max(-lowest, highest) <= LARGEST):
        values = _drop_too_large(values, xp)
        lowest, highest = _find_range(values, nbins, xp)
    # ITK keeps the interval, and its multiples, in float32 and the bounds in double.
    interval = (xp.float32(highest) - xp.float32(lowest)) / nbins
    edges = lowest + (xp.arange(nbins, dtype=xp.float32) * interval).astype(xp.float64)
    edges = xp.concatenate([edges, xp.reshape(highest, 1)])
    count = _count if isinstance(values, np.ndarray) else _count_on_device
    return count(values, edges).astype(xp.float64), edges


def _drop_too_large(values: Any, xp: Any) -> Any:
    """Make NaN of what single precision, in which the bins are computed, cannot hold."""
    if values.dtype.kind != "f" or values.dtype.itemsize < 8:
        return values
    return xp.where(xp.abs(values) <= LARGEST, values, xp.nan)


def _find_range(values: Any, nbins: int, xp: Any) -> tuple[Any, Any]:
    if values.dtype in (np.int8, np.uint8):
        info = np.iinfo(values.dtype)
        return xp.float64(info.min - 0.5), xp.float64(info.max + 0.5)
    if isinstance(values, np.ndarray) and values.dtype.kind == "f":
        lowest, highest = values.min().astype(np.float64), values.max().astype(np.float64)
        if np.isfinite(highest - lowest):
            return lowest, highest + (highest - lowest) / nbins / 100.0
    if values.dtype.kind == "f":
        finite = xp.isfinite(values)
        lowest = xp.min(values, initial=xp.inf, where=finite).astype(xp.float64)
        highest = xp.max(values, initial=-xp.inf, where=finite).astype(xp.float64)
    else:
        lowest, highest = (end().astype(xp.float64) for end in (values.min, values.max))
    return lowest, highest + (highest - lowest) / nbins / 100.0


def _find_bins(values: Any, edges: Any, xp: Any) -> Any:
    """Find the bin of each finite value; a bin includes its lower edge."""
    nbins = len(edges) - 1
    extent = edges[-1] - edges[0]
    per_unit = nbins / xp.where(extent > 0, extent, xp.inf)
    # The division lands within one bin of the right bin. The edges decide.
    bins = xp.clip((values - edges[0]) * per_unit, 0, nbins - 1).astype(xp.int32)
    bins = bins - (values < edges[bins])
    bins = bins + (values >= edges[bins + 1])
    return xp.clip(bins, 0, nbins - 1)


def _count(values: npt.NDArray[Any], edges: npt.NDArray[np.float64]) -> npt.NDArray[np.int64]:
    """Count the finite values in each bin, one block at a time to stay in the cache.

    Values are counted by level first, and there are many more levels than bins. A level is never
    above that of a greater value. So an edge of a bin can only have values on both sides in its
    own level, and only the values in such levels are compared with the edges.
    """
    nbins = len(edges) - 1
    levels = _lay_levels(edges) if values.size >= FEW_VALUES else None
    counts, tally = np.zeros(nbins, np.int64), np.zeros(LEVELS, np.int64)
    flat = values.ravel(order="K")
    for start in range(0, flat.size, BLOCK):
        block = flat[start : start + BLOCK]
        if values.dtype.kind == "f" and not np.isfinite(block).all():
            block = block[np.isfinite(block)]
        if levels is not None:
            found = _find_levels(block, levels.lowest, levels.per_unit)
            tally += np.bincount(found, minlength=LEVELS)
            block = block[levels.are_shared[found]]
        bins = _find_bins(block.astype(np.float64), edges, np)
        counts += np.bincount(bins, minlength=nbins)
    if levels is not None:
        np.add.at(counts, levels.bins, np.where(levels.are_shared, 0, tally))
    return counts


class _Levels(NamedTuple):
    """Fine levels between the first and the last edge of the bins.

    Attributes
    ----------
    lowest, per_unit
        The value where the levels begin, and their number per unit.
    bins
        The bin of the values of each level.
    are_shared
        Whether an edge lies in a level, so that its values may be in two bins.
    """

    lowest: np.float32
    per_unit: np.float32
    bins: npt.NDArray[np.int64]
    are_shared: npt.NDArray[np.bool_]


def _lay_levels(edges: npt.NDArray[np.float64]) -> _Levels | None:
    """Lay levels between edges of bins; ``None`` if the bins are not of about the same width."""
    lowest, width = np.float32(edges[0]), (edges[-1] - edges[0]) / (len(edges) - 1)
    per_unit = np.float32(LEVELS - 2) / (np.float32(edges[-1]) - lowest)
    uneven = np.abs(edges - np.linspace(edges[0], edges[-1], len(edges))).max()
    if not (np.isfinite(per_unit) and per_unit > 0 and uneven < 0.25 * width):
        return None
    shared = _find_levels(edges[1:-1], lowest, per_unit)
    are_shared = np.zeros(LEVELS, bool)
    are_shared[shared] = True
    return _Levels(lowest, per_unit, np.searchsorted(shared, np.arange(LEVELS)), are_shared)


def _find_levels(
    values: npt.NDArray[Any], lowest: np.float32, per_unit: np.float32
) -> npt.NDArray[np.intp]:
    """Find the levels of finite values. Each step keeps the order of the values."""
    height = np.subtract(values, lowest, dtype=np.float32, casting="same_kind")
    height *= per_unit
    return np.clip(height, 0, LEVELS - 1, out=height).astype(np.intp)


def _count_on_device(values: Any, edges: Any) -> Any:
    """Count the finite values in each bin; integers may be added in any order.

    There are many rows of bins, so that few additions meet in one place.
    """
    xp = find_namespace(values)
    flat = values.reshape(-1).astype(xp.float64)
    finite = xp.isfinite(flat)
    bins = _find_bins(xp.where(finite, flat, edges[0]), edges, xp)
    rows = xp.zeros((256, len(edges) - 1), xp.int32)
    return rows.at[xp.arange(len(flat)) % 256, bins].add(finite.astype(xp.int32)).sum(axis=0)


def _find_first_clear_maximum(between: Any, xp: Any) -> Any:
    """Find the first value that no later value exceeds by more than an ulp, as ITK does."""

    def better(index: Any, best: Any) -> Any:
        clearly = between[index] > xp.nextafter(between[best], xp.inf)
        return xp.where(clearly, index, best)

    if isinstance(between, np.ndarray):
        return reduce(lambda best, index: better(index, best), range(1, len(between)), 0)
    from jax import lax

    return lax.fori_loop(1, len(between), better, 0)
