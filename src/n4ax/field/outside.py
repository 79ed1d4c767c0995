"""What happens to an image outside its mask."""

from typing import Any

import numpy as np

from n4ax.errors import InputError
from n4ax.images.arrays import check_real, import_array, namespace_of
from n4ax.settings import Outside, is_choice


def fill_outside(corrected: Any, volume: Any, mask: Any, outside: Outside) -> Any:
    """Fill the corrected image outside the mask: divided as it is, kept as it was, or 0.

    The memory of a NumPy array takes the result.
    """
    if outside == "divide":
        return corrected
    if isinstance(corrected, np.ndarray):
        other = np.asarray(volume) if outside == "keep" else np.float32(0)
        np.copyto(corrected, other, where=~np.asarray(mask))
        return corrected
    other = volume.astype(corrected.dtype) if outside == "keep" else np.float32(0)
    return namespace_of(corrected).where(mask, corrected, other)


def find_inside(mask: Any, volume: Any, axis: int | None) -> Any:
    """Make a bool array of a mask, which may have the shape of one volume of a series."""
    if mask is None:
        return None
    if isinstance(mask, str):
        raise InputError("{mask} is {0!r}; expected an array or an image", mask)
    values = import_array(mask)
    check_real("mask", values.dtype)
    inside = values != 0
    expected = volume.shape if axis is None else (*volume.shape[:axis], *volume.shape[axis + 1 :])
    if inside.shape not in (volume.shape, expected):
        raise InputError(
            "{mask} has shape {0} and {image} has shape {1}", inside.shape, volume.shape
        )
    if axis is None or inside.shape == volume.shape:
        return inside
    return inside.reshape(*expected[:axis], 1, *expected[axis:])


def check_outside(outside: str, mask: Any) -> None:
    """Check what is to happen outside a mask, and that there is one if it is needed."""
    if not is_choice(outside, ("divide", "keep", "zero")):
        raise InputError("{outside} is {0!r}; expected 'divide', 'keep' or 'zero'", outside)
    if outside != "divide" and mask is None:
        raise InputError("{outside} is {0!r} and no mask is given: pass mask", outside)
