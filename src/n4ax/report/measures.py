"""Numbers that say what a correction did to an image: how evenly its tissues are lit."""

from math import exp, isfinite
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from n4ax.images.planes import field_swing

_SAMPLE = 250_000
_LEVELS = 256
"""Bins in which the thresholds are looked for."""
_BINS = 128
"""Bins of the histogram in the result."""
_RANKS = 3


class _Classes(NamedTuple):
    """The three intensity classes of an image, dark to bright; not a number where empty."""

    voxels: npt.NDArray[np.int64]
    mean: npt.NDArray[np.float64]
    deviation: npt.NDArray[np.float64]


def measure(
    before: npt.NDArray[Any],
    log_bias: npt.NDArray[Any],
    after: npt.NDArray[Any],
    inside: npt.NDArray[np.bool_],
) -> dict[str, Any]:
    """Field range, and the evenness of the two main tissues before and after.

    A tissue is a class of intensities: two Otsu thresholds cut the mask's intensities, clipped
    to their 1st and 99th percentile, in three, and the two classes that hold most voxels of the
    corrected image are the main ones, for both images. Each image is cut by **its own**
    thresholds. Classes of the corrected image would be circular: they are sharp there by
    construction, and whatever moved voxels about would look like an improvement. Those of the
    uncorrected one, or of one halfway between, carry its shading, and favour it.

    Parameters
    ----------
    before, log_bias, after
        Arrays of one shape.
    inside
        The mask, of the same shape. Voxels that are not finite are left out; of more than
        250,000 an evenly spaced part is used, except for the field's range.

    Returns
    -------
    dict
        Ready for JSON; what cannot be computed is ``None``, and no number is NaN or infinite.
        ``FieldRange``: least and largest value of the field in the mask. ``FieldWindow``: the
        ends of the colour scale of its picture, relative to its geometric mean.
        ``CoefficientOfVariation``: standard deviation over mean, of the darker and the brighter
        main class. ``CoefficientOfJointVariation``: sum of their standard deviations over the
        distance of their means. ``ClassMeans``: these means. ``Histogram``: of both images, in
        one range that holds all but the outermost half percent of each.
    """
    positions = sampled(inside)
    first, last = (image[positions].astype(np.float64) for image in (before, after))
    finite = np.isfinite(first) & np.isfinite(last)
    first, last = first[finite], last[finite]
    classes = (_classes(first), _classes(last))
    # A stable sort, so that of classes with as many voxels the darker one is taken.
    main = sorted(np.argsort(-classes[1].voxels, kind="stable")[:2].tolist())
    names = ("Before", "After")
    return {
        "FieldRange": _field_range(log_bias, inside),
        "FieldWindow": _field_window(log_bias[positions]),
        "CoefficientOfVariation": {
            name: [_variation(found, rank) for rank in main]
            for name, found in zip(names, classes, strict=True)
        },
        "CoefficientOfJointVariation": {
            name: _joint_variation(found, *main) for name, found in zip(names, classes, strict=True)
        },
        "ClassMeans": {
            name: [_number(float(found.mean[rank])) for rank in main]
            for name, found in zip(names, classes, strict=True)
        },
        "Histogram": _histograms(first, last),
    }


