"""The mask: from what a user gives to a bool array of the voxels to estimate the field on."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from n4ax.errors import InputError
from n4ax.images.arguments import read_word
from n4ax.images.arrays import (
    check_real,
    has_values,
    import_array,
    is_lazy,
    is_masked,
    is_traced,
    namespace_of,
)
from n4ax.images.libraries import open_image
from n4ax.images.otsu import find_foreground, otsu_threshold

_FRACTION = 1e-3
"""How far a value of a mask may lie from 0 or 1 by the rounding of a file's scaling."""


def is_otsu(mask: Any) -> bool:
    """Whether the mask is to be found by Otsu's threshold: ``"otsu"``, or no mask at all."""
    return mask is None or (isinstance(mask, str) and mask == "otsu")


def find_mask(image: Any, mask: Any, label: int | None) -> Any:
    """Find the voxels that the field is to be estimated on.

    Parameters
    ----------
    image : array
        Intensities, any real dtype.
    mask : array, "otsu", "all" or None
        An array of the image's shape, or a :data:`MaskWord`. ``None`` is ``"otsu"``.
    label
        The one value of the array that is inside; ``None`` for every value but 0.

    Returns
    -------
    array of bool
        An array of the image's shape and library.

    Raises
    ------
    ValueError
        The mask is an unknown word, does not fit the image, or has no voxel inside.
    """
    if mask is None or isinstance(mask, str):
        return _find_by_word(image, mask, label)
    if mask.shape != image.shape:
        raise InputError("{mask} has shape {0} and {image} has shape {1}", mask.shape, image.shape)
    check_real("mask", mask.dtype)
    inside = is_inside(mask, label)
    if has_values(mask):
        _check_values(mask, inside, label)
    return inside


def _find_by_word(image: Any, word: str | None, label: int | None) -> Any:
    if label is not None:
        raise InputError(
            "{mask_label} is {0}, which chooses a value of a mask, and {mask} is {1!r}: pass an "
            "array as the mask, or no {mask_label}",
            label,
            word,
        )
    if is_otsu(word):
        inside = find_foreground(_take_as_single(image)).astype(bool)
        if not is_traced(inside) and not inside.any():
            raise InputError("{image} has no voxel above its Otsu threshold: pass a mask")
        return inside
    if word is None or read_word(word) != "all":
        raise InputError('{mask} is {0!r}; expected an array, "otsu" or "all"', word)
    return namespace_of(image).ones_like(image, dtype=bool)


def threshold_samples(image: Any, samples: Any) -> tuple[Any, Any]:
    """Find the Otsu mask of a dask image from its samples alone, since it is too large to be read.

    Parameters
    ----------
    image, samples : array
        The image, and the part of it that the field is estimated on.

    Returns
    -------
    tuple of arrays of bool
        The masks of the image, which is not computed yet, and of the samples.
    """
    threshold = otsu_threshold(_take_as_single(samples))
    return image > threshold, samples > threshold


def _take_as_single(image: Any) -> Any:
    """The intensities as N4 takes them, so that its own mask does not depend on how they are kept.

    ITK's histogram for Otsu's threshold spans the type of 8-bit images, and the data of others.
    """
    return image.astype(np.float32) if image.dtype in (np.int8, np.uint8) else image


def is_lazy_otsu(image: Any, mask: Any) -> bool:
    """Whether the mask must be found from the samples: see :func:`threshold_samples`."""
    return is_lazy(image) and is_otsu(mask)


def is_inside(mask: Any, label: int | None) -> Any:
    """Whether each value of a mask is inside: equal to the label, or not 0 if there is none."""
    if label is None:
        return mask != 0
    with np.errstate(over="ignore"):  # no value of a small type is equal to a large label
        return mask == label


def _check_values(mask: Any, inside: Any, label: int | None) -> None:
    if mask.dtype.kind == "f" and (mask != mask).any():
        raise InputError("{mask} has NaN values; expected numbers, 0 where a voxel is outside")
    if label is None and mask.dtype.kind == "f":
        _check_for_fractions(mask)
    if not inside.any():
        labels = ", ".join(f"{value:g}" for value in np.unique(np.asarray(mask))[:8])
        wanted = "other than 0" if label is None else "equal to {mask_label:{0}}"
        raise InputError(f"{{mask}} has no voxel {wanted} (values found: {{1}})", label, labels)


def _check_for_fractions(mask: Any) -> None:
    fraction = find_fraction(mask)
    if fraction is not None:
        raise InputError(
            "{mask} has values between 0 and 1, such as {0:.3g}, as a map of probabilities has; "
            "expected 0 outside and 1 inside: cut it at a threshold first, such as mask > 0.5, or "
            "mask > 0 for every voxel that is not 0",
            fraction,
        )


def find_fraction(mask: Any) -> float | None:
    """A value of a mask that lies between 0 and 1; ``None`` if there is none."""
    if mask.dtype.kind != "f":
        return None
    between = (mask > _FRACTION) & (mask < 1 - _FRACTION)
    return float(np.asarray(mask)[np.asarray(between)][0]) if between.any() else None


def leave_out_masked(image: Any, mask: Any, label: int | None) -> Any:
    """Leave out what ``numpy.ma`` has masked, in the image or in the mask, since it has no value.

    Parameters
    ----------
    image
        An array of any library; only a masked array of NumPy changes the mask.
    mask
        As for :func:`find_mask`.
    label
        The one value of the mask that is inside, if there is one.

    Returns
    -------
    like ``mask``
        The mask, with a value that is outside wherever the image or the mask is masked.

    Raises
    ------
    ValueError
        Every voxel of the image is masked.
    """
    outside = 1 if label == 0 else 0
    if is_masked(mask):
        mask = mask.filled(outside)
    if not is_masked(image):
        return mask
    valid = ~np.ma.getmaskarray(image)
    if not valid.any():
        raise InputError("{image} is a masked array in which every voxel is masked")
    if is_otsu(mask):
        return (image.data > otsu_threshold(image.compressed())) & valid if label is None else mask
    if isinstance(mask, str):
        return valid if read_word(mask) == "all" and label is None else mask
    values = np.asarray(import_array(open_image(mask, "mask").voxels))
    return np.where(valid, values, outside) if values.shape == valid.shape else mask


def find_box(mask: npt.NDArray[np.bool_]) -> tuple[slice, ...]:
    """The smallest box that has all voxels of a mask; an empty one if there is none."""
    box = {}
    order = sorted(range(mask.ndim), key=lambda axis: -abs(mask.strides[axis]))
    rest: npt.NDArray[np.bool_] = mask.transpose(order)  # as it lies in memory
    for axis in order:
        there = np.flatnonzero(rest.reshape(len(rest), -1).any(axis=1))
        box[axis] = slice(int(there[0]), int(there[-1]) + 1) if there.size else slice(0, 0)
        rest = np.asarray(rest.any(axis=0))
    return tuple(box[axis] for axis in range(mask.ndim))


def measure_box(box: Sequence[slice], voxel_sizes: Sequence[float], shape: tuple[int, ...]) -> Any:
    """The length of a box in an image of a shape, along each axis longer than 1."""
    return [
        (part.stop - part.start) * size
        for part, size, n in zip(box, voxel_sizes, shape, strict=True)
        if n > 1
    ]
