"""The CPU engine: the solver's operations, carried out by threads that run compiled kernels.

The work is cut into the same chunks and summed per chunk whatever the number of threads is, so
the bits of the result do not depend on it.
"""

from collections.abc import Callable
from typing import NamedTuple, TypeVar

import numpy as np
import numpy.typing as npt

from n4ax.engines.cpu.basis import stack_basis, stack_planes
from n4ax.engines.cpu.field import CpuField, allocate_sheets, expand_lattice
from n4ax.engines.cpu.kernels.changes import compute_ratios, sum_changes
from n4ax.engines.cpu.kernels.extremes import find_extremes
from n4ax.engines.cpu.kernels.fitting import join_planes, sum_residuals, sum_weights
from n4ax.engines.cpu.kernels.histogram import fill_histogram
from n4ax.engines.cpu.kernels.layout import Basis, Bins, IntensityMap, Lattice, Rows, Search
from n4ax.engines.cpu.recurrence import exact_variation, itk_variation
from n4ax.engines.cpu.rows import pack_rows
from n4ax.engines.cpu.threads import Threads
from n4ax.itk.versions import RULES
from n4ax.method.bspline import refine
from n4ax.method.convergence import may_decide_by_parts
from n4ax.method.problem import Problem
from n4ax.method.sharpening import sharpened_intensities
from n4ax.method.solver import ChannelState, Parameters
from n4ax.settings import N4Settings

MOST_NEAR = 0.25
"""If a larger share of the stretches may hold an extreme, all stretches are looked at."""

MOST_COUNTS = 3
"""The histogram of one iteration is counted at most this many times."""

MISROUNDED_SHARE = 0.05
"""The histogram is counted again if at least this share of it was rounded unlike in ITK."""

S = TypeVar("S")


class CpuMesh(NamedTuple):
    """The mesh of one level: ``basis`` to evaluate, ``projection`` to fit, and room for both."""

    basis: Basis
    projection: Basis
    omega: npt.NDArray[np.float64]
    values: list[npt.NDArray[np.float32]]
    """Values of the sheets of the two most recent fields."""
    plane_sums: npt.NDArray[np.float64]


class CpuBinned(NamedTuple):
    """A field, and the bins of the corrected log intensities that it leaves."""

    field: CpuField
    bins: Bins


class _FullSearch(NamedTuple):
    """The lattice when all stretches were last searched for the extremes, and what they were."""

    lattice: Lattice
    low: float
    high: float


