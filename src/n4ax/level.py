"""From the field to the corrected image: the division, the intensity level, and the outside.

These settings concern intensities, each in a place of its own:

| setting | what it decides | where |
|---|---|---|
| ``nonfinite``, ``non_positive`` | which voxels the field is estimated on | :mod:`n4ax.posing` |
| ``tiny`` | the floor under the logarithm | the engines |
| ``scale`` | the intensity level of the corrected image | here |
| ``outside`` | the corrected image outside the mask | here |
"""

from typing import Any, NamedTuple

import numpy as np

from n4ax.errors import InputError
from n4ax.field import BiasField, fill_outside
from n4ax.images.arrays import has_values, load_array, namespace_of
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
            'logarithm, unless {non_positive:"exclude"}), and at {over_relax:{0}}, {fwhm:{1}} and '
            "{wiener:{2}}",
            settings.over_relax,
            settings.fwhm,
            settings.wiener,
        )


def compute_bias(log_bias: Any, settings: N4Settings) -> Any:
    """Compute the multiplicative field from the log field, a NumPy array of float32."""
    if settings.arithmetic == "itk":
        from n4ax.engines.itk.field import exponentiate

        return exponentiate(log_bias)
    return np.exp(log_bias)


def stretch_range(image: Any, corrected: Any, mask: Any, where: Any) -> Any:
    """Stretch ``corrected`` so that its range in the mask becomes that of ``image``.

    Only the voxels in ``where`` change. The largest intensity stays the largest to the bit, as in
    ANTs.
    """
    low, high = _find_ends(image, mask)
    corrected_low, corrected_high = _find_ends(corrected, mask)
    slope = (high - low) / (corrected_high - corrected_low)
    xp = namespace_of(corrected)
    return xp.where(where, high - slope * (corrected_high - corrected), corrected)


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


def _find_ends(values: Any, mask: Any) -> tuple[Any, Any]:
    """Find the least and the greatest finite value in the mask, in the corrected image's type."""
    values = _as_float(values)
    xp = namespace_of(values)
    counted = mask & xp.isfinite(values)
    infinity = values.dtype.type(np.inf)
    low = xp.where(counted, values, infinity).min()
    high = xp.where(counted, values, -infinity).max()
    return load_array(low), load_array(high)
