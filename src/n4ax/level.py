"""From the field to the corrected image: the division, the intensity level, and the outside.

These settings concern intensities, each in a place of its own:

| setting | what it decides | where |
|---|---|---|
| ``nonfinite``, ``non_positive`` | which voxels the field is estimated on | :mod:`n4ax.posing` |
| ``tiny`` | the floor under the logarithm | the engines |
| ``scale`` | the intensity level of the corrected image | here |
| ``outside`` | the corrected image outside the mask | here |
"""

from collections.abc import Iterator
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from n4ax.errors import InputError
from n4ax.field import BiasField, fill_outside
from n4ax.images.arrays import has_values, load_array, namespace_of
from n4ax.namespaces import find_namespace
from n4ax.settings import N4Settings

MOST_LOG = 1e6
"""Control points beyond this come from arithmetic that has lost all digits: the logarithm of a
number in single precision lies between -104 and 89."""


class Corrected(NamedTuple):
    """A corrected image, and the field that it was divided by."""

    image: Any
    field: BiasField


def correct(
    field: BiasField,
    volume: Any,
    mask: Any,
    settings: N4Settings,
    *,
    offset: Any = 0.0,
    num_threads: int | None = None,
    overwrite: bool = False,
) -> Corrected:
    """Divide an image by its field and bring it to the level that the settings ask for.

    Parameters
    ----------
    field
        The field as the solver found it.
    volume
        The image that the field was estimated on: a NumPy, JAX or dask array.
    mask
        Voxels inside the mask, bool, of the volume's shape.
    settings
        ``scale``, ``outside`` and ``non_positive`` are used.
    offset
        What the image is raised by before the division (``non_positive="offset"``).
    num_threads
        Number of threads of the CPU engine.
    overwrite
        Whether the memory of a JAX array may take the result, because it is not needed any more.

    Returns
    -------
    Corrected
        A constant that is added to the log field is added to its control points, so the field
        follows the level of the image, except with ``scale="minmax"``.

    Raises
    ------
    ValueError
        The field is not finite; or the mean in the mask changes its sign, so that it cannot be
        kept.
    """
    _check_finite(field, settings)
    raised = volume
    needed_later = settings.scale != "itk" or settings.outside == "keep"
    if settings.non_positive == "offset":
        raised = _as_float(volume) + offset
    if settings.scale == "unit-field":
        field = field.shift(-_find_mean(field.evaluate_like(volume), mask))
    corrected = field.divide(
        raised, num_threads=num_threads, overwrite=overwrite and not needed_later
    )
    if settings.scale == "mean":
        field = field.shift(_log_loss(raised, corrected, mask))
        corrected = field.divide(raised, num_threads=num_threads)
    if settings.scale == "minmax":
        corrected = stretch_range(raised, corrected, mask, mask)
    if settings.non_positive == "offset":
        corrected = corrected - offset
    return Corrected(fill_outside(corrected, volume, mask, settings.outside), field)


def _check_finite(field: BiasField, settings: N4Settings) -> None:
    """Check that no sum has left the range of numbers while the field was estimated."""
    points = field.control_points
    if has_values(points) and not (abs(points) <= MOST_LOG).all():
        raise InputError(
            "the field is not finite: the arithmetic has left the range of single precision. Look "
            "for intensities of absurd size in the mask (negative ones are used without a "
            'logarithm, unless {non_positive:"exclude"}), for a mask of a few voxels, and at '
            "{over_relax:{0}}, {fwhm:{1}} and {wiener:{2}}",
            settings.over_relax,
            settings.fwhm,
            settings.wiener,
        )


def compute_bias(log_bias: Any, settings: N4Settings) -> Any:
    """Compute the multiplicative field from the log field, a NumPy array of float32."""
    if settings.arithmetic == "itk":
        from n4ax.engines.itk.field import exponentiate

        return exponentiate(log_bias)
    return exponentiate_log(log_bias)


