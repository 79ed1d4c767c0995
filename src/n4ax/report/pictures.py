"""The pictures of a scan: planes through the mask before and after, and of the field."""

import base64
import io
from collections.abc import Sequence
from functools import cache
from typing import Any, NamedTuple, Self

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageChops

from n4ax.images.planes import (
    Plane,
    find_box,
    find_grey_window,
    find_planes,
    find_slices,
    turn_upright,
)
from n4ax.report.sheets import Format, Sheet
from n4ax.report.volumes import Volumes

_PLANES = Format(width=375, height=300, columns=3, gap=6)
_SLICES = Format(width=116, height=136, columns=6, gap=2)
_SLICES_OF_FIELD = Format(width=58, height=68, columns=6, gap=1)
"""Half the size, since a field is smooth."""
_MARGIN = 0.06
"""How far the slices reach beyond the mask, as a part of its size."""
_MOST_SLICES = 18
_TILE = Format(width=72, height=72, columns=1)
_DIMMED = 0.35
"""Brightness of the field outside the mask, where it is extrapolated."""
_OUTLINE = (255, 138, 0)
"""The colour of the outline of the mask, as in :mod:`n4ax.figure`."""
_BLUE_TO_RED = (
    "053061", "2166ac", "4393c3", "92c5de", "d1e5f0", "f7f7f7",
    "fddbc7", "f4a582", "d6604d", "b2182b", "67001f",
)  # fmt: skip
"""ColorBrewer's scheme RdBu of Cynthia Brewer, from its end: evenly spaced colours."""


class _Upright(NamedTuple):
    """The volumes with axes that point right, anterior and superior, and their windows."""

    before: npt.NDArray[np.float32]
    after: npt.NDArray[np.float32]
    log_bias: npt.NDArray[np.float32]
    mask: npt.NDArray[np.uint8]
    voxel_sizes: tuple[float, ...]
    grey_before: tuple[float, float]
    grey_after: tuple[float, float]
    colours: tuple[float, float]

    @classmethod
    def of(cls, volumes: Volumes, affine: npt.NDArray[np.float64]) -> Self:
        sample = volumes.sample
        mean, swing = volumes.field_window
        before, after, log_bias = (
            _turn_upright(volume, affine)[0]
            for volume in (volumes.before, volumes.after, volumes.log_bias)
        )
        return cls(
            before,
            after,
            log_bias,
            *_turn_upright(volumes.mask.view(np.uint8), affine),
            find_grey_window(sample.before),
            find_grey_window(sample.after),
            (mean - swing, mean + swing),
        )

    def crop(self, box: tuple[slice, ...]) -> Self:
        """What is in a box."""
        names = ("before", "after", "log_bias", "mask")
        return self._replace(**{name: getattr(self, name)[box] for name in names})

    def arrange(self, planes: Sequence[Plane], form: Format) -> Sheet:
        """Arrange planes of these volumes."""
        return Sheet.arrange(planes, self.mask.shape, self.voxel_sizes, form)

    @property
    def where(self) -> npt.NDArray[np.uint8]:
        """The mask, or the whole volume if the mask is empty."""
        return self.mask if self.mask.any() else np.ones_like(self.mask)


def draw(volumes: Volumes, affine: npt.NDArray[np.float64]) -> dict[str, bytes]:
    """Draw the pictures of a scan.

    ``before``, ``after`` and ``field`` have the axial, the coronal and the sagittal plane through
    the middle of the mask side by side, in cells of one size and at one scale in mm; a 2-D image
    has one cell. Black and white are set separately for each image, as in
    :func:`n4ax.figure.draw_figure`. The field is shown relative to its geometric mean, and darker
    outside the mask. Its colours are those of :func:`make_field_colours`, and run over the
    ``FieldWindow`` of :func:`n4ax.report.measures.measure`. ``outline`` is the outline of the mask
    in these planes on transparent ground.

    ``slices-before``, ``slices-after``, ``slices-field`` and ``slices-outline`` are the same of up
    to 18 axial slices, evenly spaced through the mask from its bottom to its top, row by row. A 2-D
    image has none of them. ``tile`` is a small picture of the first plane, after at the left and
    the field at the right. Slices and tile show the box around the mask.

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
    upright = _Upright.of(volumes, affine)
    where = upright.where
    planes = find_planes(where)
    sheet = upright.arrange(planes, _PLANES)
    pictures = _draw_images(sheet, upright, quality=80)
    pictures["field"] = encode_webp(_draw_field(sheet, upright), quality=70)
    pictures["outline"] = _encode_outline(sheet, upright.mask)
    close = upright.crop(find_box(where, _MARGIN))
    if len(planes) == 3:
        slices = find_slices(close.where, _MOST_SLICES)
        sheet, small = (close.arrange(slices, form) for form in (_SLICES, _SLICES_OF_FIELD))
        drawn = _draw_images(sheet, close, quality=62)
        drawn["field"] = encode_webp(_draw_field(small, close), quality=62)
        drawn["outline"] = _encode_outline(sheet, close.mask)
        pictures |= {f"slices-{name}": content for name, content in drawn.items()}
    return {**pictures, "tile": _draw_tile(close)}


def encode_webp(picture: Image.Image, quality: int = 84) -> bytes:
    """The content of a WebP file with this picture."""
    content = io.BytesIO()
    picture.save(content, "WEBP", quality=quality, method=0)
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


def _draw_images(sheet: Sheet, upright: _Upright, quality: int) -> dict[str, bytes]:
    before = sheet.draw(upright.before, upright.grey_before)
    after = sheet.draw(upright.after, upright.grey_after)
    drawn = {"before": before, "after": after}
    return {name: encode_webp(Image.fromarray(grey), quality) for name, grey in drawn.items()}


def _draw_field(sheet: Sheet, upright: _Upright) -> Image.Image:
    """The field in colours, which are dimmed outside the mask."""
    levels = Image.fromarray(sheet.draw(upright.log_bias, upright.colours))
    levels.putpalette(make_field_colours().tobytes())
    shade = Image.fromarray(sheet.draw(upright.mask, (-_DIMMED / (1 - _DIMMED), 1.0)))
    return ImageChops.multiply(levels.convert("RGB"), Image.merge("RGB", [shade] * 3))


def _draw_tile(upright: _Upright) -> bytes:
    sheet = upright.arrange(find_planes(upright.where)[:1], _TILE)
    after = Image.fromarray(sheet.draw(upright.after, upright.grey_after))
    tile = Image.new("RGB", (2 * sheet.width, sheet.height))
    tile.paste(after, (0, 0))
    tile.paste(_draw_field(sheet, upright), (sheet.width, 0))
    return encode_webp(tile, quality=70)


def _encode_outline(sheet: Sheet, mask: npt.NDArray[np.uint8]) -> bytes:
    """A picture of those pixels of the mask that have a neighbour outside of it."""
    padded = np.pad(sheet.draw(mask, (0.0, 1.0)) > 127, 1)
    beside = padded[:-2, 1:-1] & padded[2:, 1:-1] & padded[1:-1, :-2] & padded[1:-1, 2:]
    outline = padded[1:-1, 1:-1] & ~beside
    pixels = np.zeros((*outline.shape, 4), np.uint8)
    pixels[outline] = (*_OUTLINE, 255)
    content = io.BytesIO()
    Image.fromarray(pixels).save(content, "WEBP", lossless=True, quality=0, method=0)
    return content.getvalue()
