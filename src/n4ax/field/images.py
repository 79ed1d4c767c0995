"""A field divided out of images of any library, and out of every volume of a series."""

from collections.abc import Sequence
from typing import Any, Protocol

from n4ax.engines.choice import check_threads
from n4ax.errors import InputError
from n4ax.field.outside import check_outside, fill_outside, find_inside
from n4ax.images.arguments import take_image, take_mask
from n4ax.images.arrays import check_real, import_array
from n4ax.images.libraries import OpenedInputs, is_reversed, make_like, open_together
from n4ax.images.volumes import find_volume_axis, get_shape, stack_volumes
from n4ax.method.grid import Axis
from n4ax.settings import Outside, VoxelOrder


class Divisor(Protocol):
    """What is needed of :class:`n4ax.BiasField`."""

    @property
    def shape(self) -> tuple[int, ...]:
        """Shape of the field's image."""
        ...

    @property
    def axes(self) -> Sequence[Axis]:
        """The axes of that image that are longer than 1."""
        ...

    @property
    def voxel_order(self) -> VoxelOrder:
        """The order of its axes."""
        ...

    @property
    def axes_known(self) -> bool:
        """Whether it said so itself."""
        ...

    def divide(self, volume: Any, *, num_threads: int | None = None) -> Any:
        """Divide an array by the field."""
        ...


def divide_image(
    field: Divisor, image: Any, mask: Any, outside: Outside, num_threads: int | None
) -> Any:
    """Divide an image by a field; the parameters and errors are those of ``BiasField.apply``."""
    num_threads = check_threads(num_threads)
    image, mask = take_image("image", image), take_mask(mask)
    opened = open_together(image, mask, None)
    volume = import_array(opened.arrays[0])
    check_real("image", volume.dtype)
    axis = _find_axis(field, image)
    if axis is not None and volume.shape[axis] == 0:
        raise InputError("{image} is a series of 0 volumes; give at least one")
    inside = find_inside(opened.arrays[1], volume, axis)
    check_outside(outside, inside)
    turned = has_turned_axes(field, image, opened, axis)
    corrected = _divide_each(field, volume, axis, turned, num_threads)
    return make_like(image, fill_outside(corrected, volume, inside, outside))


def has_turned_axes(
    field: Divisor, image: Any, opened: OpenedInputs, axis: int | None = None
) -> bool:
    """Whether the axes of an image are known to run the other way than those of a field.

    ``axis`` is that of the volumes if the image is a series.
    """
    plain_shape = None
    if not field.axes_known:
        plain_shape = field.shape
        if axis is not None:
            volumes = get_shape(opened.arrays[0])[axis]
            plain_shape = (*field.shape[:axis], volumes, *field.shape[axis:])
    return is_reversed(image, opened, field.voxel_order, plain_shape)


def _find_axis(field: Divisor, image: Any) -> int | None:
    """Find the axis of the volumes of a series: the image has more axes than the field."""
    longer = sum(n != 1 for n in get_shape(image))
    if longer <= len(field.axes):
        return None
    return find_volume_axis(image, field.voxel_order, asked=True)


def _divide_each(
    field: Divisor, series: Any, axis: int | None, turned: bool, num_threads: int | None
) -> Any:
    """Divide a volume, or every volume of a series; ``turned`` if its axes are reversed."""
    if axis is None:
        if turned:
            return field.divide(series.T, num_threads=num_threads).T
        return field.divide(series, num_threads=num_threads)
    volumes = (series[(slice(None),) * axis + (t,)] for t in range(series.shape[axis]))
    divided = [_divide_each(field, one, None, turned, num_threads) for one in volumes]
    return stack_volumes(divided, axis)
