"""The stopping measure: how much one iteration has changed the bias field.

It stands for the coefficient of variation of p = exp(old field - new field) over the included
voxels. ITK accumulates it in one pass with float32 sums,

    sigma <- fl(sigma + fl((p - mu)^2) (n - 1) / n),   mu <- fl(mu (1 - 1/n) + p / n),

in the order of the voxels. The result is far from the coefficient of variation (up to 3.7 times
as large on heads), because mu stops moving once |p - mu| / n is less than half an ulp of mu, and
sigma loses its small addends. ITK's value decides where a level ends, so an engine computes it
with ITK's bits, but only where it can decide something. Elsewhere a prediction is enough.

The prediction runs the same recurrence over a sample of the voxels. A voxel of the sample stands
for its neighbours: it moves mu and sigma as often, each time by the same rounded amount. The first
voxels all belong to the sample, and later ones ever fewer, as the running values move ever less.

Where mu stops moving depends on its last bits, above all near 1, where its ulp changes. So it can
stop elsewhere in the prediction, and the measure then is up to a third smaller than predicted. But
it is hardly smaller than the coefficient of variation, because the squares of the distances from
any other number than the mean are larger in sum. Before mu is known, a measure counts as certainly
above the threshold only if both are.
"""

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

STANDSTILL = 1 << 24
"""ITK's count of voxels is float32, and stops growing here."""

STAGES = ROUGH, COARSE, MEDIUM, FINE = 128, 512, 2048, 16384
"""About how many voxels the predictions look at. A finer one is made only if the one before is not
clear."""

BIAS = 0.08
"""The least of a prediction may be too large by this share, apart from the error of sampling."""

SETTLED_BIAS = 0.02
"""The same once mu has settled and is known, so that the sample has only to tell sigma."""

CORRECTED_BIAS = 0.015
"""The same if the prediction of an earlier iteration of the level could be held against its
measure, and is as far off: this share changes by up to 0.004 while the measure falls by a fifth."""

BIAS_OF_MANY = 0.05
"""It may be off by as much more for every ``STANDSTILL`` voxels, since sigma then loses most of
its addends, and which ones depends on its last bits."""

STANDARD_ERRORS = 5
"""The sampling may be off by this many standard errors."""


class Samples(NamedTuple):
    """Some of the voxels that count, in ITK's order.

    Attributes
    ----------
    voxel
        Their numbers, from 0.
    weight
        How many voxels each of them stands for. The voxels that it stands for follow those of the
        sample before it.
    """

    voxel: npt.NDArray[np.int64]
    weight: npt.NDArray[np.int64]


class Prediction(NamedTuple):
    """What the recurrence over a sample gave; numbers of Python, NumPy or JAX.

    Attributes
    ----------
    measure
        The predicted measure.
    error
        Its relative standard error, as far as it comes from the sampling.
    least
        The least that the measure may be, apart from this error. It is the lesser of the predicted
        measure and the coefficient of variation while it is not known where mu stops moving.
    """

    measure: Any
    error: Any
    least: Any


def choose_samples(voxels: int, count: int) -> Samples:
    """Choose ``count`` samples or somewhat more.

    The voxels are cut into ranges. These double in length from time to time, up to one in
    ``count`` parts of all voxels. Where a sample lies in its range follows the multiples of the
    golden ratio, so that samples do not line up with rows.
    """
    longest = max(1, voxels // count)
    starts: list[npt.NDArray[np.int64]] = []
    at, length = 0, 1
    while at < voxels:
        stop = voxels if length == longest else min(count // 4 * length, voxels)
        starts.append(np.arange(at, stop, length, dtype=np.int64))
        at = int(starts[-1][-1]) + length
        length = min(2 * length, longest)
    start = np.concatenate(starts)
    weight = np.diff(start, append=voxels)
    shift = (np.arange(len(start)) * ((5**0.5 - 1) / 2)) % 1.0
    return Samples(start + (shift * weight).astype(np.int64), weight)


def is_above(prediction: Prediction, threshold: Any, voxels: Any, bias: float = BIAS) -> Any:
    """Whether the measure is certainly above the threshold, given a prediction and its bias.

    This is never certain of a measure near the rounding errors of the fields, nor of one so large
    that the recurrence may leave the range of numbers. NaN is not certain either.
    """
    measure, error, least = prediction
    share = _find_margin(error, voxels, bias)
    return (least * (1.0 - share) > threshold) & (least > 1e-6) & (measure < 1.0)


def is_below(prediction: Prediction, threshold: Any, voxels: Any, bias: float) -> Any:
    """Whether the measure is certainly not above the threshold, as in :func:`is_above`."""
    measure, error, _ = prediction
    share = _find_margin(error, voxels, bias)
    return (measure * (1.0 + share) <= threshold) & (measure > 1e-6)


def _find_margin(error: Any, voxels: Any, bias: float) -> Any:
    """The share by which a prediction may be off."""
    return bias + BIAS_OF_MANY * voxels / STANDSTILL + STANDARD_ERRORS * error


FAR = 1.5
"""A measure is far from the threshold if it is above so many times the threshold."""


def may_decide(
    predict: Callable[[int], Prediction], threshold: float, voxels: int, begin: int = ROUGH
) -> bool:
    """Whether the measure may be at or below the threshold, as far as predictions tell.

    Parameters
    ----------
    predict
        Predicts the measure from about so many voxels.
    threshold
        The convergence threshold.
    voxels
        Number of voxels that count.
    begin
        The first of ``STAGES`` that is of use; the ones before would not be clear.
    """
    if threshold == np.inf:
        return True
    for count in STAGES[STAGES.index(begin) :]:
        if voxels <= 2 * count:
            return True  # the measure itself takes hardly longer than a prediction
        if is_above(predict(count), threshold, voxels):
            return False
    return True
