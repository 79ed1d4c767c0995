"""The stopping measure, predicted from a sample of the voxels by compiled code (numba)."""

# pyright: reportCallIssue=false, reportArgumentType=false

import math
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
from numba import float32, float64

from n4ax.engines.cpu.compiled import compile_kernel
from n4ax.engines.cpu.kernels.evaluation import exponentiate
from n4ax.method.convergence import STANDSTILL, Prediction, Samples


class Course(NamedTuple):
    """How sigma is predicted to grow.

    Attributes
    ----------
    number
        Voxels up to the end of those that each sample stands for.
    squares
        sigma after these.
    """

    number: npt.NDArray[np.int64]
    squares: npt.NDArray[np.float64]

    def expect_ulps(
        self, number: npt.NDArray[np.int64], squares: np.float64
    ) -> npt.NDArray[np.float64]:
        """The ulps that sigma is expected to have after so many voxels.

        ``squares`` is sigma after the first of these numbers, which is known.
        """
        course = np.interp(number, self.number, self.squares)
        share = squares / course[0] if course[0] > 0 else 1.0
        return np.spacing((share * course).astype(np.float32)).astype(np.float64)


def predict(
    step: npt.NDArray[np.float32], samples: Samples, exact: bool
) -> tuple[Prediction, Course]:
    """Predict the measure from the change of the field at the samples.

    Parameters
    ----------
    step
        Old field less new field at each sample.
    samples
        The samples.
    exact
        Whether the measure is the true coefficient of variation, and not ITK's.
    """
    ratio = np.empty(len(step))
    number = np.cumsum(samples.weight)
    squares = np.empty(len(step))
    if exact:
        measure, error = _estimate_variation(step, samples.weight, ratio)
    else:
        measure, error = _run_recurrence(step, samples.weight, ratio, squares)
    return Prediction(measure, error), Course(number, squares)


@compile_kernel()
def _estimate_variation(step, weight, ratio):
    """Return the coefficient of variation and its relative standard error."""
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
    return np.sqrt(squares / (total - 1.0)) / mean, 0.5 * np.sqrt(errors) / squares


@compile_kernel()
def _run_recurrence(step, weight, ratio, course):
    """Run ITK's recurrence over the samples; return the measure and its relative standard error.

    ``course`` takes sigma after each sample. In ITK the voxels that a sample stands for would add
    to mu one after another; here they do so at once, from where mu stood before.
    """
    exponentiate(step, len(step), ratio)
    mu, sigma, errors, count = float64(float32(ratio[0])), 0.0, 0.0, 1.0
    course[0] = 0.0
    unit, per_unit, end = 0.0, 0.0, 0.0
    for k in range(1, len(ratio)):
        w = float64(weight[k])
        share = 1.0 / min(count + 0.5 * (w + 1.0), float64(STANDSTILL))
        gap = float64(float32(ratio[k])) - mu
        addend = gap * gap * (1.0 - share)
        if sigma >= end:
            unit, per_unit, end = _measure_binade(sigma)
        added = w * (np.rint(addend * per_unit) * unit if unit > 0.0 else addend)
        sigma += added
        errors += added * added
        # At 1, the next number below is half as far away as the next above.
        ulps = 2.0**23 if mu > 1.0 or (mu == 1.0 and gap > 0.0) else 2.0**24
        mu = float64(float32(mu + w * np.rint(gap * share * ulps) / ulps))
        count += w
        course[k] = sigma
    degrees = min(count, float64(STANDSTILL)) - 1.0
    return np.sqrt(sigma / degrees) / mu, 0.5 * np.sqrt(errors) / sigma


@compile_kernel()
def _measure_binade(value):
    """Return the float32 ulp of ``value``, its inverse, and the end of its binade; 0 for 0."""
    if not value > 0.0:
        return 0.0, 0.0, 0.0
    _, exponent = math.frexp(value)
    return 2.0 ** (exponent - 24), 2.0 ** (24 - exponent), 2.0**exponent
