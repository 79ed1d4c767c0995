"""The axes of a user's image, and the one way from them to ITK's order and back.

Outside, an image has the axes that its library gives it: ITK's x may be the first axis (NIfTI) or
the last (arrays that SimpleITK makes), and some axes may have length 1. Inside, an array has no
axis of length 1, and its last axis is ITK's x, along which ITK walks fastest.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Self, TypeVar

from n4ax.errors import InputError
from n4ax.settings import PerAxis, VoxelOrder

T = TypeVar("T")


@dataclass(frozen=True)
class ImageAxes:
    """How the axes of an image run outside.

    Attributes
    ----------
    shape
        Shape of the image, axes of length 1 included.
    order
        ``"C"`` if the last axis is ITK's x, ``"F"`` if the first axis is.
    kept
        Numbers of the axes that the estimation works along: those longer than 1.
    """

    shape: tuple[int, ...]
    order: VoxelOrder
    kept: tuple[int, ...]

    @classmethod
    def of(cls, shape: tuple[int, ...], order: VoxelOrder) -> Self:
        """Describe an image of a shape; its axes of length 1 are not kept."""
        return cls(tuple(shape), order, tuple(axis for axis, n in enumerate(shape) if n != 1))

    @property
    def lengths(self) -> tuple[int, ...]:
        """Voxels along each axis that is kept, in the image's own order."""
        return tuple(self.shape[axis] for axis in self.kept)

    def turn(self, values: Sequence[T]) -> tuple[T, ...]:
        """Turn values of the kept axes from the image's own order to ITK's, or back."""
        return tuple(values) if self.order == "C" else tuple(values[::-1])

    def turn_array(self, array: Any) -> Any:
        """Turn an array that has the kept axes from the image's own order to ITK's, or back."""
        return array if self.order == "C" else array.T

    def squeeze(self, array: Any) -> Any:
        """Drop the axes of length 1 of an array of the image's shape."""
        return array.reshape(self.lengths)

    def to_itk(self, array: Any) -> Any:
        """Bring an array of the image's shape into ITK's order, without a copy if possible."""
        return self.turn_array(self.squeeze(array))

    def from_itk(self, array: Any) -> Any:
        """Bring an array in ITK's order into the image's own order and shape."""
        return self.turn_array(array).reshape(self.shape)

    def sample(self, array: Any, voxels: Sequence[slice]) -> Any:
        """Take some voxels of an array of the image's shape, in ITK's order.

        Parameters
        ----------
        array
            Array of the image's shape.
        voxels
            The voxels to take along each kept axis, in ITK's order.
        """
        # Taken before the axes are turned: JAX copies an array to turn it.
        return self.turn_array(self.squeeze(array)[self.turn(voxels)])

    def per_axis(self, name: str, value: PerAxis) -> tuple[int, ...]:
        """Give a parameter a value for each kept axis, in ITK's order.

        Parameters
        ----------
        name
            The parameter's name, for the message.
        value
            One value for all axes, or one for each axis in the image's own order, with or without
            those of length 1.

        Raises
        ------
        ValueError
            ``value`` has another number of values.
        """
        if isinstance(value, int):
            return (value,) * len(self.kept)
        if len(value) == len(self.shape):
            return self.turn([value[axis] for axis in self.kept])
        if len(value) != len(self.kept):
            raise InputError(
                f"{{{name}}} has {{0}} values, {{1}}; the image has {{2}} axes, {{3}} of them "
                "longer than 1: give one value, or one for each axis",
                len(value),
                tuple(value),
                len(self.shape),
                len(self.kept),
            )
        return self.turn(value)

    def number_outside(self, axis: int) -> int:
        """Give the number that an axis in ITK's order has among the image's own kept axes."""
        return axis if self.order == "C" else len(self.kept) - 1 - axis
