"""Planes of a volume in a grid of cells: where each lies in a picture, and its grey levels."""

from collections.abc import Sequence
from typing import Any, NamedTuple, Self

import numpy as np
import numpy.typing as npt
from PIL import Image

from n4ax.images.planes import Plane

_ENLARGED = 5.0
"""The most pixels per voxel, so that small images are not blown up to a blur."""


class Format(NamedTuple):
    """How large the planes of a sheet are, and how they are arranged."""

    width: int
    """The most pixels across a plane."""
    height: int
    """The most pixels from its bottom to its top."""
    columns: int
    """The most planes side by side."""
    gap: int = 0
    """Pixels around the widest and the highest plane in their cells."""


class View(NamedTuple):
    """A plane, and the pixels that it gets."""

    plane: Plane
    size: tuple[int, int]
    """Width and height, in pixels."""
    left: int
    top: int


class Sheet(NamedTuple):
    """Planes in black cells of one size, at one scale in mm."""

    views: list[View]
    width: int
    height: int

    @classmethod
    def arrange(
        cls,
        planes: Sequence[Plane],
        shape: tuple[int, ...],
        voxel_sizes: tuple[float, ...],
        form: Format,
    ) -> Self:
        """Arrange planes of an upright volume, row by row.

        Parameters
        ----------
        planes : sequence of Plane
            The planes; at least one.
        shape, voxel_sizes : tuple
            Shape of the volume, and its voxel sizes in mm.
        form : Format
            The largest size of a plane, and the number of columns.
        """
        sizes = [plane.measure(voxel_sizes, shape) for plane in planes]
        widest, highest = np.max(sizes, axis=0)
        scale = min(form.width / widest, form.height / highest, _ENLARGED / min(voxel_sizes))
        pixels = [
            (_to_pixels(width * scale), _to_pixels(height * scale)) for width, height in sizes
        ]
        across, up = (length + 2 * form.gap for length in np.max(pixels, axis=0).tolist())
        columns = min(form.columns, len(planes))
        views = [
            View(
                plane,
                size,
                number % columns * across + (across - size[0]) // 2,
                number // columns * up + (up - size[1]) // 2,
            )
            for number, (plane, size) in enumerate(zip(planes, pixels, strict=True))
        ]
        return cls(views, columns * across, -(-len(planes) // columns) * up)

    def draw(self, volume: npt.NDArray[Any], window: tuple[float, float]) -> npt.NDArray[np.uint8]:
        """The planes of an upright volume; the ends of the window become 0 and 255."""
        picture = np.zeros((self.height, self.width), np.uint8)
        for view in self.views:
            across, up = view.size
            shades = _resize(_to_bytes(view.plane.cut(volume), window), view.size)
            picture[view.top : view.top + up, view.left : view.left + across] = shades
        return picture


def _to_pixels(length: float) -> int:
    return max(round(length), 1)


def _to_bytes(plane: npt.NDArray[Any], window: tuple[float, float]) -> npt.NDArray[np.uint8]:
    low, high = window
    with np.errstate(over="ignore", invalid="ignore"):
        shades = (plane - np.float32(low)) * np.float32(255 / (high - low))
    shades[~np.isfinite(shades)] = 0
    return (np.clip(shades, 0, 255, out=shades) + np.float32(0.5)).astype(np.uint8)


def _resize(shades: npt.NDArray[np.uint8], size: tuple[int, int]) -> npt.NDArray[np.uint8]:
    """Resize a plane to a width and a height; pillow reads it along its memory, which is fast."""
    if not shades.flags.c_contiguous and shades.flags.f_contiguous:
        return _resize(shades.T, (size[1], size[0])).T
    enlarged = size[0] > shades.shape[1]
    kind = Image.Resampling.BICUBIC if enlarged else Image.Resampling.BILINEAR
    return np.asarray(Image.fromarray(shades).resize(size, kind))
