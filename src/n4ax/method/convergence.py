"""The stopping measure: how much one iteration has changed the bias field.

It stands for the coefficient of variation of p = exp(old field - new field) over the included
voxels. ITK accumulates it in one pass with float32 sums,

    sigma <- fl(sigma + fl((p - mu)^2) (n - 1) / n),   mu <- fl(mu (1 - 1/n) + p / n),

in the order of the voxels, and the result is far from the coefficient of variation (up to 3
times it on heads): mu stops moving once |p - mu| / n is under half an ulp of it, and sigma loses
its small addends. Levels end where ITK's value says so, so each engine replays the recurrence;
but only where it can decide something.
"""

from typing import Any


def may_decide(variation: Any, threshold: Any, voxels: Any) -> Any:
    """Whether ITK's value could be at or below the threshold, given about the true variation.

    Rounding of the running sums can take up to ``voxels / 2**24`` of ITK's value; beyond that
    ITK's value was never seen more than 3 % under the true one. A factor of 1.5 is kept.
    Numbers are NumPy's or JAX's; a variation that is not a number may decide.
    """
    tiny = ~(variation > 1e-6) & (threshold >= 0)
    return tiny | (variation < threshold * (1.5 + voxels / 2**23))
