"""One ``Execute``: what its numbers depend on, how far it has come, and how to repeat it."""

from dataclasses import dataclass, replace
from math import isnan, nan

import numpy as np

from n4ax.engines.measures import Measures
from n4ax.field import BiasField
from n4ax.inputs import Inputs, Run
from n4ax.method.solver import Progress
from n4ax.pipeline import fit_image
from n4ax.result import N4Result
from n4ax.settings import N4Settings

_NO_ITERATION = float(np.finfo(np.float32).max)
"""ITK's convergence measure at a level without iterations."""


@dataclass(eq=False)
class Execution:
    """One call of ``Execute``, which runs N4 once.

    Attributes
    ----------
    settings, inputs, num_threads
        Everything that the numbers depend on, and the number of threads. The inputs are copies,
        so that the run can be repeated after the user has changed the images.
    level
        The level of the most recent iteration, from 0; after the run, the number of levels.
    elapsed
        The number of that iteration, from 1 at each level; after the run, one more than the
        iterations of the last level, as in SimpleITK.
    measure
        The convergence measure of that iteration; NaN if it was not computed yet.
    field
        The bias field; ``None`` until the run has ended.
    """

    settings: N4Settings
    inputs: Inputs
    num_threads: int
    level: int = 0
    elapsed: int = 0
    measure: float = 0.0
    field: BiasField | None = None
    _measures: Measures | None = None

    def solve(self, progress: Progress | None) -> N4Result:
        """Run N4 to its end and keep the field; ``progress`` is called after every iteration."""
        result = fit_image(
            self.settings, self.inputs, Run(num_threads=self.num_threads, progress=progress)
        )
        self.record_iteration(len(result.iterations), result.iterations[-1] + 1, nan)
        self.field, self._measures = result.field, result.measures
        return result

    def record_iteration(self, level: int, elapsed: int, measure: float) -> None:
        """Note how far the run has come."""
        self.level, self.elapsed, self.measure = int(level), int(elapsed), float(measure)

    def find_measure(self) -> float:
        """The convergence measure; it is computed if it was not needed on the way."""
        if isnan(self.measure) and self._measures is not None:
            last = self._measures.read_last()
            self.measure = _NO_ITERATION if last is None else last
        return self.measure

    def find_field(self) -> BiasField:
        """The field; before the end of the run, repeats the iterations that have been done.

        Raises
        ------
        RuntimeError
            No iteration has been done yet.
        """
        if self.field is not None:
            return self.field
        if self.elapsed == 0:
            raise RuntimeError("GetLogBiasFieldAsImage: no iteration has been done yet")
        iters = (*self.settings.iters[: self.level], self.elapsed)
        # While an XLA program waits for a command to return, no other XLA program can run.
        run = Run(engine="cpu", num_threads=self.num_threads)
        return fit_image(replace(self.settings, iters=iters), self.inputs, run).field
