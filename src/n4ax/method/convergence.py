"""The stopping measure: how much one iteration has changed the bias field.

It stands for the coefficient of variation of p = exp(old field - new field) over the included
voxels. ITK accumulates it in one pass with float32 sums,

    sigma <- fl(sigma + fl((p - mu)^2) (n - 1) / n),   mu <- fl(mu (1 - 1/n) + p / n),

in the order of the voxels. The result is far from the coefficient of variation (up to 3 times as
large on heads), because mu stops moving once |p - mu| / n is less than half an ulp of mu, and
sigma loses its small addends. ITK's value decides where a level ends, so each engine replays the
recurrence, but only where its value can decide something.
"""

from collections.abc import Callable
from typing import Any

FEW, MANY = 64, 2048
"""The change of the field is judged on about so many stretches of the voxels: on few at first,
which is enough while the field changes much."""


def may_decide(variation: Any, threshold: Any, voxels: Any) -> Any:
    """Whether ITK's value could be at or below the threshold, given roughly the true variation.

    Rounding of the running sums can take up to ``voxels / 2**24`` of ITK's value. Apart from that,
    ITK's value was never seen more than 3 % below the true one. A factor of 1.5 leaves a margin.

    Parameters
    ----------
    variation
        The coefficient of variation, roughly; NumPy or JAX. NaN may decide.
    threshold
        The convergence threshold.
    voxels
        Number of included voxels.
    """
    tiny = ~(variation > 1e-6) & (threshold >= 0)
    return tiny | (variation < threshold * (1.5 + voxels / 2**23))


def may_decide_by_parts(
    estimate: Callable[[int], tuple[Any, Any]], threshold: Any, voxels: int
) -> bool:
    """Whether ITK's value could be at or below the threshold, judged on a part of the voxels.

    Parameters
    ----------
    estimate
        Gives the coefficient of variation of about so many stretches of voxels, and the share of
        all voxels that they are, as numbers of NumPy.
    threshold, voxels
        As for :func:`may_decide`.
    """
    variation, share = estimate(FEW)
    # The variance of a part, times its share of the voxels, is at most the variance of all.
    if not may_decide(variation * share**0.5, threshold, voxels):
        return False
    variation, _ = estimate(MANY)
    return bool(may_decide(variation, threshold, voxels))
