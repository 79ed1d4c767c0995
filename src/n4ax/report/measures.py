"""Numbers that say what a correction did to an image: how evenly its tissues are lit."""

from math import exp, isfinite, nan
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from n4ax.report.volumes import Volumes

_LEVELS = 256
"""Bins of the histogram in which the thresholds are searched."""
_BINS = 128
"""Bins of the histogram in the result."""
_CLASSES = 3
_LARGEST_SWING = 700.0
"""Its exponential is still a finite float64, which overflows from about 709 on."""


class _Classes(NamedTuple):
    """The three intensity classes of an image, from dark to bright."""

    voxels: npt.NDArray[np.int64]
    mean: npt.NDArray[np.float64]
    """NaN for an empty class."""
    deviation: npt.NDArray[np.float64]
    """The standard deviation, NaN for an empty class."""


def measure(volumes: Volumes) -> dict[str, Any]:
    """The range of the field, and the evenness of the two main tissues before and after.

    A tissue is a class of intensities. The intensities in the mask are clipped to their 1st and
    99th percentile, and two Otsu thresholds cut them into three classes. The two classes that
    hold the most voxels of the corrected image are the main ones, for both images.

    Each image is cut by **its own** thresholds. With the classes of the corrected image for both,
    the comparison would be circular: these classes are sharp in the corrected image by
    construction, and any change that moved voxels about would look like an improvement. The
    classes of the uncorrected image, or of an image halfway between, carry its shading and would
    favour it.

    Parameters
    ----------
    volumes : Volumes
        The image before and after, its log field and its mask. Voxels that are not finite are left
        out. If the mask has more than 250,000 voxels, an evenly spaced part of them is used, except
        for the range of the field.

    Returns
    -------
    dict
        Entries that are ready for JSON. A value that cannot be computed is ``None``; no number is
        NaN or infinite.

        - ``FieldRange``: the smallest and the largest value of the field in the mask.
        - ``FieldWindow``: the ends of the colour scale of the field's picture, relative to the
          geometric mean of the field.
        - ``CoefficientOfVariation``: the standard deviation over the mean, for the darker and the
          brighter main class.
        - ``CoefficientOfJointVariation``: the sum of their standard deviations over the distance
          of their means.
        - ``ClassMeans``: these means.
        - ``Histogram``: histograms of both images over one range, which holds all but the
          outermost half percent of each.
    """
    first, last = volumes.sample.both
    classes = {"Before": _find_classes(first), "After": _find_classes(last)}
    # The sort is stable, so that the darker of two classes with as many voxels is taken.
    main = sorted(np.argsort(-classes["After"].voxels, kind="stable")[:2].tolist())
    return {
        "FieldRange": _measure_field_range(volumes),
        "FieldWindow": _measure_field_window(volumes),
        "CoefficientOfVariation": {
            when: [_measure_variation(found, rank) for rank in main]
            for when, found in classes.items()
        },
        "CoefficientOfJointVariation": {
            when: _measure_joint_variation(found, *main) for when, found in classes.items()
        },
        "ClassMeans": {
            when: [_round(float(found.mean[rank])) for rank in main]
            for when, found in classes.items()
        },
        "Histogram": _count_histograms(first, last),
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


def _find_classes(values: npt.NDArray[np.float64]) -> _Classes:
    """Cut sorted values by two thresholds that maximise the variance between (Otsu 1979)."""
    unknown = np.full(_CLASSES, np.nan)
    low, high = np.percentile(values, (1, 99)) if len(values) else (0.0, 0.0)
    width = (high - low) / _LEVELS
    if not width > 0:
        return _Classes(np.zeros(_CLASSES, np.int64), unknown, unknown)
    values = np.clip(values, low, high)
    bins = np.minimum((values - low) / width, _LEVELS - 1).astype(np.intp)
    counts = np.bincount(bins, minlength=_LEVELS)
    ends = np.cumsum(counts)[list(_find_thresholds(counts))]
    classes = np.split(values, ends)
    return _Classes(
        np.array([len(found) for found in classes]),
        np.array([found.mean() if len(found) else np.nan for found in classes]),
        np.array([found.std() if len(found) else np.nan for found in classes]),
    )


def _find_thresholds(counts: npt.NDArray[np.int64]) -> tuple[int, int]:
    """The last bin of the dark class and of the middle class; all pairs are tried."""
    voxels = np.cumsum(counts).astype(np.float64)
    weighted = np.cumsum(counts * np.arange(len(counts), dtype=np.float64))

    def find_share(weight: npt.NDArray[np.float64], moment: npt.NDArray[np.float64]) -> Any:
        """What a class adds to the variance between the classes, up to a constant."""
        return np.where(weight > 0, moment**2 / np.where(weight > 0, weight, 1.0), 0.0)

    dark = find_share(voxels, weighted)[:, None]
    middle = find_share(voxels - voxels[:, None], weighted - weighted[:, None])
    bright = find_share(voxels[-1] - voxels, weighted[-1] - weighted)
    between = np.where(np.tri(len(counts), k=0, dtype=bool), -1.0, dark + middle + bright)
    first, second = np.unravel_index(between.argmax(), between.shape)
    return int(first), int(second)


def _measure_variation(classes: _Classes, rank: int) -> float | None:
    mean = classes.mean[rank]
    return _round(classes.deviation[rank] / mean) if mean > 0 else None


def _measure_joint_variation(classes: _Classes, one: int, other: int) -> float | None:
    distance = abs(classes.mean[other] - classes.mean[one])
    spread = classes.deviation[one] + classes.deviation[other]
    return _round(spread / distance) if distance > 0 else None


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
