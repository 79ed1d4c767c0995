"""The CPU engine: the solver's operations, carried out by threads that run compiled kernels.

The work is cut into the same chunks and summed per chunk whatever the number of threads is, so
the bits of the result do not depend on it.
"""

from collections.abc import Callable
from typing import NamedTuple, TypeVar

import numpy as np
import numpy.typing as npt

from n4ax.engines.compiled.arguments import LaidOut, lay_out
from n4ax.engines.cpu.basis import stack_basis, stack_planes
from n4ax.engines.cpu.change import ChangeMeter
from n4ax.engines.cpu.field import CpuField, allocate_field
from n4ax.engines.cpu.kernels.evaluation import expand_planes
from n4ax.engines.cpu.kernels.extremes import choose_search, find_extremes, join_ends
from n4ax.engines.cpu.kernels.fitting import join_planes, pair_up, sum_residuals, sum_weights
from n4ax.engines.cpu.kernels.histogram import close_counts, fill_histogram
from n4ax.engines.cpu.kernels.layout import Bins, Lattice, Rows
from n4ax.engines.cpu.kernels.sharpening import sharpen_counts
from n4ax.engines.cpu.pieces import make_row_voxels
from n4ax.engines.cpu.room import Counts, Extremes, Sharpening
from n4ax.engines.cpu.rows import pack_rows
from n4ax.engines.cpu.threads import Jobs, Threads
from n4ax.method.bspline import refine
from n4ax.method.problem import Problem
from n4ax.method.solver import ChannelState, Parameters
from n4ax.settings import N4Settings

MOST_NEAR = 0.25
"""If a larger share of the stretches may hold an extreme, all stretches are looked at."""

MOST_COUNTS = 3
"""The histogram of one iteration is counted at most this many times."""

MISROUNDED_SHARE = 0.05
"""The histogram is counted again if at least this share of it was rounded unlike in ITK."""

FEW_POINTS = 20_000
"""Lattices with fewer control points are summed by one thread."""

S = TypeVar("S")
Sums = npt.NDArray[np.float64]


class CpuMesh(NamedTuple):
    """The mesh of one level, with its tables laid out for the kernels, and room for sums.

    Attributes
    ----------
    basis, projection
        The :class:`~n4ax.engines.cpu.kernels.layout.Basis` to evaluate, and the weights to fit.
    omega
        Weight of all voxels on each control point.
    fields
        Room for the two most recent fields.
    plane_sums, delta
        Room for the sums of each plane, and of all; the leading axes of the latter are one.
    """

    basis: LaidOut
    projection: LaidOut
    omega: npt.NDArray[np.float64]
    fields: list[CpuField]
    plane_sums: npt.NDArray[np.float64]
    delta: npt.NDArray[np.float64]


