"""One picture that shows what a correction did: before, field and after in three planes."""

import io
import warnings
from math import exp
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
from matplotlib.colors import LogNorm
from matplotlib.figure import Figure

from n4ax.images.planes import (
    Plane,
    find_field_window,
    find_grey_window,
    find_planes,
    turn_upright,
)

_BACKGROUND = "#111418"
_TEXT = "#e8eaed"
_FIELD = "bias field"
_WIDTH = 3.2
"""Width of a panel, in inches."""


class _Panel(NamedTuple):
    """A column of the picture: a volume, and the settings with which matplotlib shows it."""

    name: str
    volume: npt.NDArray[np.float32]
    look: dict[str, Any]


def draw_figure(
    before: npt.NDArray[Any],
    log_bias: npt.NDArray[Any],
    after: npt.NDArray[Any],
    mask: npt.NDArray[np.bool_],
    affine: npt.NDArray[np.float64],
    title: str,
) -> bytes:
    """Draw the planes through the middle of the mask.

    Parameters
    ----------
    before, log_bias, after : array
        Volumes of the same shape, with 2 axes or more. If they have more than 3 axes, the 3-D
        part that holds most of the mask is drawn. Voxels that are not finite are left blank.
    mask : array of bool
        Sets the centre of the planes and the grey levels. It has at least one voxel.
    affine : array, shape (4, 4)
        Maps voxel indices to mm; the planes are turned upright by it.
    title : str
        A line above the picture.

    Returns
    -------
    bytes
        The content of a PNG file.
    """
    finite = mask & np.isfinite(before)
    volumes = (_pick_volume(volume, finite) for volume in (before, log_bias, after, finite))
    turned = [turn_upright(volume, affine) for volume in volumes]
    (first, voxel_sizes), (log_field, _), (last, _), (upright_mask, _) = turned
    mask = upright_mask > 0.5
    mean, swing = find_field_window(log_field[mask])
    colours = {"cmap": "RdBu_r", "norm": LogNorm(exp(-swing), exp(swing))}
    panels = (
        _Panel("before", first, _find_grey_look(first[mask])),
        _Panel(_FIELD, np.exp(log_field - mean), colours),
        _Panel("after", last, _find_grey_look(last[mask])),
    )
    content = io.BytesIO()
    with warnings.catch_warnings():
        # A file name in the title may be in a script that the font does not have.
        warnings.filterwarnings("ignore", "Glyph .* missing from font", UserWarning)
        figure = _draw_panels(panels, mask, voxel_sizes, title, swing)
        figure.savefig(content, format="png", facecolor=_BACKGROUND)
    return content.getvalue()


def _draw_panels(
    panels: tuple[_Panel, ...],
    mask: npt.NDArray[np.bool_],
    voxel_sizes: tuple[float, ...],
    title: str,
    swing: float,
) -> Figure:
    planes = find_planes(mask)
    heights = [_height_to_width(plane.measure(voxel_sizes, mask.shape)) for plane in planes]
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
    for row, plane in zip(grid, planes, strict=True):
        for cell, panel in zip(row, panels, strict=True):
            shown[panel.name] = _show_plane(cell, panel, plane, voxel_sizes)
    for cell, panel in zip(grid[0], panels, strict=True):
        cell.set_title(panel.name, color=_TEXT, fontsize=13, pad=6)
    figure.suptitle(title, color=_TEXT, fontsize=9, y=0.995, va="top", parse_math=False)
    _add_colour_bar(figure, shown[_FIELD], swing)
    return figure


def _show_plane(cell: Any, panel: _Panel, plane: Plane, voxel_sizes: tuple[float, ...]) -> Any:
    """Show a plane of a panel in a cell; return matplotlib's image, for the colour bar."""
    width, height = plane.measure(voxel_sizes)
    image = cell.imshow(
        plane.cut(panel.volume), aspect=height / width, interpolation="bilinear", **panel.look
    )
    cell.set_axis_off()
    return image


def _find_grey_look(voxels: npt.NDArray[np.float32]) -> dict[str, Any]:
    low, high = find_grey_window(voxels)
    return {"cmap": "gray", "vmin": low, "vmax": high}


def _add_colour_bar(figure: Figure, field: Any, swing: float) -> None:
    bar = figure.colorbar(field, cax=figure.add_axes((0.935, 0.2, 0.014, 0.6)))
    ticks = [exp(swing * part) for part in (-1, -0.5, 0, 0.5, 1)]
    bar.set_ticks(ticks, labels=[f"{tick:.2f}" for tick in ticks], minor=False)
    bar.ax.minorticks_off()
    bar.ax.tick_params(colors=_TEXT, labelsize=8)
    bar.set_label("field, relative to its mean in the mask", color=_TEXT, fontsize=8)
    bar.outline.set_edgecolor(_TEXT)


def _pick_volume(volume: npt.NDArray[Any], mask: npt.NDArray[np.bool_]) -> npt.NDArray[np.float32]:
    """The three axes to draw; of a volume with more axes, the part that holds most of the mask."""
    shape = volume.shape
    if sum(n > 1 for n in shape[:3]) < 2:  # a line over time has no plane in its first three axes
        shape = tuple(n for n in shape if n > 1)
    parts = volume.reshape(*(*shape, 1)[:3], -1)
    voxels = mask.reshape(parts.shape).sum(axis=(0, 1, 2))
    return parts[..., int(voxels.argmax())].astype(np.float32)


def _height_to_width(size: tuple[float, float]) -> float:
    """The shape of a panel; a plane that is too tall or too flat for it gets margins."""
    width, height = size
    return min(max(height / width, 0.25), 1.6)
