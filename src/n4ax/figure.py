"""One picture that shows what a correction did: before, field and after in three planes."""

from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
import numpy.typing as npt
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
    volumes = [_upright(volume, affine) for volume in (before, np.exp(log_bias), after)]
    inside, sizes = _upright(mask.astype(np.float32), affine)[0] > 0.5, volumes[0][1]
    before, field, after = (volume for volume, _ in volumes)
    planes = _planes(inside)
    # Grey levels of both images run from 0 to the same part of their own bright voxels.
    tops = [float(np.percentile(volume[inside], 99.5)) for volume in (before, after)]
    swing = max(float(np.abs(np.log(field[inside])).max()), 0.01)

    figure = Figure(figsize=(9.6, 3.25 * len(planes) + 0.5), facecolor=_BACKGROUND, dpi=130)
    grid = figure.subplots(len(planes), 3, squeeze=False)
    bar_source = None
    for row, (axis, index) in zip(grid, planes, strict=True):
        shape = [size for number, size in enumerate(sizes) if number != axis]
        for panel, volume, top in zip(row[::2], (before, after), tops, strict=True):
            image = _slice(volume, axis, index)
            panel.imshow(image, cmap="gray", vmin=0, vmax=top, aspect=shape[1] / shape[0])
        image = _slice(field, axis, index)
        bar_source = row[1].imshow(
            image,
            cmap="RdBu_r",
            vmin=np.exp(-swing),
            vmax=np.exp(swing),
            norm=None,
            aspect=shape[1] / shape[0],
        )
        row[1].contour(
            _slice(inside.astype(np.float32), axis, index),
            levels=[0.5],
            colors="#00000066",
            linewidths=0.5,
        )
    for panel, name in zip(grid[0], ("before", "bias field", "after"), strict=True):
        panel.set_title(name, color=_TEXT, fontsize=13, pad=8)
    for panel in grid.ravel():
        panel.set_axis_off()
    figure.suptitle(title, color=_TEXT, fontsize=10, y=0.99)
    figure.subplots_adjust(left=0.01, right=0.92, top=0.9, bottom=0.02, wspace=0.03, hspace=0.05)
    bar = figure.colorbar(bar_source, ax=grid, fraction=0.025, pad=0.02)
    bar.ax.tick_params(colors=_TEXT, labelsize=8)
    bar.set_label("field (1: unchanged)", color=_TEXT, fontsize=9)
    bar.outline.set_edgecolor(_TEXT)
    with replaced(path) as temporary:
        figure.savefig(temporary, format="png", facecolor=_BACKGROUND)


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


def _planes(inside: npt.NDArray[np.bool_]) -> list[tuple[int, int]]:
    """Axis and index of the planes to show: through the mask's middle, where there are several."""
    planes = []
    for axis in (2, 1, 0):
        others = [inside.shape[number] for number in range(3) if number != axis]
        if min(others) < 2:
            continue
        weights = inside.sum(axis=tuple(number for number in range(3) if number != axis))
        middle = np.searchsorted(np.cumsum(weights), weights.sum() / 2)
        planes.append((axis, int(middle)))
    return planes


def _slice(volume: npt.NDArray[Any], axis: int, index: int) -> npt.NDArray[Any]:
    """A plane with its second remaining axis upwards."""
    return np.flipud(np.take(volume, index, axis=axis).T)