class CpuBinned(NamedTuple):
    """A field, and the bins of the corrected log intensities that it leaves."""

    field: CpuField
    bins: Bins


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
        self._laid_rows = lay_out(self.rows)
        self._chunks = len(self.rows.chunk) - 1
        self._counts = Counts.allocate(self._chunks, settings.nbins)
        self._extremes = Extremes.allocate(self._chunks, len(self.rows.x), settings.itk_version)
        self._searched: Lattice = np.empty(0, np.float32)
        self._sharpening = Sharpening.allocate(settings.nbins)
        self._jobs = Jobs(threads)
        self._level = -1
        self._mesh: CpuMesh
        voxels = make_row_voxels(self._laid_rows, self._jobs)
        self._meter = ChangeMeter(voxels, exact=settings.convergence == "exact")

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
        squares = lay_out(stack_basis(bases, [basis.squares for basis in bases]))
        plane_sums = np.empty((len(self.rows.slot_plane), *control_points[-2:]))
        self._threads.run(self._chunks, sum_weights, self._laid_rows, squares, plane_sums)
        omega = np.empty(control_points)
        self._join(squares, plane_sums, stack_planes(omega))
        self._meter.begin_level()
        self._jobs.forget()  # they hold on to the tables of the last level
        self._level = level
        self._mesh = CpuMesh(
            basis=lay_out(basis),
            projection=lay_out(stack_basis(bases, [basis.fit_weights for basis in bases])),
            omega=omega,
            fields=[allocate_field(basis, control_points) for _ in range(2)],
            plane_sums=plane_sums,
            delta=stack_planes(np.empty(control_points)),
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
        mesh.fields.reverse()
        field = mesh.fields[0]
        field.lattice[...] = lattice
        planes = len(mesh.basis.value.plane_control)
        self._jobs.run(planes, expand_planes, field.stack, mesh.basis, field.sheets)
        return field

    def channels(
        self, mesh: CpuMesh, field: CpuField
    ) -> list[ChannelState[CpuMesh, CpuField, CpuBinned]]:
        """The image alone, since it shares its field with no other image."""
        return [ChannelState(self, mesh, field)]

    def extremes(self, field: CpuField) -> tuple[np.float32, np.float32]:
        """The range of the corrected log intensities, as ITK's scan finds it.

        Stretches that cannot hold an extreme are left out; :func:`choose_search` says which.
        """
        found = self._extremes
        searched, limits = self._searched, found.search.limits
        if len(searched) == len(field.flat):
            self._jobs.run(
                1, choose_search, field.flat, searched, found.full, found.search.bounds, limits
            )
            if limits[3] <= MOST_NEAR:
                low, high = self._search(field)
                # Above this, the voxel that set the minimum now belongs to the rising start, which
                # ITK 5 leaves out.
                if low <= (found.full[0] + limits[0]) / 2:
                    return low, high
        else:
            self._searched = np.empty_like(field.flat)
        low, high = self.search_everywhere(field)
        self._searched[:] = field.flat
        found.full[:] = low, high
        return low, high

    def search_everywhere(self, field: CpuField) -> tuple[np.float32, np.float32]:
        """The range of the corrected log intensities, from all stretches."""
        self._extremes.search.limits[:3] = np.inf, -np.inf, 1
        return self._search(field)

    def _search(self, field: CpuField) -> tuple[np.float32, np.float32]:
        found = self._extremes
        self._jobs.run(
            self._chunks, find_extremes, self._laid_rows, field.sheets, found.search, found.chunks
        )
        self._jobs.run(1, join_ends, found.chunks, found.ends)
        return found.ends[0], found.ends[1]

    def change(self, field: CpuField, before: CpuField, threshold: float) -> float:
        """The convergence measure, or an infinity if its side of the threshold is certain.

        It is NaN if the field is not finite.
        """
        if not np.isfinite(field.lattice).all():  # as it is once the lattice before it was not
            return np.nan
        return self._meter.measure_up_to(threshold, (field.sheets, before.sheets))

    def binned(self, field: CpuField, lowest: np.float32, width: np.float32) -> CpuBinned:
        """The field with its bins. Each kernel computes anew where the voxels lie on them."""
        return CpuBinned(field, np.array([lowest, width], np.float32))

    def histogram(self, binned: CpuBinned) -> npt.NDArray[np.float64]:
        """Corrected log intensities per bin, each shared linearly between the nearest centres.

        The count that each chunk starts from is known from the previous iteration. If that was
        too far off to round as ITK does, the chunks are counted again, starting from what the
        counts turned out to be. The accelerated schedule, which does not follow ITK to the last
        digit, counts once.
        """
        counts = self._counts
        counts.bins[:] = binned.bins
        for _ in range(1 if self._settings.accelerate else MOST_COUNTS):
            self._jobs.run(
                self._chunks, fill_histogram,
                self._laid_rows, binned.field.sheets, counts.bins, counts.running, counts.gained,
            )  # fmt: skip
            self._jobs.run(
                1, close_counts,
                counts.gained, counts.running, counts.running_bits, counts.total, counts.misrounded,
            )  # fmt: skip
            if counts.misrounded[0] < MISROUNDED_SHARE:
                break
        return counts.total.copy()

    def sharpen(
        self,
        histogram: npt.NDArray[np.float64],
        bins: tuple[np.float32, np.float32],
        parameters: Parameters,
    ) -> npt.NDArray[np.float32]:
        """The expected log intensity at each bin centre."""
        room = self._sharpening
        room.counts[:] = histogram
        room.bins[:] = bins
        room.parameters[:2] = parameters.fwhm, parameters.wiener
        self._jobs.run(1, sharpen_counts, *room)
        return room.expected.copy()

    def residual_fit(
        self, mesh: CpuMesh, binned: CpuBinned, expected: npt.NDArray[np.float32]
    ) -> npt.NDArray[np.float64]:
        """Delta of the fit to corrected less expected log intensities (E at the bin centres).

        The next call overwrites the array.
        """
        counts = self._counts
        counts.bins[:] = binned.bins
        counts.expected[:] = expected
        self._jobs.run(1, pair_up, counts.expected, counts.map.pairs)
        self._jobs.run(
            self._chunks, sum_residuals,
            self._laid_rows, binned.field.sheets, counts.map, mesh.projection, mesh.plane_sums,
        )  # fmt: skip
        self._join(mesh.projection, mesh.plane_sums, mesh.delta)
        return mesh.delta.reshape(mesh.omega.shape)

    def _join(
        self,
        projection: LaidOut,
        plane_sums: npt.NDArray[np.float64],
        lattice: npt.NDArray[np.float64],
    ) -> None:
        """Sum the planes over the leading axes, into a lattice whose leading axes are one."""
        self._jobs.run(
            lattice.shape[1], join_planes, self.rows.slot_plane, projection, plane_sums, lattice,
            alone=lattice.size < FEW_POINTS,
        )  # fmt: skip
