"""The engine of ITK's arithmetic: the solver's operations, rounded where ITK rounds.

Every sum has the order of its additions in ITK. Where ITK sums work units apart from each other,
the threads here work on them at the same time; and if there are fewer units than threads, several
threads share a unit, each with control points of its own. So the bits do not depend on the number
of threads here, but on the number of work units alone.
"""

from collections.abc import Callable
from typing import NamedTuple, TypeVar

import numpy as np
import numpy.typing as npt

from n4ax.engines.cpu.change import ChangeMeter
from n4ax.engines.cpu.threads import Jobs, Threads
from n4ax.engines.itk.bases import AxisTable, make_fit_table, make_sample_table
from n4ax.engines.itk.field import ItkField, Lattice, expand_lattice
from n4ax.engines.itk.fit import lay_out_fit
from n4ax.engines.itk.kernels.evaluation import correct_runs
from n4ax.engines.itk.kernels.fitting import sum_squares, sum_units
from n4ax.engines.itk.kernels.histogram import compute_residuals, fill_histogram
from n4ax.engines.itk.kernels.layout import Bins, Fit
from n4ax.engines.itk.pieces import make_run_voxels
from n4ax.engines.itk.refinement import refine
from n4ax.engines.itk.runs import pack_voxels
from n4ax.engines.itk.sharpening import sharpen
from n4ax.itk.versions import RULES
from n4ax.method.problem import Problem
from n4ax.method.solver import ChannelState, Parameters
from n4ax.settings import N4Settings

MOST_LATTICES = 1 << 24
"""The lattices of the work units that are summed at once have at most this many control points."""

S = TypeVar("S")
Values = npt.NDArray[np.float32]


class ItkMesh(NamedTuple):
    """The mesh of one level: the tables of the samples, the weights of the fit, and its sums."""

    tables: list[AxisTable]
    fit: Fit
    squares: npt.NDArray[np.float32]
    """The sum of the squared weights of each voxel."""
    omega: Lattice


class ItkBinned(NamedTuple):
    """Corrected log intensities of the voxels, and the bins that they are counted in."""

    values: npt.NDArray[np.float32]
    bins: Bins


