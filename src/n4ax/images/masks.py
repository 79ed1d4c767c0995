"""The mask: from what a user gives to a bool array of the voxels to estimate the field on."""

from typing import Any, Literal

import numpy as np

from n4ax.errors import InputError
from n4ax.images.arrays import check_real, has_values, is_lazy, is_traced, namespace_of
from n4ax.images.otsu import find_foreground, otsu_threshold

MaskWord = Literal["otsu", "all"]
"""``"otsu"``: the voxels above Otsu's threshold. ``"all"``: the whole image."""

_WORDS: dict[str, MaskWord] = {"otsu": "otsu", "all": "all", "none": "all"}
"""``none`` is what the command line called the whole image at first."""


def read_word(text: str) -> MaskWord | None:
    """Find the word for a mask that a text stands for; ``None`` if it is something else."""
    return _WORDS.get(text)


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
    if is_otsu(mask):
        inside = find_foreground(image).astype(bool)
        if not is_traced(inside) and not inside.any():
            raise InputError("{image} has no voxel above its Otsu threshold: pass a mask")
        return inside
    if isinstance(mask, str):
        if mask != "all":
            raise InputError('{mask} is {0!r}; expected an array, "otsu" or "all"', mask)
        return namespace_of(image).ones_like(image, dtype=bool)
    if mask.shape != image.shape:
        raise InputError("{mask} has shape {0} and {image} has shape {1}", mask.shape, image.shape)
    check_real("mask", mask.dtype)
    inside = is_inside(mask, label)
    if has_values(mask):
        _check_values(mask, inside, label)
    return inside


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
    threshold = otsu_threshold(samples)
    return image > threshold, samples > threshold


def is_lazy_otsu(image: Any, mask: Any) -> bool:
    """Whether the mask must be found from the samples: see :func:`threshold_samples`."""
    return is_lazy(image) and is_otsu(mask)


def is_inside(mask: Any, label: int | None) -> Any:
    """Whether each value of a mask is inside: equal to the label, or not 0 if there is none."""
    return mask != 0 if label is None else mask == label


def _check_values(mask: Any, inside: Any, label: int | None) -> None:
    if mask.dtype.kind == "f" and (mask != mask).any():
        raise InputError("{mask} has NaN values; expected numbers, 0 where a voxel is outside")
    if not inside.any():
        labels = ", ".join(f"{value:g}" for value in np.unique(np.asarray(mask))[:8])
        wanted = "other than 0" if label is None else "equal to {mask_label:{0}}"
        raise InputError(f"{{mask}} has no voxel {wanted} (values found: {{1}})", label, labels)
