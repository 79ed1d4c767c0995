"""The stopping measure, predicted from a sample of the voxels (XLA).

:mod:`n4ax.method.convergence` says how. The running values are improved from a guess, as in
:mod:`n4ax.engines.xla.recurrence`. For a prediction a fixed number of rounds is enough.
"""

import jax.numpy as jnp
from jax import Array, lax

from n4ax.engines.xla.box import running_sum
from n4ax.engines.xla.recurrence import ratios
from n4ax.engines.xla.rounding import binade
from n4ax.method.convergence import STANDSTILL, Prediction

ROUNDS = 16
"""mu is improved so often, from the mean of all voxels so far."""


def predict(step: Array, weight: Array, exact: bool) -> Prediction:
    """Predict the measure.

    Parameters
    ----------
    step
        Old field less new field at the samples, float32.
    weight
        How many voxels each sample stands for, float64; 0 if it does not count.
    exact
        Whether the measure is the true coefficient of variation, and not ITK's.
    """
    p = ratios(step).astype(jnp.float64)
    number = running_sum(weight)
    mean = running_sum(weight * p) / jnp.maximum(number, 1.0)
    variation = _judge(weight * (p - mean[-1]) ** 2, number[-1], mean[-1])
    if exact:
        return variation
    middle = number - 0.5 * (weight - 1.0)
    share = 1.0 / jnp.clip(middle, 1.0, float(STANDSTILL))

    def improve_mean(_: int, mean: Array) -> Array:
        before = _shift(mean)
        gap = p - before
        # At 1, the next number below is half as far away as the next above.
        ulps = jnp.where((before > 1.0) | ((before == 1.0) & (gap > 0.0)), 2.0**23, 2.0**24)
        return running_sum(weight * jnp.rint(gap * share * ulps) / ulps)

    mean = lax.fori_loop(0, ROUNDS, improve_mean, mean)
    addend = (p - _shift(mean)) ** 2 * (1.0 - share)

    def improve_squares(_: int, squares: Array) -> Array:
        unit = binade(jnp.maximum(_shift(squares), 1e-30)) * 2.0**-23
        return weight * jnp.rint(addend / unit) * unit

    added = lax.fori_loop(
        0, 2, lambda k, added: improve_squares(k, running_sum(added)), weight * addend
    )
    prediction = _judge(added, jnp.minimum(number[-1], float(STANDSTILL)), mean[-1])
    return prediction._replace(least=jnp.minimum(prediction.measure, variation.measure))


def _judge(added: Array, number: Array, mean: Array) -> Prediction:
    """The measure, given what each sample adds to sigma."""
    squares = added.sum()
    error = 0.5 * jnp.sqrt((added * added).sum()) / squares
    measure = jnp.sqrt(squares / (number - 1.0)) / mean
    return Prediction(measure, error, measure)


def _shift(values: Array) -> Array:
    """The running values before each voxel."""
    return jnp.concatenate([jnp.zeros(1), values[:-1]])