class ItkEngine:
    """Both roles of :mod:`n4ax.method.solver` for one image: its engine and its only channel.

    Parameters
    ----------
    problem
        The image, and what is estimated on.
    settings
        The parameters of N4; with ``itk_version`` and the number of work units.
    threads
        The threads that run the kernels.
    """

    def __init__(self, problem: Problem, settings: N4Settings, threads: Threads) -> None:
        self._threads = threads
        self._settings = settings
        self._rules = RULES[settings.itk_version]
        self._axes = problem.axes
        self._control_points = problem.control_points
        self._runs, self._log, self._confidence = pack_voxels(problem, settings.tiny, threads)
        self._chunks = len(self._runs.chunk) - 1
        self._values = np.empty_like(self._log)
        self._jobs = Jobs(threads)
        voxels = make_run_voxels(self._runs, self._jobs)
        self._meter = ChangeMeter(voxels, exact=settings.convergence == "exact")
        self._level = -1
        self._mesh: ItkMesh
        share = len(self._log) // settings.work_units
        self._units = np.arange(settings.work_units + 1, dtype=np.int64) * share
        self._units[-1] = len(self._log)
        self.nbins = settings.nbins
        self.keeps_constants = self._rules.keeps_constants

    def for_each_level(self, levels: int, body: Callable[[int, S], S], state: S) -> S:
        """Apply ``body(level, state)`` for the levels 0, 1, ..."""
        for level in range(levels):
            state = body(level, state)
        return state

    def repeat(self, goes_on: Callable[[S], bool], step: Callable[[S], S], state: S) -> S:
        """Apply ``step(state)`` as long as ``goes_on(state)``; a measure of NaN ends a level."""
        while goes_on(state) and not np.isnan(state.measure):  # type: ignore[attr-defined]
            state = step(state)
        return state

    def mesh(self, level: int) -> ItkMesh:
        """The tables of a level, and its sums over the voxels; those of the last level are kept."""
        if self._level == level:
            return self._mesh
        order = self._settings.spline_order
        points = tuple((n - order) * 2**level + order for n in self._control_points)
        pairs = list(zip(self._axes, points, strict=True))
        tables = [make_sample_table(axis, number, order) for axis, number in pairs]
        fit = lay_out_fit([make_fit_table(axis, number, order) for axis, number in pairs], points)
        squares = np.empty_like(self._log)
        self._threads.run(self._chunks, sum_squares, self._runs, fit, squares)
        nothing = np.empty(0, np.float32)
        omega = self._sum_units(fit, (nothing, squares, self._confidence), points)
        self._meter.begin_level()
        self._level, self._mesh = level, ItkMesh(tables, fit, squares, omega)
        return self._mesh

    def _sum_units(
        self, fit: Fit, voxels: tuple[npt.NDArray[np.float32], ...], points: tuple[int, ...]
    ) -> Lattice:
        """Sum each work unit, and add up the units in their order, all in float32."""
        total: Lattice | None = None
        units = len(self._units) - 1
        at_once = max(1, min(units, MOST_LATTICES // int(np.prod(points))))
        threads = self._threads.count
        even = at_once % threads == 0 or at_once >= 4 * threads
        classes = 1 if even else min(threads, fit.outer_weights.shape[1])
        for first in range(0, units, at_once):
            bounds = self._units[first : min(first + at_once, units) + 1]
            sums = np.zeros((len(bounds) - 1, points[0], int(np.prod(points[1:]))), np.float32)
            tasks = (len(bounds) - 1) * classes
            self._threads.run(tasks, sum_units, bounds, classes, self._runs, fit, voxels, sums)
            for part in sums:
                total = part if total is None else total + part
        assert total is not None
        return total.reshape(points)

    def refine(self, level: int, lattice: Lattice) -> Lattice:
        """The lattice of the previous level on the mesh of ``level``; unchanged at level 0."""
        if level == 0:
            return lattice
        return refine(lattice, self._settings.spline_order, self._settings.itk_version)

    def no_lattice(self) -> Lattice:
        """A lattice of zeros on the mesh of level 0."""
        return np.zeros(self._control_points, np.float32)

    def expand(self, mesh: ItkMesh, lattice: Lattice) -> ItkField:
        """The field of a lattice."""
        return expand_lattice(lattice, mesh.tables, self._threads)

    def channels(
        self, mesh: ItkMesh, field: ItkField
    ) -> list[ChannelState[ItkMesh, ItkField, ItkBinned]]:
        """The image alone."""
        return [ChannelState(self, mesh, field)]

    def extremes(self, field: ItkField) -> tuple[np.float32, np.float32]:
        """The range of the corrected log intensities, as ITK's scan finds it."""
        values = self._values
        ends = np.empty((self._chunks, 2), np.float32)
        self._threads.run(
            self._chunks, correct_runs, self._runs, field.rows, self._log, values, ends
        )
        lowest, highest = ends[:, 0].min(), ends[:, 1].max()
        if not self._rules.tests_both_ends:
            rising = _count_rising(values)  # ITK 5 does not test these for the minimum
            if lowest in values[:rising]:
                lowest = values[rising:].min(initial=np.finfo(np.float32).max)
        return lowest, highest

    def binned(self, field: ItkField, lowest: np.float32, width: np.float32) -> ItkBinned:  # noqa: ARG002
        """The corrected log intensities that :meth:`extremes` has computed, and their bins."""
        return ItkBinned(self._values, Bins(lowest, width))

    def histogram(self, binned: ItkBinned) -> npt.NDArray[np.float32]:
        """Corrected log intensities per bin, added to one float32 histogram in their order."""
        counts = np.zeros(self.nbins, np.float32)
        fill_histogram(binned.values, binned.bins, counts)
        return counts

    def sharpen(
        self,
        histogram: npt.NDArray[np.float32],
        bins: tuple[np.float32, np.float32],
        parameters: Parameters,
    ) -> npt.NDArray[np.float32]:
        """The expected log intensity at each bin centre."""
        version = self._settings.itk_version
        return sharpen(histogram, bins, parameters.fwhm, parameters.wiener, version)

    def residual_fit(
        self, mesh: ItkMesh, binned: ItkBinned, expected: npt.NDArray[np.float32]
    ) -> Lattice:
        """Delta of the fit to corrected less expected log intensities.

        The residuals take the place of the corrected log intensities.
        """
        values = binned.values
        self._threads.run(len(values), compute_residuals, binned.bins, expected, values)
        voxels = (values, mesh.squares, self._confidence)
        return self._sum_units(mesh.fit, voxels, mesh.omega.shape)

    def change(self, field: ItkField, before: ItkField, threshold: float) -> float:
        """The convergence measure, or an infinity if its side of the threshold is certain."""
        if not np.isfinite(field.lattice).all():
            return np.nan
        measure = self._meter.measure_up_to(threshold, (field.rows, before.rows))
        self._jobs.forget()  # the next fields are other arrays
        return measure


def _count_rising(values: npt.NDArray[np.float32]) -> int:
    """Count the values at the start that each exceed all before them."""
    looked_at = 64
    while True:
        falls = np.flatnonzero(values[1:looked_at] <= values[: looked_at - 1][: len(values) - 1])
        if len(falls):
            return int(falls[0]) + 1
        if looked_at >= len(values):
            return len(values)
        looked_at *= 8
