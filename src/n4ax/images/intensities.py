"""Which intensities count: the policies for NaN, infinity and values without a logarithm.

ITK and N4 compute in single precision (float32). What is not finite there counts as infinite here,
whatever the type of the image is.
"""

from typing import Any

import numpy as np
import numpy.typing as npt

from n4ax.errors import InputError
from n4ax.images.arrays import is_traced
from n4ax.itk.versions import RULES
from n4ax.namespaces import find_namespace
from n4ax.settings import LARGEST, N4Settings

_BLOCK = 1 << 16
"""This many values are looked at at a time, since so many stay in the cache."""


def exclude(samples: Any, included: Any, settings: N4Settings) -> Any:
    """Leave out the samples that the policies for intensities exclude.

    Parameters
    ----------
    samples, included : array
        Intensities of the samples, any real dtype, and which of them count so far, bool.
    settings
        ``nonfinite`` and ``non_positive`` are used.

    Returns
    -------
    array of bool
        Which samples count.

    Raises
    ------
    ValueError
        ``nonfinite`` is ``"error"``, and a sample that counts is not finite in single precision.
    """
    bad = _find_nonfinite(samples)
    if bad is not None:
        if settings.nonfinite == "exclude":
            included = included & ~bad
        elif not (is_traced(bad) or is_traced(included)):
            _refuse_nonfinite(samples, bad & included)
    if settings.non_positive == "exclude":
        included = included & (_to_single(samples) > 0)
    return included


def check_finite(image: Any, inside: Any, weights: Any | None) -> None:
    """Check that all intensities in the mask are finite in single precision, sampled or not.

    Parameters
    ----------
    image, inside : array
        Intensities, any real dtype, and the mask, bool.
    weights : array or None
        Confidence of each voxel; a voxel that is not above 0 is left out.

    Raises
    ------
    ValueError
        An intensity is NaN, infinite, or too large.
    """
    bad = _find_nonfinite(image)
    if bad is not None:
        bad = bad & inside
        _refuse_nonfinite(image, bad if weights is None else bad & (weights > 0))


def find_offset(samples: Any, included: Any) -> Any:
    """Find what raises the least included intensity to 1, if it is not above 0; float32."""
    xp = find_namespace(samples)
    lowest = xp.where(included, _to_single(samples), np.float32(np.inf)).min()
    return xp.where(lowest > 0, np.float32(0), np.float32(1) - lowest)


def check_range(samples: Any, included: Any, settings: N4Settings) -> None:
    """Check that the included intensities differ, and can be raised if that is asked for.

    They need not differ by the rules of ITK 6, which leaves a constant as it is, nor in the
    arithmetic of ITK, which has an answer of its own for it.

    Parameters
    ----------
    samples, included : array
        Intensities of the samples, and which of them count; at least one does.
    settings
        ``tiny``, ``non_positive``, ``arithmetic`` and ``itk_version`` are used.

    Raises
    ------
    ValueError
        The intensities are all the same in single precision, or leave its range when raised.
    """
    least, greatest = _find_ends(samples, included)
    keeps_constants = RULES[settings.itk_version].keeps_constants
    if settings.arithmetic == "limit" and not keeps_constants:
        _refuse_constant(least, greatest, int(included.sum()), settings.tiny)
    if settings.non_positive == "offset" and greatest - min(least, 0.0) > LARGEST:
        raise InputError(
            "{image} reaches from {0:g} to {1:g} in the mask; raised by {2:g} it would leave the "
            "range of single precision: divide {image} by a constant first",
            least,
            greatest,
            1 - least,
        )


def _refuse_constant(least: float, greatest: float, count: int, tiny: float | None) -> None:
    """Refuse intensities that are all the same, or are so once they are raised to ``tiny``."""
    if least == greatest:
        raise InputError(
            "{image} is constant in the mask ({0} voxels of {1:g}, in single precision): there is "
            "no histogram to sharpen; with {itk_version:6} it is left as it is",
            count,
            least,
        )
    if tiny is not None and greatest <= tiny:
        raise InputError(
            "{tiny} is {0} and the largest intensity in the mask is {1:g}: raised to {tiny} they "
            "are all the same; use a smaller {tiny}",
            tiny,
            greatest,
        )


def _find_nonfinite(values: Any) -> Any | None:
    """Find the values that are not finite in single precision; ``None`` if none can be."""
    if values.dtype.kind != "f":
        return None
    if isinstance(values, np.ndarray) and _is_all_finite(values):
        return None
    single = _to_single(values)
    return ~find_namespace(single).isfinite(single)


def _is_all_finite(array: npt.NDArray[Any]) -> bool:
    """Whether it is plain that all values are finite in single precision; one look at memory."""
    flat = array.ravel(order="K")
    if array.dtype in (np.float32, np.float64):
        with np.errstate(all="ignore"):  # a sum of squares is the fastest look there is
            if float(np.dot(flat, flat)) <= LARGEST**2:
                return True
    for first in range(0, flat.size, _BLOCK):
        block = flat[first : first + _BLOCK]
        # NaN, infinity and what is too large would show as the least or the greatest value.
        if not (float(block.min()) >= -LARGEST and float(block.max()) <= LARGEST):
            return False
    return True


def _to_single(values: Any) -> Any:
    with np.errstate(over="ignore", under="ignore"):
        return values.astype(np.float32)


def _refuse_nonfinite(values: Any, bad: Any) -> None:
    """Refuse an image with ``bad`` voxels in the mask, if there are any."""
    count = int(bad.sum())
    if count == 0:
        return
    large = int((bad & find_namespace(values).isfinite(values)).sum())
    if large:
        raise InputError(
            "{image} has {0} voxels in the mask beyond {1:.2g}, the largest number in single "
            "precision, in which N4 and ITK compute; divide {image} by a constant first, or pass "
            '{nonfinite:"exclude"}',
            large,
            LARGEST,
        )
    raise InputError(
        "{image} has {0} NaN or infinite voxels in the mask; leave them out of the mask, or "
        'pass {nonfinite:"exclude"}',
        count,
    )


def _find_ends(samples: Any, included: Any) -> tuple[float, float]:
    """Find the least and the greatest included intensity, as single precision holds them."""
    if isinstance(samples, np.ndarray):
        values = samples[included]
        low, high = _to_single(np.stack([values.min(), values.max()]))
        return float(low), float(high)
    xp = find_namespace(samples)
    single = _to_single(samples)
    low = xp.where(included, single, xp.inf).min()
    return float(low), float(xp.where(included, single, -xp.inf).max())
