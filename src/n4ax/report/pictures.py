"""The three pictures of a scan: before, after and the field, in planes through the mask."""

import base64
import io
from functools import cache
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
from PIL import Image

from n4ax.images.planes import (
    Plane,
    find_grey_window,
    find_planes,
    turn_upright,
)
from n4ax.report.volumes import Volumes

_HEIGHT, _WIDTH = 300, 375
"""The largest size of a plane, in pixels."""
_ENLARGED = 5.0
"""The most pixels per voxel, so that small images are not blown up to a blur."""
_GAP = 6
"""Pixels around the widest and the highest plane in their cells."""
_DIMMED = 0.35
"""Brightness of the field outside the mask, where it is extrapolated."""
_BLUE_TO_RED = (
    "053061", "2166ac", "4393c3", "92c5de", "d1e5f0", "f7f7f7",
    "fddbc7", "f4a582", "d6604d", "b2182b", "67001f",
)  # fmt: skip
"""ColorBrewer's scheme RdBu of Cynthia Brewer, from its end: evenly spaced colours."""


class _View(NamedTuple):
    """A plane of a volume, and the pixels that it gets."""

    plane: Plane
    size: tuple[int, int]
    """Width and height, in pixels."""


def draw(volumes: Volumes, affine: npt.NDArray[np.float64]) -> dict[str, bytes]:
    """Draw the pictures ``before``, ``after`` and ``field``.

    Each picture has the axial, the coronal and the sagittal plane through the middle of the mask
    side by side, in cells of one size and at one scale in mm; a 2-D image has one cell. Black and
    white are set separately for each image, as in :func:`n4ax.figure.draw_figure`. The field is
    shown relative to its geometric mean, and darker outside the mask. Its colours are those of
    :func:`make_field_colours`, and run over the ``FieldWindow`` of
    :func:`n4ax.report.measures.measure`.

    Parameters
    ----------
    volumes : Volumes
        Arrays with 2 or 3 axes; any further axes have length 1. Voxels that are not finite are
        black. If the mask is empty, the planes go through the middle of the volume.
    affine : array, shape (4, 4)
        Maps voxel indices to mm; the planes are turned upright by it.

    Returns
    -------
    dict
        The content of a WebP file, by the name of the picture.
    """
    sample = volumes.sample
    first, log_bias, last = (
        _turn_upright(volume, affine)[0]
        for volume in (volumes.before, volumes.log_bias, volumes.after)
    )
    mask, voxel_sizes = _turn_upright(volumes.mask.view(np.uint8), affine)
    views = _find_views(mask if len(sample.log_bias) else np.ones_like(mask), voxel_sizes)
    before = _draw_cells(first, views, find_grey_window(sample.before))
    after = _draw_cells(last, views, find_grey_window(sample.after))
    shade = _draw_cells(mask, views, (-_DIMMED / (1 - _DIMMED), 1.0))
    mean, swing = volumes.field_window
    field = _colour(_draw_cells(log_bias, views, (mean - swing, mean + swing)), shade)
    pictures = {"before": before, "after": after, "field": field}
    return {name: encode_webp(Image.fromarray(shown)) for name, shown in pictures.items()}


def encode_webp(picture: Image.Image, quality: int = 84) -> bytes:
    """The content of a WebP file with this picture."""
    content = io.BytesIO()
    picture.save(content, "WEBP", quality=quality, method=2)
    return content.getvalue()


def make_data_uri(webp: bytes) -> str:
    """A WebP file as a data URI, so that a page can hold it."""
    return "data:image/webp;base64," + base64.b64encode(webp).decode("ascii")


@cache
def make_field_colours() -> npt.NDArray[np.uint8]:
    """The 256 colours of a field, from low to high, with shape (256, 3)."""
    known = np.array([list(bytes.fromhex(colour)) for colour in _BLUE_TO_RED])
    at = np.linspace(0, len(known) - 1, 256)
    channels = [np.interp(at, np.arange(len(known)), channel) for channel in known.T]
    return np.stack(channels, -1).round().astype(np.uint8)


def _turn_upright(
    image: npt.NDArray[Any], affine: npt.NDArray[np.float64]
) -> tuple[npt.NDArray[Any], tuple[float, ...]]:
    """The image as an upright volume with three axes, and its voxel sizes in mm."""
    dtype = np.uint8 if image.dtype == np.uint8 else np.float32
    volume = image.reshape((*image.shape, 1, 1)[:3])
    return turn_upright(volume.astype(dtype, copy=False), affine)


def _find_views(mask: npt.NDArray[Any], voxel_sizes: tuple[float, ...]) -> list[_View]:
    planes = find_planes(mask)
    sizes = [plane.measure(voxel_sizes, mask.shape) for plane in planes]
    widest, highest = np.max(sizes, axis=0)
    scale = min(_WIDTH / widest, _HEIGHT / highest, _ENLARGED / min(voxel_sizes))
    return [
        _View(plane, (_to_pixels(width * scale), _to_pixels(height * scale)))
        for plane, (width, height) in zip(planes, sizes, strict=True)
    ]


def _to_pixels(length: float) -> int:
    return max(round(length), 1)


def _draw_cells(
    volume: npt.NDArray[Any], views: list[_View], window: tuple[float, float]
) -> npt.NDArray[np.uint8]:
    """The planes in black cells side by side; the ends of the window become 0 and 255."""
    widths, heights = zip(*(view.size for view in views), strict=True)
    width, height = max(widths) + 2 * _GAP, max(heights) + 2 * _GAP
    picture = np.zeros((height, width * len(views)), np.uint8)
    for cell, view in enumerate(views):
        shades = _to_bytes(view.plane.cut(volume).astype(np.float64), window)
        across, up = view.size
        left, top = cell * width + (width - across) // 2, (height - up) // 2
        drawn = Image.fromarray(shades).resize(view.size, Image.Resampling.BICUBIC)
        picture[top : top + up, left : left + across] = np.asarray(drawn)
    return picture


def _to_bytes(plane: npt.NDArray[np.float64], window: tuple[float, float]) -> npt.NDArray[np.uint8]:
    low, high = window
    shades = np.nan_to_num((plane - low) / (high - low), nan=0, posinf=0, neginf=0)
    return (np.clip(shades, 0, 1) * 255).round().astype(np.uint8)


def _colour(levels: npt.NDArray[np.uint8], shade: npt.NDArray[np.uint8]) -> npt.NDArray[np.uint8]:
    """The levels in the colours of a field, darkened by the shade (255 keeps a colour)."""
    bright = make_field_colours()[levels].astype(np.uint16)
    return (bright * shade[..., None] // 255).astype(np.uint8)
