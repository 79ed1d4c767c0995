"""The volumes of a series: which axis they lie along, one of them, and all of them again.

A series has axes beyond the three of space. They are the last ones where the first axis is ITK's x
(images, arrays from nibabel), and the first ones where the last axis is.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from n4ax.errors import InputError
from n4ax.images.arrays import check_real, import_array, is_jax, is_lazy, namespace_of
from n4ax.images.libraries import find_order, make_like, open_image
from n4ax.settings import VoxelOrder

SPATIAL = 3


def find_volume_axis(image: Any, plain: VoxelOrder, asked: bool = False) -> int | None:
    """Find the axis along which the volumes of a series lie.

    Parameters
    ----------
    image
        An image or array of any library.
    plain
        Which axis of a plain array is ITK's x.
    asked
        Whether the image is said to be a series, perhaps of a single volume. Otherwise a plain
        array counts as one only if it has more than three axes longer than 1, since an axis of
        length 1 may be anywhere in it.

    Returns
    -------
    int or None
        The number of the axis; ``None`` if the image is a single volume.

    Raises
    ------
    ValueError
        More than one axis beyond the three of space is longer than 1.
    """
    shape, known = get_shape(image), find_order(image)
    if known is None and not asked and sum(n != 1 for n in shape) <= SPATIAL:
        return None
    order = known or plain
    beyond = range(SPATIAL, len(shape)) if order == "F" else range(len(shape) - SPATIAL)
    longer = [axis for axis in beyond if shape[axis] != 1]
    if len(longer) > 1:
        raise InputError(
            "{image} has shape {0}, with {1} axes beyond the three of space; expected one at most",
            shape,
            len(longer),
        )
    if longer or not asked:
        return longer[0] if longer else None
    return beyond[0] if beyond else None


def get_shape(image: Any) -> tuple[int, ...]:
    """The shape of an image, in the order in which its library has the axes."""
    if hasattr(image, "GetSize"):
        return tuple(image.GetSize())
    return tuple(image.shape if hasattr(image, "shape") else np.shape(image))


def load_series(series: Any) -> Any:
    """Make a series ready to be taken apart.

    An image of nibabel whose voxels are still in a file is read in one go. A zarr array becomes a
    dask array, whose parts are not read yet.
    """
    if hasattr(series, "dataobj"):
        in_memory = isinstance(series.dataobj, np.ndarray)
        return series if in_memory else fill(series, open_image(series).voxels)
    voxels = None if hasattr(series, "dims") else open_image(series).voxels
    return voxels if is_lazy(voxels) else series


def fill(image: Any, voxels: Any) -> Any:
    """Make an image with other voxels, which n4ax places where it places the image."""
    filled = make_like(image, voxels)
    if hasattr(image, "dataobj"):
        filled.extra.update(image.extra)
    return filled


def take_volume(series: Any, axis: int, number: int) -> Any:
    """Take one volume of a series, as an image of the same library without that axis."""
    where = (*(slice(None),) * axis, number)
    rest = (slice(None),) * (len(get_shape(series)) - axis - 1)
    if hasattr(series, "dataobj"):
        volume = series.slicer[where + rest]
        volume.extra.update(series.extra)  # where the place of the file is kept
        return volume
    if hasattr(series, "dims"):
        return series.isel({series.dims[axis]: number})
    if hasattr(series, "new_image_like"):
        return _take_from_ants(series, axis, number)
    if not hasattr(series, "shape") and not hasattr(series, "GetSize"):
        series = import_array(series)
    return series[where + rest]


def average_volumes(series: Any, axis: int, numbers: Sequence[int] | None) -> Any:
    """The mean of all volumes of a series, or of some, computed in float64, as a float32 array."""
    voxels = import_array(open_image(series).voxels)
    check_real("image", voxels.dtype)
    xp = namespace_of(voxels)
    if numbers is not None:
        voxels = xp.take(voxels, np.array(numbers), axis=axis)
    if is_jax(voxels):
        import jax

        with jax.enable_x64(True):
            return voxels.mean(axis=axis, dtype=np.float64).astype(np.float32)
    return voxels.mean(axis=axis, dtype=np.float64).astype(np.float32)


def stack_volumes(volumes: Sequence[Any], axis: int) -> Any:
    """Stack volumes, which are NumPy, JAX or dask arrays, along an axis."""
    first = volumes[0]
    if is_lazy(first) or is_jax(first):
        return namespace_of(first).stack(volumes, axis=axis)
    return _stack_on_host(volumes, axis)


def _stack_on_host(volumes: Sequence[Any], axis: int) -> npt.NDArray[Any]:
    """Stack NumPy arrays, so that every volume lies in one piece."""
    first = np.asarray(volumes[0])
    shape = (*first.shape[:axis], len(volumes), *first.shape[axis:])
    stacked = np.empty(shape, first.dtype, order="C" if axis == 0 else "F")
    for number, volume in enumerate(volumes):
        stacked[(slice(None),) * axis + (number,)] = np.asarray(volume)
    return stacked


def _take_from_ants(series: Any, axis: int, number: int) -> Any:
    import ants

    return ants.slice_image(series, axis=axis, idx=number)
