"""Numbers that say what a field is like, and how it changed the histogram of an image."""

from math import exp, isfinite, nan
from typing import Any

import numpy as np
import numpy.typing as npt

from n4ax.images.planes import name_planes
from n4ax.report.profile import measure_profile
from n4ax.report.volumes import Volumes

_BINS = 128
"""Bins of the histogram in the result."""
_LARGEST_SWING = 700.0
"""Its exponential is still a finite float64, which overflows from about 709 on."""


def measure(
    volumes: Volumes,
    affine: npt.NDArray[np.float64] | None = None,
    *,
    directed: bool = True,
) -> dict[str, Any]:
    """The range of the field, and the histograms and a profile of the image before and after.

    How even the tissues are is measured elsewhere: :mod:`n4ax.verdict.measures`.

    Parameters
    ----------
    volumes : Volumes
        The image before and after, its log field and its mask. Voxels that are not finite are left
        out. If the mask has more than 100,000 voxels, an evenly spaced part of them is used, except
        for the range of the field.
    affine : array, shape (4, 4), optional
        Maps voxel indices to mm. Without it, the profile has no names of directions, and its
        positions are in voxels.
    directed : bool
        Whether the file says where left, right, front and so on are; otherwise only the sizes of
        the voxels are taken from the affine.

    Returns
    -------
    dict
        Entries that are ready for JSON. A value that cannot be computed is ``None``; no number is
        NaN or infinite.

        - ``FieldRange``: the smallest and the largest value of the field in the mask.
        - ``FieldWindow``: the ends of the colour scale of the field's picture, relative to the
          geometric mean of the field.
        - ``Histogram``: histograms of both images over one range, which holds all but the
          outermost half percent of each, of the same voxels: those that are finite in both.
        - ``Planes``: the names of the planes in the pictures; none if directions are not known.
        - ``Profile``: see :func:`n4ax.report.profile.measure_profile`.
    """
    return {
        "FieldRange": _measure_field_range(volumes),
        "FieldWindow": _measure_field_window(volumes),
        "Histogram": _count_histograms(*volumes.sample.both),
        "Planes": [] if affine is None or not directed else name_planes(volumes.mask.shape, affine),
        "Profile": measure_profile(volumes, affine, directed=directed),
    }


def _round(value: float) -> float | None:
    """Six digits of a number, since the files are read by people too."""
    return float(f"{value:.6g}") if isfinite(value) else None


def _measure_field_range(volumes: Volumes) -> list[float | None]:
    with np.errstate(over="ignore"):
        ends = [float(np.exp(end)) if isfinite(end) else nan for end in volumes.find_field_ends()]
    return [_round(end) for end in ends]


def _measure_field_window(volumes: Volumes) -> list[float | None]:
    if not np.isfinite(volumes.sample.log_bias).any():
        return [None, None]
    swing = min(volumes.field_window[1], _LARGEST_SWING)
    return [_round(exp(-swing)), _round(exp(swing))]


def _count_histograms(
    first: npt.NDArray[np.float64], last: npt.NDArray[np.float64]
) -> dict[str, Any]:
    """Histograms of sorted values."""
    nothing = {"Range": [None, None], "Before": [0] * _BINS, "After": [0] * _BINS}
    if len(first) == 0:
        return nothing
    ends = np.percentile(np.stack([first, last]), (0.5, 99.5), axis=1)
    low, high = _round(ends[0].min()), _round(ends[1].max())
    if low is None or high is None or not (high - low) / _BINS > 0:
        return {**nothing, "Range": [low, high]}
    edges = np.linspace(low, high, _BINS + 1)
    before, after = (_count_between(values, edges).tolist() for values in (first, last))
    return {"Range": [low, high], "Before": before, "After": after}


def _count_between(
    values: npt.NDArray[np.float64], edges: npt.NDArray[np.float64]
) -> npt.NDArray[np.intp]:
    """The histogram of sorted values; the last bin holds its right edge."""
    below = np.searchsorted(values, edges)
    below[-1] = np.searchsorted(values, edges[-1], "right")
    return np.diff(below)
