"""Kernels that predict the stopping measure from a sample of the voxels."""

# pyright: reportCallIssue=false, reportArgumentType=false

import numpy as np
from numpy import float32, float64, int64

from n4ax.engines.compiled.kernel import compile_kernel
from n4ax.engines.cpu.kernels.evaluation import exponentiate
from n4ax.engines.cpu.kernels.recurrence import find_binade_end
from n4ax.method.convergence import STANDSTILL

_NEAR_ONE = 2.0**-21
"""mu may come to stand at 1 if it comes as near to 1 from below as this."""


@compile_kernel()
def estimate_variation(step, weight, ratio, found):
    """Set ``found`` to the coefficient of variation, its relative standard error, and itself."""
    exponentiate(step, len(step), ratio)
    total, mean, squares, errors = 0.0, 0.0, 0.0, 0.0
    for k in range(len(ratio)):
        total += weight[k]
        mean += weight[k] * ratio[k]
    mean /= total
    for k in range(len(ratio)):
        square = weight[k] * (float64(float32(ratio[k])) - mean) ** 2
        squares += square
        errors += square * square
    found[0], found[1] = np.sqrt(squares / (total - 1.0)) / mean, 0.5 * np.sqrt(errors) / squares
    found[2] = found[0]


@compile_kernel()
def run_recurrence(change, weight, ratio, begin, course, found):
    """Run ITK's recurrence over the samples, and set ``found`` to what was predicted.

    These are the measure, its error, and the least that the measure may be, apart from these.
    ``begin`` holds the first sample, how many of its voxels are still to come, and ITK's count, mu
    and sigma before them. From the first voxel on, they are all 0.

    ``course`` takes sigma after each sample. In ITK the voxels that a sample stands for would add
    to mu one after another; here they do so at once, from where mu stood before.

    The error is that of independent samples while mu may move. Once mu is known, it is that of
    samples along a smooth change, and comes from the differences of neighbours.
    """
    exponentiate(change, len(change), ratio)
    first, count, mu, sigma = int64(begin[0]), begin[2], begin[3], begin[4]
    if count == 0.0:
        first, count, mu = 1, 1.0, float64(float32(ratio[0]))
        course[0] = 0.0
    errors, differences, last, lowest = 0.0, 0.0, 0.0, np.inf
    total, steps, squares, unit, per_unit, end = 0.0, 0.0, 0.0, 0.0, 0.0, 0.0
    for k in range(first, len(ratio)):
        w = begin[1] if k == begin[0] and begin[2] > 0.0 else float64(weight[k])
        share = 1.0 / min(count + 0.5 * (w + 1.0), float64(STANDSTILL))
        gap = float64(float32(ratio[k])) - mu
        addend = gap * gap * (1.0 - share)
        if sigma >= end:
            unit, per_unit, end = _measure_binade(sigma)
        step = ratio[k] - 1.0
        total, steps, squares = total + w, steps + w * step, squares + w * step * step
        added = w * (np.rint(addend * per_unit) * unit if unit > 0.0 else addend)
        sigma += added
        errors += added * added
        differences += (added - last) * (added - last)
        last = added
        # At 1, the next number below is half as far away as the next above.
        ulps = 2.0**23 if mu > 1.0 or (mu == 1.0 and gap > 0.0) else 2.0**24
        moved = gap * share * ulps
        if abs(moved) < 2.0 and mu < lowest and mu >= 1.0 - _NEAR_ONE:
            lowest = mu
        if not abs(moved) < 0.5:  # seldom, so that the processor need not wait for mu
            mu = float64(float32(mu + w * np.rint(moved) / ulps))
        count += w
        course[k] = sigma
    degrees = min(count, float64(STANDSTILL)) - 1.0
    is_known = begin[2] > 0.0
    found[0] = found[2] = np.sqrt(sigma / degrees) / mu
    found[1] = 0.5 * np.sqrt(0.5 * differences if is_known else errors) / sigma
    spread = np.sqrt(max((squares - steps * steps / total) / (total - 1.0), 0.0))
    # The mean is below 1, but the sample may have let mu stand there, or just above.
    if not is_known and steps < 0.0 and lowest <= 1.0 + 4.0 * spread / np.sqrt(len(ratio)):
        found[2] = min(found[0], spread / (1.0 + steps / total))


@compile_kernel()
def _measure_binade(value):
    """Return the float32 ulp of ``value``, its inverse, and the end of its binade; 0 for 0."""
    if not (value > 0.0 and value < np.inf):
        return 0.0, 0.0, 0.0
    end = find_binade_end(value)
    return end * 2.0**-24, 2.0**24 / end, end