def exponentiate_log(log_bias: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
    """Compute exp of a log field.

    It is computed in double and rounded once, because the last digits of NumPy's exponential in
    single precision depend on the processor.
    """
    bias = np.empty_like(log_bias)
    return np.exp(log_bias, out=bias, dtype=np.float64, casting="same_kind")


def find_field_range(log_bias: npt.NDArray[np.floating]) -> tuple[float, float]:
    """Find the smallest and the largest value of a field; infinity stands for what is beyond."""
    with np.errstate(over="ignore"):
        low, high = (float(np.exp(np.float64(end))) for end in (log_bias.min(), log_bias.max()))
    return low, high


def stretch_range(image: Any, corrected: Any, mask: Any, where: Any) -> Any:
    """Stretch ``corrected`` so that its range in the mask becomes that of ``image``.

    Only the voxels in ``where`` change. The largest intensity stays the largest to the bit, as in
    ANTs. A mask with a single intensity has no range, and all of it becomes the largest.
    """
    low, high = find_ends(image, mask)
    corrected_low, corrected_high = find_ends(corrected, mask)
    width = corrected_high - corrected_low
    slope = (high - low) / find_namespace(width).where(width == 0, 1, width)
    if not isinstance(corrected, np.ndarray):
        inside = high - slope * (corrected_high - corrected)
        return namespace_of(corrected).where(where, inside, corrected)
    stretched = np.empty_like(corrected)
    for values, chosen, result in _cut(corrected, where, stretched):
        result[...] = np.where(chosen, high - slope * (corrected_high - values), values)
    return stretched


def _log_loss(image: Any, corrected: Any, mask: Any) -> Any:
    """Find what must be added to the log field to keep the mean intensity in the mask."""
    kept = _find_mean(image, mask) / _find_mean(corrected, mask)
    if has_values(kept) and not kept > 0:
        raise InputError(
            '{scale} is "mean", and the mean in the mask changes its sign: N4 is for positive '
            'intensities; raise them first, or choose {scale:"unit-field"}'
        )
    return -namespace_of(kept).log(kept)


def _as_float(volume: Any) -> Any:
    wide = volume.dtype.kind == "f" and volume.dtype.itemsize >= 8
    return volume.astype(np.float64 if wide else np.float32)


def _find_mean(values: Any, mask: Any) -> Any:
    """Find the mean of the finite values in the mask, float64."""
    xp = namespace_of(values)
    counted = mask & xp.isfinite(values)
    total = xp.where(counted, values, 0).sum(dtype=np.float64)
    return load_array(total / counted.sum())


def find_ends(values: Any, mask: Any) -> tuple[Any, Any]:
    """Find the least and the greatest finite value in the mask, in the corrected image's type."""
    if isinstance(values, np.ndarray):
        return _search_planes(values, mask)
    values = _as_float(values)
    xp = namespace_of(values)
    counted = mask & xp.isfinite(values)
    infinity = values.dtype.type(np.inf)
    low = xp.where(counted, values, infinity).min()
    high = xp.where(counted, values, -infinity).max()
    return load_array(low), load_array(high)


def _search_planes(values: npt.NDArray[Any], mask: npt.NDArray[np.bool_]) -> tuple[Any, Any]:
    kind = _as_float(values[(slice(0, 0),) * values.ndim]).dtype.type
    low, high = kind(np.inf), kind(-np.inf)
    for plane, inside in _cut(values, mask):
        found = _as_float(plane[inside])
        finite = np.isfinite(found)
        found = found if finite.all() else found[finite]
        if found.size:
            low, high = min(low, found.min()), max(high, found.max())
    return low, high


def _cut(*arrays: npt.NDArray[Any]) -> Iterator[tuple[npt.NDArray[Any], ...]]:
    """Cut arrays of one shape into planes that stay in the cache, as the first lies in memory."""
    strides = arrays[0].strides
    order = sorted(range(len(strides)), key=lambda axis: -strides[axis])
    return zip(*(array.transpose(order) for array in arrays), strict=True)
