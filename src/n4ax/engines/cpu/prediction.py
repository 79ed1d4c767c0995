"""The stopping measure, predicted from a sample of the voxels."""

from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from n4ax.engines.cpu.kernels.prediction import estimate_variation, run_recurrence
from n4ax.method.convergence import Prediction, Samples


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
    found = np.empty(2)
    if exact:
        estimate_variation(step, samples.weight, ratio, found)
    else:
        run_recurrence(step, samples.weight, ratio, squares, found)
    return Prediction(*found), Course(number, squares)
