"""The stopping measure, predicted from a sample of the voxels."""

from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from n4ax.engines.cpu.kernels.prediction import estimate_variation, run_recurrence
from n4ax.engines.cpu.recurrence import Running
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


class Predictor:
    """Predicts the measure from the change of the field at some samples.

    Attributes
    ----------
    steps
        Old field less new field at each sample, to be filled in before a prediction.

    Parameters
    ----------
    samples
        The samples.
    exact
        Whether the measure is the true coefficient of variation, and not ITK's.
    """

    def __init__(self, samples: Samples, exact: bool) -> None:
        count = len(samples.weight)
        self.steps = np.empty(count, np.float32)
        self._course = Course(np.cumsum(samples.weight), np.empty(count))
        self._begin, self._found = np.zeros(5), np.empty(3)
        room = (self.steps, samples.weight, np.empty(count))
        if exact:
            self._run = estimate_variation.bind(*room, self._found)
        else:
            self._run = run_recurrence.bind(*room, self._begin, self._course.squares, self._found)

    def predict(self, done: int = 0, running: Running | None = None) -> tuple[Prediction, Course]:
        """Predict the measure, and how sigma grows; the next call overwrites the latter.

        ``running`` are the running values when ``done`` voxels are done, if these are known.
        """
        self._begin[:] = 0.0
        if running is not None:
            sample = np.searchsorted(self._course.number, done, side="right")
            left = self._course.number[sample] - done
            self._begin[:] = sample, left, done, running[1], running[2]
        self._run(0, 0)
        return Prediction(*self._found.tolist()), self._course