def sampled(inside: npt.NDArray[np.bool_]) -> tuple[npt.NDArray[np.intp], ...]:
    """Positions of at most 250,000 voxels of a mask, evenly spaced in the order of its memory."""
    if inside.flags.f_contiguous and not inside.flags.c_contiguous:
        return sampled(inside.T)[::-1]
    flat = np.flatnonzero(inside)
    step = -(-len(flat) // _SAMPLE) or 1
    return np.unravel_index(flat[::step], inside.shape)


def _number(value: float) -> float | None:
    """Six digits of it, for files that are read by people too."""
    return float(f"{value:.6g}") if isfinite(value) else None


def _field_range(log_bias: npt.NDArray[Any], inside: npt.NDArray[np.bool_]) -> list[float | None]:
    if log_bias.flags.f_contiguous:  # the order does not matter, and along memory is faster
        log_bias, inside = log_bias.T, inside.T
    known = inside & np.isfinite(log_bias)
    ends = (
        float(np.min(log_bias, where=known, initial=np.inf)),
        float(np.max(log_bias, where=known, initial=-np.inf)),
    )
    with np.errstate(over="ignore"):
        return [_number(float(np.exp(end))) if isfinite(end) else None for end in ends]


def _field_window(log_bias: npt.NDArray[Any]) -> list[float | None]:
    values = log_bias[np.isfinite(log_bias)].astype(np.float64)
    if len(values) == 0:
        return [None, None]
    swing = min(field_swing(values - values.mean()), 700.0)
    return [_number(exp(-swing)), _number(exp(swing))]


def _classes(values: npt.NDArray[np.float64]) -> _Classes:
    """Cut by two thresholds that maximise the variance between three classes (Otsu 1979)."""
    lost = np.full(_RANKS, np.nan)
    low, high = np.percentile(values, (1, 99)) if len(values) else (0.0, 0.0)
    width = (high - low) / _LEVELS
    if not width > 0:
        return _Classes(np.zeros(_RANKS, np.int64), lost, lost)
    values = np.clip(values, low, high)
    bins = np.minimum((values - low) / width, _LEVELS - 1).astype(np.intp)
    dark, bright = _two_thresholds(np.bincount(bins, minlength=_LEVELS))
    ranks = (bins > dark).astype(np.intp) + (bins > bright)
    count = np.bincount(ranks, minlength=_RANKS)
    some = np.where(count > 0, count, np.nan)
    mean = np.bincount(ranks, values, _RANKS) / some
    squares = np.bincount(ranks, (values - mean[ranks]) ** 2, _RANKS)
    return _Classes(count, mean, np.sqrt(squares / some))


def _two_thresholds(counts: npt.NDArray[np.int64]) -> tuple[int, int]:
    """The last bin of the dark class and of the middle one; all pairs are tried."""
    voxels = np.cumsum(counts).astype(np.float64)
    weighted = np.cumsum(counts * np.arange(len(counts), dtype=np.float64))

    def share(weight: npt.NDArray[np.float64], moment: npt.NDArray[np.float64]) -> Any:
        return np.where(weight > 0, moment**2 / np.where(weight > 0, weight, 1.0), 0.0)

    dark = share(voxels, weighted)[:, None]
    middle = share(voxels - voxels[:, None], weighted - weighted[:, None])
    bright = share(voxels[-1] - voxels, weighted[-1] - weighted)
    between = np.where(np.tri(len(counts), k=0, dtype=bool), -1.0, dark + middle + bright)
    first, second = np.unravel_index(between.argmax(), between.shape)
    return int(first), int(second)


def _variation(classes: _Classes, rank: int) -> float | None:
    mean = classes.mean[rank]
    return _number(classes.deviation[rank] / mean) if mean > 0 else None


def _joint_variation(classes: _Classes, one: int, other: int) -> float | None:
    distance = abs(classes.mean[other] - classes.mean[one])
    spread = classes.deviation[one] + classes.deviation[other]
    return _number(spread / distance) if distance > 0 else None


def _histograms(first: npt.NDArray[np.float64], last: npt.NDArray[np.float64]) -> dict[str, Any]:
    nothing = {"Range": [None, None], "Before": [0] * _BINS, "After": [0] * _BINS}
    if len(first) == 0:
        return nothing
    ends = np.percentile(np.stack([first, last]), (0.5, 99.5), axis=1)
    low, high = _number(ends[0].min()), _number(ends[1].max())
    if low is None or high is None or not (high - low) / _BINS > 0:
        return {**nothing, "Range": [low, high]}
    before, after = (np.histogram(values, _BINS, (low, high))[0] for values in (first, last))
    return {"Range": [low, high], "Before": before.tolist(), "After": after.tolist()}
