"""The convergence measures of all iterations of a run, computed when someone asks for them.

A run computes the measure only where it can end a level. The lattices after all iterations, which
are small, and the mask are enough to compute the others later.
"""

from collections.abc import Iterator
from math import prod
from typing import Any

import numpy as np
import numpy.typing as npt

from n4ax.engines.cpu.threads import make_threads
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
        for level, iteration, measure in self._compute(self._find_unknown()):
            self._values[level][iteration] = measure
        self._path = []
        return self._values

    def read_last(self) -> float | None:
        """The measure of the last iteration; ``None`` if the last level has none."""
        *_, last = self._values
        if last and np.isnan(last[-1]):
            place = len(self._values) - 1, len(last) - 1
            for _, _, measure in self._compute({place}):
                last[-1] = measure
        return last[-1] if last else None

    def _find_unknown(self) -> set[tuple[int, int]]:
        places = ((i, j) for i, level in enumerate(self._values) for j in range(len(level)))
        return {(level, j) for level, j in places if np.isnan(self._values[level][j])}

    def _compute(self, places: set[tuple[int, int]]) -> Iterator[tuple[int, int, float]]:
        """Compute the measures of some iterations, given by level and number from 0."""
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
    """Follow the lattices as the solver went, and measure some of its iterations."""
    field = engine.expand(engine.mesh(0), engine.no_lattice())
    for level, lattices in enumerate(path):
        mesh = engine.mesh(level)
        for iteration, lattice in enumerate(lattices):
            before, field = field, engine.expand(mesh, lattice)
            if (level, iteration) in places:
                yield level, iteration, engine.change(field, before, np.inf)
