"""The convergence measures of all iterations of a run, computed when someone asks for them.

A run computes the measure only where it can end a level. The lattices after all iterations, which
are small, and the mask are enough to compute the others later.
"""

from collections.abc import Iterable, Iterator
from math import ceil, log, prod
from typing import Any

import numpy as np
import numpy.typing as npt

from n4ax.engines.cpu.threads import make_threads
from n4ax.errors import explain_shortage
from n4ax.method.problem import Problem
from n4ax.method.solver import Engine, Solution, State
from n4ax.settings import N4Settings

Lists = list[list[float]]
"""A number for each iteration of each level."""


class Measures:
    """The convergence measure of every iteration.

    Parameters
    ----------
    problem
        The problem that was solved; of several, the first. Its arrays may change later.
    settings
        The parameters of N4.
    state, solution
        What the solver has found.
    num_threads
        Number of threads that compute them; ``None`` for the default.
    """

    def __init__(
        self,
        problem: Problem,
        settings: N4Settings,
        state: State,
        solution: Solution,
        num_threads: int | None = None,
    ) -> None:
        self._values = solution.convergence
        self._num_threads = num_threads
        self._path: list[list[npt.NDArray[np.float32]]] = []
        if state.path is None:
            return
        self._settings = settings
        self._axes = problem.axes
        self._control_points = problem.control_points
        self._shape = problem.included.shape
        included = problem.included
        # A JAX array cannot change. It is fetched when it is needed.
        self._included = np.packbits(included) if isinstance(included, np.ndarray) else included
        self._path = _list_path(state.path, solution.iterations, problem, settings)

    def read(self) -> Lists:
        """The measures; NaN where there is none, or where it cannot be known."""
        self._fill((i, j) for i, level in enumerate(self._values) for j in range(len(level)))
        self._path = []
        return self._values

    def read_ends(self) -> list[float | None]:
        """The measure of the last iteration of each level; ``None`` for a level that has none."""
        self._fill({(i, len(level) - 1) for i, level in enumerate(self._values) if level})
        return [level[-1] if level else None for level in self._values]

    def read_last(self) -> float | None:
        """The measure of the last iteration; ``None`` if the last level has none."""
        *_, last = self._values
        if last:
            self._fill({(len(self._values) - 1, len(last) - 1)})
        return last[-1] if last else None

    def read_sketch(self) -> Lists:
        """Enough of the measures for a curve; NaN where one is not known.

        The measure falls fast at first, so that the iterations 1, 8, 64 and so on of a level and
        its last one show how it went. Those that the run needed are known anyway.
        """
        places = {
            (i, min(8**k, len(level)) - 1)
            for i, level in enumerate(self._values)
            for k in range(ceil(log(len(level), 8)) + 1 if level else 0)
        }
        self._fill(places)
        return [list(level) for level in self._values]

    @explain_shortage()
    def _fill(self, places: Iterable[tuple[int, int]]) -> None:
        """Compute the measures of some iterations, given by level and number from 0."""
        unknown = {(level, j) for level, j in places if np.isnan(self._values[level][j])}
        for level, iteration, measure in self._compute(unknown):
            self._values[level][iteration] = measure

    def _compute(self, places: set[tuple[int, int]]) -> Iterator[tuple[int, int, float]]:
        """Give the measures of some iterations with their places."""
        if not self._path or not places:
            return
        problem = self._make_problem()
        with make_threads([problem], self._num_threads) as threads:
            engine: Engine[Any, Any]
            if self._settings.arithmetic == "itk":
                from n4ax.engines.itk.engine import ItkEngine

                engine = ItkEngine(problem, self._settings, threads)
            else:
                from n4ax.engines.cpu.engine import CpuEngine

                engine = CpuEngine(problem, self._settings, threads)
            yield from _follow(engine, self._path, places)

    def _make_problem(self) -> Problem:
        """Make a problem with the same voxels and mesh; intensities do not matter."""
        included = self._included
        if isinstance(included, np.ndarray):
            included = np.unpackbits(included, count=prod(self._shape))
        return Problem(
            intensities=np.ones(self._shape, np.float32),
            included=np.asarray(included).astype(bool).reshape(self._shape),
            weights=None,
            axes=self._axes,
            control_points=self._control_points,
        )


def _list_path(
    path: Any, iterations: list[int], problem: Problem, settings: N4Settings
) -> list[list[npt.NDArray[np.float32]]]:
    """List the lattices of each level, without the padding that those of XLA have."""
    order = settings.spline_order
    path = np.asarray(path)
    lattices = []
    for level, count in enumerate(iterations):
        corner = tuple(slice((n - order) * 2**level + order) for n in problem.control_points)
        lattices.append([lattice[corner] for lattice in path[level, :count]])
    return lattices


def _follow(
    engine: Engine[Any, Any],
    path: list[list[npt.NDArray[np.float32]]],
    places: set[tuple[int, int]],
) -> Iterator[tuple[int, int, float]]:
    """Measure some iterations by the lattices that the solver went through."""
    meshes = [engine.mesh(level) for level in range(len(path))]
    went = [(level, i) for level, lattices in enumerate(path) for i in range(len(lattices))]

    def expand(number: int) -> Any:
        if number < 0:
            return engine.expand(meshes[0], engine.no_lattice())
        level, iteration = went[number]
        return engine.expand(meshes[level], path[level][iteration])

    number_of_field, field = None, None
    for number, (level, iteration) in enumerate(went):
        if (level, iteration) not in places:
            continue
        before = field if number_of_field == number - 1 else expand(number - 1)
        number_of_field, field = number, expand(number)
        yield level, iteration, engine.change(field, before, np.inf)
