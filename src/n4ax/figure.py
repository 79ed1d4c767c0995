"""One picture that shows what a correction did: before, field and after in three planes."""

import io
import warnings
from math import exp
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
from matplotlib.colors import LogNorm
from matplotlib.figure import Figure

from n4ax.files import replace_file
from n4ax.images.planes import field_swing, grey_window, is_plane, middle_plane, upright

_BACKGROUND = "#111418"
_TEXT = "#e8eaed"
_FIELD = "bias field"
_WIDTH = 3.2
"""Width of a panel, in inches."""


class _Panel(NamedTuple):
    """A column of the picture: a volume, and how matplotlib is to show it."""

    name: str
    volume: npt.NDArray[np.float32]
    look: dict[str, Any]


def save_figure(
    path: Path,
    before: npt.NDArray[Any],
    log_bias: npt.NDArray[Any],
    after: npt.NDArray[Any],
    mask: npt.NDArray[np.bool_],
    affine: npt.NDArray[np.float64],
    title: str,
) -> None:
    """Draw a PNG of the planes through the middle of the mask.

    Parameters
    ----------
    path
        Where to write it; whole or not at all.
    before, log_bias, after
        Volumes of one shape, 2 axes or more; of more than 3 the part is drawn that holds most of
        the mask. Voxels that are not finite are left blank.
    mask
        Sets the centre of the planes and the grey levels; at least one voxel.
    affine
        Voxel indices to mm, to turn the planes upright.
    title
        A line above the picture.

    Raises
    ------
    OSError
        The folder cannot be written to, or the disk is full.
    """
    finite = mask & np.isfinite(before)
    volumes = (_three_axes(volume, finite) for volume in (before, log_bias, after, finite))
    turned = [upright(volume, affine) for volume in volumes]
    (first, sizes), (log_field, _), (last, _), (within, _) = turned
    inside = within > 0.5
    # The field is shown around its mean in the mask, since N4 leaves its level open.
    log_field = log_field - log_field[inside].mean()
    swing = field_swing(log_field[inside])
    around_one = {"cmap": "RdBu_r", "norm": LogNorm(exp(-swing), exp(swing))}
    panels = (
        _Panel("before", first, _grey_levels(first[inside])),
        _Panel(_FIELD, np.exp(log_field), around_one),
        _Panel("after", last, _grey_levels(last[inside])),
    )
    content = io.BytesIO()
    with warnings.catch_warnings():
        # A file name in the title may be in a script that the font does not have.
        warnings.filterwarnings("ignore", "Glyph .* missing from font", UserWarning)
        _draw(panels, inside, sizes, title, swing).savefig(
            content, format="png", facecolor=_BACKGROUND
        )
    with replace_file(path) as temporary:
        temporary.write_bytes(content.getvalue())


def _draw(
    panels: tuple[_Panel, ...],
    inside: npt.NDArray[np.bool_],
    sizes: tuple[float, ...],
    title: str,
    swing: float,
) -> Figure:
    planes = [middle_plane(inside, axis) for axis in (2, 1, 0) if is_plane(inside.shape, axis)]
    heights = [_height_to_width(inside.shape, sizes, axis) for axis, _ in planes]
    total = _WIDTH * sum(heights) + 0.75
    figure = Figure(figsize=(3 * _WIDTH + 0.9, total), facecolor=_BACKGROUND, dpi=120)
    grid = figure.subplots(
        len(planes),
        len(panels),
        squeeze=False,
        gridspec_kw={"height_ratios": heights, "wspace": 0.02, "hspace": 0.02},
    )
    figure.subplots_adjust(left=0.01, right=0.92, bottom=0.01, top=1 - 0.65 / total)
    shown = {}
    for row, (axis, index) in zip(grid, planes, strict=True):
        across, up = (size for number, size in enumerate(sizes) if number != axis)
        for cell, panel in zip(row, panels, strict=True):
            plane = np.flipud(np.take(panel.volume, index, axis=axis).T)
            shown[panel.name] = cell.imshow(
                plane, aspect=up / across, interpolation="bilinear", **panel.look
            )
            cell.set_axis_off()
    for cell, panel in zip(grid[0], panels, strict=True):
        cell.set_title(panel.name, color=_TEXT, fontsize=13, pad=6)
    figure.suptitle(title, color=_TEXT, fontsize=9, y=0.995, va="top", parse_math=False)
    _colour_bar(figure, shown[_FIELD], swing)
    return figure


def _grey_levels(voxels: npt.NDArray[np.float32]) -> dict[str, Any]:
    low, high = grey_window(voxels)
    return {"cmap": "gray", "vmin": low, "vmax": high}


def _colour_bar(figure: Figure, field: Any, swing: float) -> None:
    bar = figure.colorbar(field, cax=figure.add_axes((0.935, 0.2, 0.014, 0.6)))
    ticks = [exp(swing * part) for part in (-1, -0.5, 0, 0.5, 1)]
    bar.set_ticks(ticks, labels=[f"{tick:.2f}" for tick in ticks], minor=False)
    bar.ax.minorticks_off()
    bar.ax.tick_params(colors=_TEXT, labelsize=8)
    bar.set_label("field, relative to its mean in the mask", color=_TEXT, fontsize=8)
    bar.outline.set_edgecolor(_TEXT)


def _three_axes(volume: npt.NDArray[Any], mask: npt.NDArray[np.bool_]) -> npt.NDArray[np.float32]:
    """The volume itself, or of one with more axes the part that holds most of the mask."""
    shape = volume.shape
    if sum(n > 1 for n in shape[:3]) < 2:  # a line over time: no plane in its first three axes
        shape = tuple(n for n in shape if n > 1)
    parts = volume.reshape(*(*shape, 1)[:3], -1)
    voxels = mask.reshape(parts.shape).sum(axis=(0, 1, 2))
    return parts[..., int(voxels.argmax())].astype(np.float32)


def _height_to_width(shape: tuple[int, ...], sizes: tuple[float, ...], axis: int) -> float:
    """Of a panel; a plane that is too tall or too flat for it keeps its shape, with a margin."""
    across, up = (shape[number] * sizes[number] for number in range(3) if number != axis)
    return min(max(up / across, 0.25), 1.6)
