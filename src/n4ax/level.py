"""Everything about intensities that is not N4's: which of them count, and the level of the output.

| setting | | where |
|---|---|---|
| ``nonfinite``, ``non_positive`` | which voxels are estimated on | :mod:`n4ax.posing` |
| ``tiny`` | floor under the logarithm | the engines |
| ``scale`` | level of the corrected image | here |
| ``outside`` | the corrected image outside the mask | here |
"""

from typing import Any, NamedTuple

import numpy as np

from n4ax.field import BiasField, fill_outside
from n4ax.images.arrays import has_values, load_array, namespace_of
from n4ax.posing import Problem
from n4ax.settings import N4Settings


class Finished(NamedTuple):
    """The corrected image, and the field that it was divided by."""

    corrected: Any
    field: BiasField


def finish(
    field: BiasField,
    volume: Any,
    problem: Problem,
    settings: N4Settings,
    *,
    num_threads: int | None = None,
    give_up: bool = False,
) -> Finished:
    """Divide an image by its field and bring it to the level that is asked for.

    Parameters
    ----------
    field
        As the solver found it.
    volume
        The image that it was found on, as it came: NumPy, JAX or dask.
    problem
        What was solved.
    settings
        ``scale``, ``outside`` and ``non_positive`` are used.
    num_threads
        Of the CPU engine.
    give_up
        The memory of a JAX array, not needed any more, may take the result.

    Returns
    -------
    Finished
        Shifting the log field by a constant changes its control points by just that, so the
        field goes with the image, except for ``scale="minmax"``.
    """
    inside = field.inside(problem)
    raised = volume
    plain = settings.scale == "itk" and settings.outside != "keep"
    if settings.non_positive == "offset":
        raised = _float(volume) + problem.offset
    if settings.scale == "unit-field":
        field = field.shifted(-_mean(field.evaluate_like(volume), inside))
    corrected = field.divided(raised, num_threads=num_threads, give_up=give_up and plain)
    if settings.scale == "mean":
        kept = _mean(raised, inside) / _mean(corrected, inside)
        if has_values(kept) and not kept > 0:
            raise ValueError(
                'scale is "mean", and the mean in the mask changes its sign: N4 is for positive '
                'intensities; raise them first, or choose scale="unit-field"'
            )
        field = field.shifted(-namespace_of(kept).log(kept))
        corrected = field.divided(raised, num_threads=num_threads)
    if settings.scale == "minmax":
        corrected = stretch_range(raised, corrected, inside, inside)
    if settings.non_positive == "offset":
        corrected = corrected - problem.offset
    return Finished(fill_outside(corrected, volume, inside, settings.outside), field)


def stretch_range(image: Any, corrected: Any, inside: Any, where: Any) -> Any:
    """``corrected``, its range ``inside`` made that of ``image``; changed only ``where``.

    The largest intensity stays the largest to the bit, as in ANTs.
    """
    low, high = _ends(image, inside)
    corrected_low, corrected_high = _ends(corrected, inside)
    slope = (high - low) / (corrected_high - corrected_low)
    xp = namespace_of(corrected)
    return xp.where(where, high - slope * (corrected_high - corrected), corrected)


def _float(volume: Any) -> Any:
    wide = volume.dtype.kind == "f" and volume.dtype.itemsize >= 8
    return volume.astype(np.float64 if wide else np.float32)


def _mean(values: Any, inside: Any) -> Any:
    """Mean of the finite values in the mask, float64."""
    xp = namespace_of(values)
    counted = inside & xp.isfinite(values)
    total = xp.where(counted, values, 0).sum(dtype=np.float64)
    return load_array(total / counted.sum())


def _ends(values: Any, inside: Any) -> tuple[Any, Any]:
    """Least and greatest finite value in the mask, in the type that the corrected image has."""
    values = _float(values)
    xp = namespace_of(values)
    counted = inside & xp.isfinite(values)
    infinity = values.dtype.type(np.inf)
    low = xp.where(counted, values, infinity).min()
    high = xp.where(counted, values, -infinity).max()
    return load_array(low), load_array(high)
