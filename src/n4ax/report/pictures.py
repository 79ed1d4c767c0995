"""The three pictures of a scan: before, after and the field, in planes through the mask."""

import io
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

import matplotlib
import numpy as np
import numpy.typing as npt
from PIL import Image

from n4ax.files import replace_file
from n4ax.images.planes import field_swing, grey_window, is_plane, middle_plane, upright
from n4ax.report.measures import sampled

_HEIGHT, _WIDTH = 300, 375
"""Pixels of a plane at most."""
_ENLARGED = 5.0
"""Pixels per voxel at most: small images are not blown up to a blur."""
_GAP = 6
"""Pixels around the widest and the highest plane in their cells."""
_DIMMED = 0.35
"""Brightness of the field outside the mask, where it is extrapolated."""


class _View(NamedTuple):
    """A plane of a volume, and the pixels it gets."""

    axis: int
    place: int
    """Index along the axis."""
    size: tuple[int, int]
    """Width and height."""


def draw(
    folder: Path,
    stem: str,
    before: npt.NDArray[Any],
    log_bias: npt.NDArray[Any],
    after: npt.NDArray[Any],
    inside: npt.NDArray[np.bool_],
    affine: npt.NDArray[np.float64],
) -> list[Path]:
    """Draw ``{stem}_before.webp``, ``{stem}_after.webp`` and ``{stem}_field.webp``.

    Each has the axial, the coronal and the sagittal plane through the middle of the mask beside
    each other, in cells of one size and at one scale in mm; a 2-D image has one cell. Black and
    white are set for each image by itself, as in :func:`n4ax.figure.save_figure`. The field is
    shown relative to its geometric mean, in the colours of :func:`field_colours` from one end of
    the ``FieldWindow`` of :func:`n4ax.report.measures.measure` to the other, and darker outside
    the mask.

    Parameters
    ----------
    folder
        Where to write them; it exists.
    stem
        Beginning of their names. Each appears whole or not at all.
    before, log_bias, after
        Arrays of one shape, 2 or 3 axes; further ones have length 1. Voxels that are not finite
        are black.
    inside
        The mask; where it is empty the planes go through the middle of the volume.
    affine
        Voxel indices to mm, to turn the planes upright.

    Returns
    -------
    list of Path
        The three files.

    Raises
    ------
    OSError
        The folder cannot be written to, or the disk is full.
    """
    positions = sampled(inside)
    volumes = [_upright(volume, affine)[0] for volume in (before, log_bias, after)]
    mask, sizes = _upright(inside.view(np.uint8), affine)
    views = _views(mask if len(positions[0]) else np.ones_like(mask), sizes)
    first, last = (
        _mosaic(volume, views, _grey_levels(image[positions]))
        for volume, image in ((volumes[0], before), (volumes[2], after))
    )
    shade = _mosaic(mask, views, (-_DIMMED / (1 - _DIMMED), 1.0))
    field = _coloured(_mosaic(volumes[1], views, _field_levels(log_bias[positions])), shade)
    paths = []
    for name, picture in (("before", first), ("after", last), ("field", field)):
        paths.append(folder / f"{stem}_{name}.webp")
        with replace_file(paths[-1]) as temporary:
            temporary.write_bytes(webp(Image.fromarray(picture)))
    return paths


def webp(picture: Image.Image, quality: int = 84) -> bytes:
    """A picture as the content of a WebP file."""
    content = io.BytesIO()
    picture.save(content, "WEBP", quality=quality, method=2)
    return content.getvalue()


def plane_count(shape: tuple[int, ...]) -> int:
    """How many cells the pictures of an image of this shape have beside each other."""
    return 3 if sum(n > 1 for n in shape[:3]) == 3 else 1


@cache
def field_colours() -> npt.NDArray[np.uint8]:
    """The 256 colours of a field, shape (256, 3), from low to high."""
    return (matplotlib.colormaps["RdBu_r"](np.arange(256))[:, :3] * 255).round().astype(np.uint8)


def _upright(
    image: npt.NDArray[Any], affine: npt.NDArray[np.float64]
) -> tuple[npt.NDArray[Any], tuple[float, ...]]:
    """A view of the image with three axes, right, anterior and superior, and its voxel sizes."""
    dtype = np.uint8 if image.dtype == np.uint8 else np.float32
    volume = image.reshape((*image.shape, 1, 1)[:3])
    return upright(volume.astype(dtype, copy=False), affine)


def _views(mask: npt.NDArray[Any], sizes: tuple[float, ...]) -> list[_View]:
    extents = [n * size for n, size in zip(mask.shape, sizes, strict=True)]
    axes = [axis for axis in (2, 1, 0) if is_plane(mask.shape, axis)] or [2]
    planes = {axis: np.delete(extents, axis) for axis in axes}
    widest, highest = np.max(list(planes.values()), axis=0)
    scale = min(_WIDTH / widest, _HEIGHT / highest, _ENLARGED / min(sizes))
    return [
        _View(*middle_plane(mask, axis), (_pixels(width * scale), _pixels(height * scale)))
        for axis, (width, height) in planes.items()
    ]


def _pixels(length: float) -> int:
    return max(round(length), 1)


def _mosaic(
    volume: npt.NDArray[Any], views: list[_View], levels: tuple[float, float]
) -> npt.NDArray[np.uint8]:
    """The planes in cells beside each other, ``levels`` as 0 and 255; around them 0."""
    widths, heights = zip(*(view.size for view in views), strict=True)
    width, height = max(widths) + 2 * _GAP, max(heights) + 2 * _GAP
    mosaic = np.zeros((height, width * len(views)), np.uint8)
    low, high = levels
    for cell, view in enumerate(views):
        plane = np.moveaxis(volume, view.axis, 0)[view.place].T[::-1].astype(np.float64)
        shades = np.nan_to_num((plane - low) / (high - low), nan=0, posinf=0, neginf=0)
        bytes_ = (np.clip(shades, 0, 1) * 255).round().astype(np.uint8)
        across, up = view.size
        left, top = cell * width + (width - across) // 2, (height - up) // 2
        drawn = Image.fromarray(bytes_).resize(view.size, Image.Resampling.BICUBIC)
        mosaic[top : top + up, left : left + across] = np.asarray(drawn)
    return mosaic


def _coloured(levels: npt.NDArray[np.uint8], shade: npt.NDArray[np.uint8]) -> npt.NDArray[np.uint8]:
    bright = field_colours()[levels].astype(np.uint16)
    return (bright * shade[..., None] // 255).astype(np.uint8)


def _grey_levels(voxels: npt.NDArray[Any]) -> tuple[float, float]:
    finite = voxels[np.isfinite(voxels)].astype(np.float64)
    return grey_window(finite) if len(finite) else (0.0, 1.0)


def _field_levels(log_bias: npt.NDArray[Any]) -> tuple[float, float]:
    finite = log_bias[np.isfinite(log_bias)].astype(np.float64)
    if len(finite) == 0:
        return -1.0, 1.0
    mean = float(finite.mean())
    swing = field_swing(finite - mean)
    return mean - swing, mean + swing
