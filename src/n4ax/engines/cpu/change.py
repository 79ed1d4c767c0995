"""The stopping measure of an iteration: predicted, or computed with the bits that ITK gives.

:mod:`n4ax.method.convergence` says what is computed. ITK takes one voxel after another. Here the
voxels are cut into pieces of some thousands. At first, threads compute the ratios of some pieces,
and one thread replays the recurrence on them. Once no voxel moves mu any more, threads sum up what
the pieces add to sigma, each in the ulps that sigma is expected to have there. One thread then
follows sigma from piece to piece. It replays a piece where something else holds than was expected.
Where the pieces are cut depends on the mask alone, and so does the result.
"""

from typing import Any, NamedTuple, Protocol

import numpy as np
import numpy.typing as npt

from n4ax.engines.cpu.kernels.recurrence import accept_pieces, replay
from n4ax.engines.cpu.prediction import Course, Predictor
from n4ax.engines.cpu.recurrence import (
    Running,
    exact_variation,
    finish_running,
    start_running,
)
from n4ax.method.convergence import (
    CORRECTED_BIAS,
    FAR,
    FINE,
    MEDIUM,
    ROUGH,
    SETTLED_BIAS,
    STAGES,
    Prediction,
    Samples,
    choose_samples,
    is_above,
    is_below,
    may_decide,
)

FIRST = 4
"""So many pieces are replayed at a time, until none of their voxels moves mu."""


class Voxels(Protocol):
    """The voxels that count of one image, in pieces. ``fields`` are those of an iteration, the
    field after and before it, in the form of the engine.
    """

    @property
    def number(self) -> npt.NDArray[np.int64]:
        """Voxels before each piece, and in total."""
        ...

    def locate(self, samples: Samples) -> Any:
        """Where some voxels lie."""
        ...

    def compute_steps(self, places: Any, fields: Any, steps: npt.NDArray[np.float32]) -> None:
        """Set ``steps`` to old field less new field at the voxels that were located."""
        ...

    def compute_ratios(self, first: int, stop: int, fields: Any) -> npt.NDArray[np.float32]:
        """exp(old field - new field) of the voxels of some pieces, in ITK's order."""
        ...

    def sum_pieces(
        self, fields: Any, first: int, running: Running, units: npt.NDArray[np.float64]
    ) -> npt.NDArray[np.float64]:
        """What the pieces from ``first`` on add to sigma, each in its ``units``.

        :func:`n4ax.engines.cpu.recurrence.sum_voxels` does that for some voxels.
        """
        ...


class _Located(NamedTuple):
    predictor: Predictor
    places: Any


class ChangeMeter:
    """Measures how much iterations change the field on the voxels of one image.

    Parameters
    ----------
    voxels
        The voxels.
    exact
        Whether the measure is the true coefficient of variation, and not ITK's.
    """

    def __init__(self, voxels: Voxels, exact: bool) -> None:
        self._voxels = voxels
        self._exact = exact
        self._located: dict[int, _Located] = {}
        self.begin_level()

    def begin_level(self) -> None:
        """Begin with the iterations of a level. Those of the last level say nothing of them."""
        self._stage = ROUGH
        self._correction: float | None = None

    def measure_up_to(self, threshold: float, fields: Any) -> float:
        """The measure, or an infinity on the side of the threshold where it certainly is.

        Parameters
        ----------
        threshold
            The threshold. With infinity, the measure is computed in any case.
        fields
            The field after and before the iteration.
        """
        course: Course | None = None
        stage, measure = self._stage, np.inf

        def predict_from(count: int) -> Prediction:
            nonlocal course, stage, measure
            prediction, course = self.predict(count, fields)
            stage, measure = count, prediction.measure
            return prediction

        voxels = int(self._voxels.number[-1])
        decides = may_decide(predict_from, threshold, voxels, self._stage)
        if decides:
            stage = min((count for count in STAGES if voxels <= 2 * count), default=FINE)
            measure = self._compute(fields, course, threshold)
        # The next measure is likely to be as near to the threshold.
        if threshold < np.inf:
            self._stage = ROUGH if measure > FAR * threshold else stage
        return measure if decides else np.inf

    def _compute(self, fields: Any, course: Course | None, threshold: float) -> float:
        if not self._exact:
            return self._replay(fields, course, threshold)
        pieces = len(self._voxels.number) - 1
        return exact_variation(self._voxels.compute_ratios(0, pieces, fields))

    def predict(self, count: int, fields: Any) -> tuple[Prediction, Course]:
        """Predict the measure from about ``count`` voxels, and how sigma grows."""
        if count not in self._located:
            samples = choose_samples(int(self._voxels.number[-1]), count)
            predictor = Predictor(samples, self._exact)
            self._located[count] = _Located(predictor, self._voxels.locate(samples))
        predictor, places = self._located[count]
        self._voxels.compute_steps(places, fields, predictor.steps)
        return predictor.predict()

    def _replay(self, fields: Any, course: Course | None, threshold: float) -> float:
        """The measure as ITK computes it, or an infinity, as :meth:`measure_up_to` says.

        ``course`` is what was predicted of sigma, if at all.
        """
        pieces = len(self._voxels.number) - 1
        running = start_running()
        prediction: Prediction | None = None
        at, settled = 0, False
        while at < pieces:
            if settled:
                course = course or self.predict(MEDIUM, fields)[1]
                at, settled = self._add_sums(at, fields, course, running)
                continue
            mean = running[1]
            stop = min(at + FIRST, pieces)
            replay(self._voxels.compute_ratios(at, stop, fields), running)
            at, settled = stop, running[1] == mean
            if settled and at < pieces and threshold < np.inf and FINE in self._located:
                # Now that mu is known, the last prediction can be made anew.
                predictor = self._located[FINE].predictor
                done = int(self._voxels.number[at])
                found, course = predictor.predict(done, running)
                if prediction is None:
                    prediction = found
                    side = self._find_side(prediction, threshold)
                    if side:
                        return side
        measure = finish_running(running)
        if prediction is not None and prediction.measure > 0:
            self._correction = measure / prediction.measure
        return measure

    def _find_side(self, prediction: Prediction, threshold: float) -> float:
        """An infinity on the side of the threshold where the measure certainly is; or else 0."""
        bias = SETTLED_BIAS
        if self._correction is not None:
            measure = prediction.measure * self._correction
            prediction, bias = Prediction(measure, 0.0, measure), CORRECTED_BIAS
        voxels = int(self._voxels.number[-1])
        if is_above(prediction, threshold, voxels, bias):
            return np.inf
        return -np.inf if is_below(prediction, threshold, voxels, bias) else 0.0

    def _add_sums(self, at: int, fields: Any, course: Course, running: Running) -> tuple[int, bool]:
        """Add the pieces from ``at`` on, until a voxel moves mu or some are done.

        Four times as many are taken at once as there are already, so that little is in vain. The
        result is the next piece, and whether mu has stayed.
        """
        number = self._voxels.number
        stop = min(4 * at, len(number) - 1)
        units = course.expect_ulps(number[at:stop], running[2])
        mean, first = running[1], at
        added = self._voxels.sum_pieces(fields, at, running, units)
        while at < stop and running[1] == mean:
            rest = slice(at - first, None)
            at += int(accept_pieces(running, number, at, units[rest], added[rest]))
            if at < stop:
                replay(self._voxels.compute_ratios(at, at + 1, fields), running)
                at += 1
        return at, running[1] == mean
