"""How even an image is before and after its correction, in the same voxels.

Classes of intensity that are cut from an image after its correction look better after any change,
and those cut before it carry its shading. So they are cut from the image less its local mean, which
hardly has any shading, and the same voxels are compared. On brains that were simulated with known
fields, this number falls where the correction came closer to the truth, with few exceptions.

References
----------
M. Ganzetti, N. Wenderoth and D. Mantini, "Intensity Inhomogeneity Correction of Structural MR
Images: A Data-Driven Approach to Define Input Algorithm Parameters", Frontiers in Neuroinformatics
10, 2016, doi:10.3389/fninf.2016.00010.

O. Esteban et al., "MRIQC: Advancing the automatic prediction of image quality in MRI from unseen
sites", PLoS ONE 12(9), 2017, doi:10.1371/journal.pone.0184661.
"""

from collections.abc import Sequence
from math import isfinite, prod
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from n4ax.errors import InputError
from n4ax.images.masks import measure_box
from n4ax.images.multiotsu import find_thresholds
from n4ax.images.smoothing import smooth
from n4ax.images.tissues import Inside, find_tissues

Floats = npt.NDArray[np.float64]

REACH = 0.08
"""The standard deviation of the Gaussian that makes the local mean, as a share of the mask's
extent: some 12 mm in a head."""
_FINENESS = 3
"""Voxels are looked at no more densely than this many within that distance."""
_CLASSES = 3


class Samples(NamedTuple):
    """A coarse grid of voxels in the box around the mask.

    Attributes
    ----------
    before
        The image before the correction; ``None`` if it is not known.
    log_bias, mask
        The log field, and which voxels are inside the mask.
    reach
        The standard deviation of the Gaussian along each axis, in steps of the grid.
    tissues
        Where two tissues are, if they are known.
    """

    before: Floats | None
    log_bias: Floats
    mask: npt.NDArray[np.bool_]
    reach: list[float]
    tissues: tuple[Inside, ...] = ()


def measure_evenness(samples: Samples) -> dict[str, float | None]:
    """Describe a field, and how even the image is before and after its correction.

    Parameters
    ----------
    samples
        The voxels to look at. Those that are not finite are left out.

    Returns
    -------
    dict
        ``cjv_before``, ``cjv_after``, ``inu_med``, ``inu_range``, ``inu_p05`` and ``inu_p95``, as
        in :class:`n4ax.verdict.Verdict`. A value that cannot be computed is ``None``.
    """
    known = samples.mask & np.isfinite(samples.log_bias)
    logs = samples.log_bias[known]
    with np.errstate(over="ignore", invalid="ignore"):
        ends = np.exp(np.percentile(logs, (5, 50, 95))) if logs.size else np.full(3, np.nan)
        spread = ends[2] - ends[0]
    low, middle, high, spread, *joint = map(_round, (*ends, spread, *_compare(samples, known)))
    return {
        "cjv_before": joint[0], "cjv_after": joint[1], "inu_med": middle, "inu_range": spread,
        "inu_p05": low, "inu_p95": high,
    }  # fmt: skip


def take_samples(
    before: npt.NDArray[Any] | None,
    log_bias: npt.NDArray[Any],
    mask: npt.NDArray[np.bool_],
    voxel_sizes: Sequence[float],
    box: Sequence[slice],
    maps: Sequence[npt.NDArray[Any]] = (),
) -> Samples:
    """Take a coarse grid of voxels in the box around the mask.

    Parameters
    ----------
    before
        The image before the correction; ``None`` if it is not known.
    log_bias, mask
        The log field and the mask, of the image's shape.
    voxel_sizes
        The size of a voxel along each axis; only their ratios count.
    box
        What :func:`find_box` finds for the mask.
    maps
        Maps of tissues, as for :func:`n4ax.images.tissues.find_tissues`.
    """
    lengths = measure_box(box, voxel_sizes, mask.shape)
    reach = REACH * prod(lengths) ** (1 / len(lengths)) if lengths else 1.0
    steps = [max(1, int(reach / _FINENESS / size)) for size in voxel_sizes]
    cut = tuple(slice(p.start, p.stop, step) for p, step in zip(box, steps, strict=True))
    return Samples(
        None if before is None else before[cut].astype(np.float64),
        log_bias[cut].astype(np.float64),
        mask[cut],
        [reach / (size * step) for size, step in zip(voxel_sizes, steps, strict=True)],
        _sample_tissues([one[cut] for one in maps], mask[cut]),
    )


def _sample_tissues(
    maps: Sequence[npt.NDArray[Any]], mask: npt.NDArray[np.bool_]
) -> tuple[Inside, ...]:
    """The samples of two tissues; none if the tissues are too small for the grid."""
    try:
        return find_tissues(maps, mask)
    except InputError:
        return ()


def _compare(samples: Samples, known: npt.NDArray[np.bool_]) -> tuple[float, float]:
    """The coefficient of joint variation before and after; NaN where there is none."""
    if samples.before is None:
        return np.nan, np.nan
    used = known & np.isfinite(samples.before) & (samples.before > 0)
    first = samples.before[used]
    classes: tuple[Inside, ...] | None = tuple(one[used] for one in samples.tissues)
    if not classes:
        classes = _find_classes(samples.before, used, samples.reach)
    if classes is None:
        return np.nan, np.nan
    one, other = classes
    with np.errstate(all="ignore"):  # a field next to 0 or without bounds gives no measure
        last = first / np.exp(samples.log_bias[used])
        before, after = (_measure_joint_variation(values, one, other) for values in (first, last))
    return before, after


def _find_classes(
    image: Floats, used: npt.NDArray[np.bool_], reach: list[float]
) -> tuple[npt.NDArray[np.bool_], npt.NDArray[np.bool_]] | None:
    """The two largest of three classes of the image less its local mean, among the used voxels."""
    logs = np.log(image, out=np.zeros(image.shape), where=used)
    near = smooth(used.astype(np.float64), reach)
    levelled = logs[used] - smooth(logs, reach)[used] / near[used]
    if levelled.size == 0:
        return None
    ends = np.percentile(levelled, (1, 99))
    try:
        thresholds = find_thresholds(np.clip(levelled, *ends), _CLASSES - 1)
    except InputError:  # there are too few different intensities
        return None
    ranks = np.searchsorted(thresholds, levelled)
    voxels = np.bincount(ranks, minlength=_CLASSES)
    # The sort is stable, so that the darker of two classes with as many voxels is taken.
    one, other = np.argsort(-voxels, kind="stable")[:2]
    return ranks == one, ranks == other


def _measure_joint_variation(
    values: Floats, one: npt.NDArray[np.bool_], other: npt.NDArray[np.bool_]
) -> float:
    first, second = values[one], values[other]
    if not (first.size and second.size):
        return np.nan
    distance = abs(first.mean() - second.mean())
    return float((first.std() + second.std()) / distance) if distance > 0 else np.nan


def _round(value: float) -> float | None:
    """Six digits of a number, since people read the files too."""
    return float(f"{value:.6g}") if isfinite(value) else None