class CpuEngine:
    """Both roles of :mod:`n4ax.method.solver` for one image: its engine and its only channel.

    Parameters
    ----------
    problem
        The image, and what is estimated on.
    settings
        ``nbins``, ``tiny``, ``spline_order``, ``convergence``, ``accelerate`` and ``itk_version``
        are used.
    threads
        The threads that run the kernels.
    """

    def __init__(self, problem: Problem, settings: N4Settings, threads: Threads) -> None:
        self._threads = threads
        self._settings = settings
        self._axes = problem.axes
        self._control_points = problem.control_points
        self.nbins = settings.nbins
        self.keeps_constants = True
        self.rows: Rows = pack_rows(
            np.ascontiguousarray(problem.intensities, np.float32),
            np.ascontiguousarray(problem.included),
            None if problem.weights is None else np.ascontiguousarray(problem.weights),
            settings.tiny,
            threads,
        )
        self.voxels = int(self.rows.included[-1])
        self._chunks = len(self.rows.chunk) - 1
        # The float32 histogram before each chunk, as the last iteration left it.
        self._running = np.zeros((self._chunks, settings.nbins), np.float32)
        self._bounds = np.zeros((len(self.rows.x), 2), np.float32)
        self._full_search: _FullSearch | None = None
        self._level = -1
        self._mesh: CpuMesh
        self._ratios: npt.NDArray[np.float32] | None = None

    def for_each_level(self, levels: int, body: Callable[[int, S], S], state: S) -> S:
        """Apply ``body(level, state)`` for the levels 0, 1, ..."""
        for level in range(levels):
            state = body(level, state)
        return state

    def repeat(self, goes_on: Callable[[S], bool], step: Callable[[S], S], state: S) -> S:
        """Apply ``step(state)`` as long as ``goes_on(state)``."""
        while goes_on(state):
            state = step(state)
        return state

    def mesh(self, level: int) -> CpuMesh:
        """The tables of a level, its omega, and room for its sums; the last level's are kept."""
        if self._level == level:
            return self._mesh
        order = self._settings.spline_order
        control_points = tuple((n - order) * 2**level + order for n in self._control_points)
        bases = [
            axis.sample_basis(points, order)
            for axis, points in zip(self._axes, control_points, strict=True)
        ]
        basis = stack_basis(bases, [basis.weights for basis in bases])
        plane_sums = np.empty((len(self.rows.slot_plane), *control_points[-2:]))
        squares = stack_basis(bases, [basis.squares for basis in bases])
        self._threads.run(self._chunks, sum_weights, self.rows, squares, plane_sums)
        self._level = level
        self._mesh = CpuMesh(
            basis=basis,
            projection=stack_basis(bases, [basis.fit_weights for basis in bases]),
            omega=self._join(squares, plane_sums, control_points),
            values=[allocate_sheets(basis, control_points) for _ in range(2)],
            plane_sums=plane_sums,
        )
        return self._mesh

    def refine(self, level: int, lattice: Lattice) -> Lattice:
        """The lattice of the previous level on the mesh of ``level``; unchanged at level 0."""
        if level == 0:
            return lattice
        return refine(lattice, self._settings.spline_order, self._settings.itk_version)

    def no_lattice(self) -> Lattice:
        """A lattice of zeros on the mesh of level 0."""
        return np.zeros(self._control_points, np.float32)

    def expand(self, mesh: CpuMesh, lattice: Lattice) -> CpuField:
        """The field of a lattice. The two most recent fields of a mesh stay valid."""
        mesh.values.reverse()
        return expand_lattice(lattice, mesh.basis, mesh.values[0], self._threads)

    def channels(
        self, mesh: CpuMesh, field: CpuField
    ) -> list[ChannelState[CpuMesh, CpuField, CpuBinned]]:
        """The image alone, since it shares its field with no other image."""
        return [ChannelState(self, mesh, field)]

    def extremes(self, field: CpuField) -> tuple[np.float32, np.float32]:
        """The range of the corrected log intensities, as ITK's scan finds it.

        The spline changes nowhere by more than its control points do. So a stretch of voxels
        needs no new look if, when all stretches were last looked at, it was further from the
        extremes than twice the change of the control points since then.
        """
        last = self._full_search
        if last is not None and last.lattice.shape == field.lattice.shape:
            drift = float(np.abs(field.lattice - last.lattice).max()) * (1 + 1e-6) + 1e-5
            low, high = last.low + 2 * drift, last.high - 2 * drift
            near = (self._bounds[:, 0] <= low) | (self._bounds[:, 1] >= high)
            if np.count_nonzero(near) <= MOST_NEAR * len(near):
                found = self._search(field, low, high, keep=False)
                # Above this, the voxel that set the minimum now belongs to the rising start, which
                # ITK 5 leaves out.
                if found[0] <= last.low + drift:
                    return found
        found = self.search_everywhere(field)
        self._full_search = _FullSearch(field.lattice, float(found[0]), float(found[1]))
        return found

    def search_everywhere(self, field: CpuField) -> tuple[np.float32, np.float32]:
        """The range of the corrected log intensities, from all stretches."""
        return self._search(field, np.inf, -np.inf, keep=True)

    def _search(
        self, field: CpuField, low: float, high: float, keep: bool
    ) -> tuple[np.float32, np.float32]:
        result = np.empty((self._chunks, 2), np.float32)
        skips_rise = not RULES[self._settings.itk_version].tests_both_ends
        search = Search(self._bounds, low, high, keep, skips_rise)
        self._threads.run(self._chunks, find_extremes, self.rows, field.sheets, search, result)
        return result[:, 0].min(), result[:, 1].max()

    def change(
        self, field: CpuField, before: CpuField, threshold: float, every_measure: bool
    ) -> float:
        """The convergence measure, or infinity if it is certainly above the threshold.

        It is NaN if the field is not finite.
        """
        if not np.isfinite(field.lattice).all():  # as it is once the lattice before it was not
            return np.nan
        if not (every_measure or self._may_decide(field, before, threshold)):
            return np.inf
        ratios = self.ratios(field, before)
        exact = self._settings.convergence == "exact"
        return exact_variation(ratios) if exact else itk_variation(ratios)

    def _may_decide(self, field: CpuField, before: CpuField, threshold: float) -> bool:
        """Whether the measure could be at or below the threshold."""
        return may_decide_by_parts(
            lambda stretches: self.variation(field, before, stretches), threshold, self.voxels
        )

    def variation(
        self, field: CpuField, before: CpuField, stretches: int
    ) -> tuple[np.float64, np.float64]:
        """The coefficient of variation of exp(change of the field), estimated from a part.

        Parameters
        ----------
        field, before
            The field after and before an iteration.
        stretches
            About how many stretches of rows are looked at.

        Returns
        -------
        variation, share
            The coefficient of variation, and the share of the voxels that was looked at.
        """
        result = np.empty((self._chunks, 3))
        every = max(1, len(self.rows.x) // stretches)
        self._threads.run(
            self._chunks, sum_changes, self.rows, field.sheets, before.sheets, every, result
        )
        count, total, squares = result.sum(axis=0)
        variation = np.sqrt(max(squares / count - (total / count) ** 2, 0.0))
        return variation, count / self.voxels

    def ratios(self, field: CpuField, before: CpuField) -> npt.NDArray[np.float32]:
        """exp(old field - new field) of the voxels that count, in ITK's order.

        The next call overwrites the array.
        """
        if self._ratios is None:
            self._ratios = np.zeros(self.voxels, np.float32)
        self._threads.run(
            self._chunks, compute_ratios, self.rows, field.sheets, before.sheets, self._ratios
        )
        return self._ratios

    def binned(self, field: CpuField, lowest: np.float32, width: np.float32) -> CpuBinned:
        """The field with its bins. Each kernel computes anew where the voxels lie on them."""
        return CpuBinned(field, Bins(lowest, width))

    def histogram(self, binned: CpuBinned) -> npt.NDArray[np.float64]:
        """Corrected log intensities per bin, each shared linearly between the nearest centres.

        The count that each chunk starts from is known from the previous iteration. If that was
        too far off to round as ITK does, the chunks are counted again, starting from what the
        counts turned out to be. The accelerated schedule, which does not follow ITK to the last
        digit, counts once.
        """
        gained = np.empty_like(self._running, np.float64)
        for _ in range(1 if self._settings.accelerate else MOST_COUNTS):
            self._threads.run(
                self._chunks, fill_histogram,
                self.rows, binned.field.sheets, binned.bins, self._running, gained,
            )  # fmt: skip
            expected, self._running = self._running, _counts_before_chunks(gained)
            if _misrounded_share(expected, self._running, gained) < MISROUNDED_SHARE:
                break
        return gained.sum(axis=0)

    def sharpen(
        self,
        histogram: npt.NDArray[np.float64],
        bins: tuple[np.float32, np.float32],
        parameters: Parameters,
    ) -> npt.NDArray[np.float32]:
        """The expected log intensity at each bin centre."""
        return sharpened_intensities(histogram, *bins, parameters.fwhm, parameters.wiener)

    def residual_fit(
        self, mesh: CpuMesh, binned: CpuBinned, expected: npt.NDArray[np.float32]
    ) -> npt.NDArray[np.float64]:
        """Delta of the fit to corrected less expected log intensities (E at the bin centres)."""
        rise = np.append(np.diff(expected), np.zeros(2, np.float32))
        intensity_map = IntensityMap(binned.bins, np.append(expected, expected[-1]), rise)
        self._threads.run(
            self._chunks, sum_residuals,
            self.rows, binned.field.sheets, intensity_map, mesh.projection, mesh.plane_sums,
        )  # fmt: skip
        return self._join(mesh.projection, mesh.plane_sums, mesh.omega.shape)

    def _join(
        self, projection: Basis, plane_sums: npt.NDArray[np.float64], shape: tuple[int, ...]
    ) -> npt.NDArray[np.float64]:
        """Sum the planes over the leading axes, to a lattice of ``shape``."""
        lattice = np.zeros(shape)
        self._threads.run(
            shape[-2], join_planes,
            self.rows.slot_plane, projection, plane_sums, stack_planes(lattice),
        )  # fmt: skip
        return lattice


def _counts_before_chunks(gained: npt.NDArray[np.float64]) -> npt.NDArray[np.float32]:
    """The running histogram before each chunk, given what each chunk adds to it."""
    return (np.cumsum(gained, axis=0) - gained).astype(np.float32)


def _misrounded_share(
    expected: npt.NDArray[np.float32],
    found: npt.NDArray[np.float32],
    gained: npt.NDArray[np.float64],
) -> float:
    """The share of all counts that was rounded as if the running count had another binade."""
    wrong = np.frexp(expected)[1] != np.frexp(found)[1]
    total = gained.sum()  # 0 if a single intensity is left, which has no bin
    return float(gained[wrong].sum() / total) if total else 0.0
