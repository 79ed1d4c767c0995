"""One picture that shows what a correction did: before, field and after in three planes."""

from math import exp
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
import numpy.typing as npt
from matplotlib.colors import LogNorm
from matplotlib.figure import Figure

from n4ax.atomic import replaced

_BACKGROUND = "#111418"
_TEXT = "#e8eaed"


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
        Volumes of one shape, 2 to 4 axes; of a 4-D one the first volume is drawn.
    mask
        Sets the centre of the planes and the grey levels.
    affine
        Voxel indices to mm, to turn the planes upright.
    title
        A line above the picture.
    """
    upright = [_upright(volume, affine) for volume in (before, np.exp(log_bias), after)]
    inside, sizes = _upright(mask.astype(np.float32), affine)[0] > 0.5, upright[0][1]
    before, field, after = (volume for volume, _ in upright)
    # Each image's grey levels run from 0 to its own bright voxels; the field is shown around
    # its mean in the mask, since N4 leaves its level open.
    field = field / np.exp(np.log(field[inside]).mean())
    swing = max(float(np.percentile(np.abs(np.log(field[inside])), 99)), 0.02)
    panels = (
        (before, "before", {"cmap": "gray", "vmin": 0, "vmax": _bright(before, inside)}),
        (field, "bias field", {"cmap": "RdBu_r", "norm": LogNorm(exp(-swing), exp(swing))}),
        (after, "after", {"cmap": "gray", "vmin": 0, "vmax": _bright(after, inside)}),
    )
    planes = [_plane(inside, axis) for axis in (2, 1, 0) if _is_plane(inside.shape, axis)]
    heights = [_height_to_width(inside.shape, sizes, axis) for axis, _ in planes]

    width = 3.2
    figure = Figure(
        figsize=(3 * width + 0.9, width * sum(heights) + 0.75), facecolor=_BACKGROUND, dpi=120
    )
    grid = figure.subplots(
        len(planes),
        3,
        squeeze=False,
        gridspec_kw={"height_ratios": heights, "wspace": 0.02, "hspace": 0.02},
    )
    figure.subplots_adjust(
        left=0.01, right=0.92, bottom=0.01, top=1 - 0.65 / (width * sum(heights) + 0.75)
    )
    shown = {}
    for row, (axis, index) in zip(grid, planes, strict=True):
        pixel = [size for number, size in enumerate(sizes) if number != axis]
        for panel, (volume, name, look) in zip(row, panels, strict=True):
            plane = np.flipud(np.take(volume, index, axis=axis).T)
            shown[name] = panel.imshow(
                plane, aspect=pixel[1] / pixel[0], interpolation="bilinear", **look
            )
            panel.set_axis_off()
            panel.set_anchor("C")
    for panel, (_, name, _) in zip(grid[0], panels, strict=True):
        panel.set_title(name, color=_TEXT, fontsize=13, pad=6)
    figure.suptitle(title, color=_TEXT, fontsize=9, y=0.995, va="top")
    _colour_bar(figure, shown["bias field"], swing)
    with replaced(path) as temporary:
        figure.savefig(temporary, format="png", facecolor=_BACKGROUND)


def _bright(volume: npt.NDArray[Any], inside: npt.NDArray[np.bool_]) -> float:
    return float(np.percentile(volume[inside], 99.5))


def _colour_bar(figure: Figure, field: Any, swing: float) -> None:
    bar = figure.colorbar(field, cax=figure.add_axes((0.935, 0.2, 0.014, 0.6)))
    ticks = np.exp(np.linspace(-swing, swing, 5))
    bar.set_ticks(ticks, labels=[f"{tick:.2f}" for tick in ticks], minor=False)
    bar.ax.minorticks_off()
    bar.ax.tick_params(colors=_TEXT, labelsize=8)
    bar.set_label("field, relative to its mean in the mask", color=_TEXT, fontsize=8)
    bar.outline.set_edgecolor(_TEXT)


def _upright(
    volume: npt.NDArray[Any], affine: npt.NDArray[np.float64]
) -> tuple[npt.NDArray[Any], tuple[float, ...]]:
    """A 3-D volume turned to right, anterior, superior, and its voxel sizes in mm."""
    if volume.ndim == 4:
        volume = volume[..., 0]
    if volume.ndim == 2:
        volume = volume[..., None]
    turned = nib.as_closest_canonical(nib.Nifti1Image(np.asarray(volume, np.float32), affine))
    return np.asarray(turned.dataobj), tuple(float(z) for z in turned.header.get_zooms())


def _is_plane(shape: tuple[int, ...], axis: int) -> bool:
    """Whether there is a picture across ``axis``: neither of the others has length 1."""
    return min(n for number, n in enumerate(shape) if number != axis) > 1


def _plane(inside: npt.NDArray[np.bool_], axis: int) -> tuple[int, int]:
    """Axis and index of the plane through the middle of the mask."""
    weights = inside.sum(axis=tuple(number for number in range(3) if number != axis))
    return axis, int(np.searchsorted(np.cumsum(weights), weights.sum() / 2))


def _height_to_width(shape: tuple[int, ...], sizes: tuple[float, ...], axis: int) -> float:
    across, up = (shape[number] * sizes[number] for number in range(3) if number != axis)
    return up / across
