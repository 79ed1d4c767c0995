"""The CPU engine: the solver's primitives as threads over compiled kernels.

A plain thread pool over kernels that release the GIL, so that the engine may be used from
several threads at once and after a fork. Work is cut into the same chunks whatever the number of
threads and summed per chunk, so the bits of the result do not depend on it.
"""

import os
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any, NamedTuple, Self, TypeVar

import numpy as np
import numpy.typing as npt

from n4ax.engines.cpu import kernels
from n4ax.engines.cpu.compiled import call_compiled, warn_if_compiling
from n4ax.engines.cpu.recurrence import exact_variation, itk_variation
from n4ax.engines.cpu.rows import Rows, pack_rows
from n4ax.method.bspline import AxisBasis, refine
from n4ax.method.convergence import may_decide
from n4ax.method.problem import Problem
from n4ax.settings import N4Settings

MOST_THREADS = 16
"""Threads by default at most: handing out a sweep of a head to more takes longer than it saves."""

FEW_VOXELS = 200_000
"""Below this many, sweeps are so short that handing them out takes longer than it saves."""

SAMPLED_STRETCHES = 2048
"""Stretches of rows on which the change of the field is judged."""

FIRST_STRETCHES = 64
"""Of those, so many are looked at first: while the field changes much, they say enough."""

Lattice = npt.NDArray[np.float32]
S = TypeVar("S")


class Threads:
    """Runs kernels over ranges of chunks (or planes) on a fixed number of threads."""

    def __init__(self, num_threads: int | None = None) -> None:
        self.count = min(available_cpus(), MOST_THREADS) if num_threads is None else num_threads
        self._pool = ThreadPoolExecutor(self.count - 1) if self.count > 1 else None

    def run(self, parts: int, kernel: Any, *arguments: Any) -> None:
        """``kernel(first, stop, *arguments)`` until ``range(parts)`` is done.

        Threads take the next piece when they are free, so an unequal machine stays busy.
        """
        if not kernel.overloads:
            call_compiled(kernel, 0, 0, *arguments)
        if self._pool is None or parts < 2:
            kernel(0, parts, *arguments)
            return
        pieces = min(parts, 4 * self.count)
        bounds = [parts * k // pieces for k in range(pieces + 1)]
        queue = iter(range(pieces))

        def work() -> None:
            for k in queue:
                kernel(bounds[k], bounds[k + 1], *arguments)

        helpers = [self._pool.submit(work) for _ in range(min(self.count, pieces) - 1)]
        try:
            work()
        finally:
            for helper in helpers:
                helper.result()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        if self._pool is not None:
            self._pool.shutdown()


def threads_for(problems: Sequence[Problem], num_threads: int | None) -> Threads:
    """The threads for so many voxels: small problems are solved faster by one."""
    voxels = sum(np.count_nonzero(problem.included) for problem in problems)
    return Threads(1 if voxels < FEW_VOXELS else num_threads)


def available_cpus() -> int:
    """Processors that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


class CpuField(NamedTuple):
    """A lattice, and what the kernels evaluate it from."""

    lattice: Lattice
    sheets: kernels.Sheets


class CpuMesh(NamedTuple):
    """The mesh of one level: ``basis`` to evaluate, ``projection`` to fit, and room for both."""

    basis: kernels.Basis
    projection: kernels.Basis
    omega: npt.NDArray[np.float64]
    values: list[npt.NDArray[np.float32]]
    plane_sums: npt.NDArray[np.float64]


class CpuBinned(NamedTuple):
    """A field, and the bins for what it leaves."""

    field: CpuField
    lowest: np.float32
    width: np.float32


class _Seen(NamedTuple):
    """When all stretches were last looked at for the extremes, and what was found."""

    lattice: Lattice
    low: float
    high: float


class CpuEngine:
    """The primitives of :mod:`n4ax.method.solver` for one problem.

    Parameters
    ----------
    problem
        What is estimated on.
    settings
        ``nbins``, ``tiny`` and ``spline_order`` are used.
    threads
        Who does the work.
    """

    def __init__(self, problem: Problem, settings: N4Settings, threads: Threads) -> None:
        warn_if_compiling(kernels.residual_sums)
        self._threads = threads
        self._settings = settings
        self._axes = problem.axes
        self._control_points = problem.control_points
        self.nbins = settings.nbins
        self.rows: Rows = pack_rows(
            np.ascontiguousarray(problem.intensities, np.float32),
            np.ascontiguousarray(problem.included),
            None if problem.weights is None else np.ascontiguousarray(problem.weights),
            settings.tiny,
            threads.run,
        )
        self.voxels = int(self.rows.included[-1])
        self._chunks = len(self.rows.chunk) - 1
        # The float32 histogram before each chunk, as the last iteration left it.
        self._running = np.zeros((self._chunks, settings.nbins), np.float32)
        self._bounds = np.empty((len(self.rows.x), 2), np.float32)
        self._seen: _Seen | None = None
        self._level = -1
        self._mesh: CpuMesh
        self._ratios: npt.NDArray[np.float32] | None = None

    def for_each_level(self, levels: int, body: Callable[[int, S], S], state: S) -> S:
        """``body(level, state)`` for levels 0, 1, ..."""
        for level in range(levels):
            state = body(level, state)
        return state

    def repeat(self, goes_on: Callable[[S], bool], step: Callable[[S], S], state: S) -> S:
        """``step(state)`` while ``goes_on(state)``."""
        while goes_on(state):
            state = step(state)
        return state

    def mesh(self, level: int) -> CpuMesh:
        """The tables of a level, its omega, and room for its sums. Of the last level: kept."""
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
        self._threads.run(self._chunks, kernels.weight_sums, self.rows, squares, plane_sums)
        self._level = level
        self._mesh = CpuMesh(
            basis=basis,
            projection=stack_basis(bases, [basis.fit_weights for basis in bases]),
            omega=self._join(squares, plane_sums, control_points),
            values=[sheet_values(basis, control_points) for _ in range(2)],
            plane_sums=plane_sums,
        )
        return self._mesh

    def refine(self, level: int, lattice: Lattice) -> Lattice:
        """The lattice of the level before on the mesh of ``level``; as it is at level 0."""
        return lattice if level == 0 else refine(lattice, self._settings.spline_order)

    def no_lattice(self) -> Lattice:
        """Zeros, on the mesh of level 0."""
        return np.zeros(self._control_points, np.float32)

    def expand(self, mesh: CpuMesh, lattice: Lattice) -> CpuField:
        """The field of a lattice, ready to be evaluated row by row; the last two stay valid."""
        mesh.values.reverse()
        return _expand(lattice, mesh.basis, mesh.values[0], self._threads)

    def channels(self, mesh: Any, field: Any) -> list[tuple[Any, Any, Any]]:
        """The image alone: it shares its field with no other."""
        return [(self, mesh, field)]

    def extremes(self, field: CpuField) -> tuple[np.float32, np.float32]:
        """Range of the corrected log intensities, as ITK's scan finds it.

        The spline changes nowhere by more than its control points do. So a stretch of voxels
        that was further from the extremes than twice that, since all were last looked at, need
        not be looked at again.
        """
        seen = self._seen
        if seen is not None and seen.lattice.shape == field.lattice.shape:
            drift = float(np.abs(field.lattice - seen.lattice).max()) * (1 + 1e-6) + 1e-5
            low, high = seen.low + 2 * drift, seen.high - 2 * drift
            near = (self._bounds[:, 0] <= low) | (self._bounds[:, 1] >= high)
            if np.count_nonzero(near) <= len(near) // 4:
                found = self._scan(field, (low, high), keep=False)
                if found[0] <= seen.low + drift:  # else the voxels that set it do no longer
                    return found
        found = self._scan(field, (np.inf, -np.inf), keep=True)
        self._seen = _Seen(field.lattice, float(found[0]), float(found[1]))
        return found

    def _scan(
        self, field: CpuField, reach: tuple[float, float], keep: bool
    ) -> tuple[np.float32, np.float32]:
        result = np.empty((self._chunks, 2), np.float32)
        self._threads.run(
            self._chunks, kernels.extremes,
            self.rows, field.sheets, reach, keep, self._bounds, result,
        )  # fmt: skip
        return result[:, 0].min(), result[:, 1].max()

    def change(
        self, field: CpuField, before: CpuField, threshold: float, every_measure: bool
    ) -> float:
        """The convergence measure, or infinity where it is surely above the threshold."""
        if not (every_measure or self._may_decide(field, before, threshold)):
            return np.inf
        ratios = self.ratios(field, before)
        exact = self._settings.convergence == "exact"
        return exact_variation(ratios) if exact else itk_variation(ratios)

    def _may_decide(self, field: CpuField, before: CpuField, threshold: float) -> bool:
        """Whether the measure could be at or below the threshold."""
        variation, share = self.variation(field, before, FIRST_STRETCHES)
        # The variance of a part, times its share of the voxels, is no more than that of all.
        if not may_decide(variation * np.sqrt(share), threshold, self.voxels):
            return False
        variation, _ = self.variation(field, before, SAMPLED_STRETCHES)
        return bool(may_decide(variation, threshold, self.voxels))

    def variation(
        self, field: CpuField, before: CpuField, stretches: int
    ) -> tuple[np.float64, np.float64]:
        """The coefficient of variation of exp(change of the field) on about so many stretches of
        rows, and their share of the voxels.
        """
        result = np.empty((self._chunks, 3))
        every = max(1, len(self.rows.x) // stretches)
        self._threads.run(
            self._chunks, kernels.change_sums,
            self.rows, field.sheets, before.sheets, every, result,
        )  # fmt: skip
        count, total, squares = result.sum(axis=0)
        variation = np.sqrt(max(squares / count - (total / count) ** 2, 0.0))
        return variation, count / self.voxels

    def ratios(self, field: CpuField, before: CpuField) -> npt.NDArray[np.float32]:
        """exp(old field - new field) of the included voxels, in ITK's order. Reused memory."""
        if self._ratios is None:
            self._ratios = np.empty(self.voxels, np.float32)
        self._threads.run(
            self._chunks, kernels.ratios,
            self.rows, field.sheets, before.sheets, self._ratios,
        )  # fmt: skip
        return self._ratios

    def binned(self, field: CpuField, lowest: np.float32, width: np.float32) -> CpuBinned:
        """The bins; where the voxels lie on them is found anew by each kernel."""
        return CpuBinned(field, lowest, width)

    def histogram(self, binned: CpuBinned) -> npt.NDArray[np.float64]:
        """Corrected log intensities per bin, shared linearly between the nearest centres.

        What each chunk starts from is known from the last iteration; where that was too far
        off to round as ITK does, the chunks are counted again from what they turned out to be.
        The accelerated schedule, which is not ITK's to the last digit, does without.
        """
        gained = np.empty_like(self._running, np.float64)
        for _ in range(1 if self._settings.accelerate else 3):
            self._threads.run(
                self._chunks, kernels.histogram,
                self.rows, binned.field.sheets, binned.lowest, binned.width,
                self._running, gained,
            )  # fmt: skip
            expected, self._running = self._running, _before_each(gained)
            if _misjudged(expected, self._running, gained) < 0.05:
                break
        return gained.sum(axis=0)

    def residual_fit(
        self,
        mesh: CpuMesh,
        binned: CpuBinned,
        expected: npt.NDArray[np.float32],
    ) -> npt.NDArray[np.float64]:
        """Delta of the fit to measured less expected log intensities (E at the bin centres)."""
        rise = np.append(np.diff(expected), np.zeros(2, np.float32))
        self._threads.run(
            self._chunks, kernels.residual_sums,
            self.rows, binned.field.sheets, binned.lowest, binned.width,
            np.append(expected, expected[-1]), rise, mesh.projection, mesh.plane_sums,
        )  # fmt: skip
        return self._join(mesh.projection, mesh.plane_sums, mesh.omega.shape)

    def _join(
        self,
        projection: kernels.Basis,
        plane_sums: npt.NDArray[np.float64],
        shape: tuple[int, ...],
    ) -> npt.NDArray[np.float64]:
        lattice = np.zeros(shape)
        self._threads.run(
            shape[-2], kernels.join_planes,
            self.rows.slot_plane, projection, plane_sums, _stacked(lattice),
        )  # fmt: skip
        return lattice


def evaluate(lattice: Lattice, bases: list[AxisBasis], threads: Threads) -> npt.NDArray[np.float32]:
    """The lattice's spline on the grid that ``bases`` describe, float32."""
    shape = tuple(len(basis.first) for basis in bases)
    log_field = np.empty(shape, np.float32)
    stack = log_field.reshape(-1, *shape[-2:])
    field = _whole_field(lattice, bases, threads)
    threads.run(len(stack), kernels.evaluate_planes, field.sheets, stack)
    return log_field


def divide(
    image: npt.NDArray[Any], lattice: Lattice, bases: list[AxisBasis], threads: Threads
) -> npt.NDArray[Any]:
    """``image / exp(spline)``: the exponential in float32, the quotient in the image's type.

    Returns float64 for a float64 image and float32 otherwise, as a C-ordered array.
    """
    wide = image.dtype.kind == "f" and image.dtype.itemsize >= 8
    given = np.ascontiguousarray(image, np.float64 if wide else np.float32)
    corrected = np.empty_like(given)
    stack, result = (array.reshape(-1, *given.shape[-2:]) for array in (given, corrected))
    field = _whole_field(lattice, bases, threads)
    threads.run(len(stack), kernels.divide_planes, field.sheets, stack, result)
    return corrected


def _whole_field(lattice: Lattice, bases: list[AxisBasis], threads: Threads) -> CpuField:
    basis = stack_basis(bases, [axis.weights for axis in bases])
    return _expand(lattice, basis, sheet_values(basis, lattice.shape), threads)


def _expand(
    lattice: Lattice, basis: kernels.Basis, values: npt.NDArray[np.float32], threads: Threads
) -> CpuField:
    stride = basis.x_weight.shape[1] + kernels.LANES
    threads.run(len(basis.plane_control), kernels.expand, _stacked(lattice), basis, stride, values)
    sheets = kernels.Sheets(values, lattice.shape[-2], stride, basis.y_first, basis.y_weight)
    return CpuField(lattice, sheets)


def sheet_values(basis: kernels.Basis, control_points: tuple[int, ...]) -> npt.NDArray[np.float32]:
    """Room for the sheets of a lattice of that many control points."""
    stride = basis.x_weight.shape[1] + kernels.LANES
    return np.empty(len(basis.plane_control) * control_points[-2] * stride, np.float32)


def _before_each(gained: npt.NDArray[np.float64]) -> npt.NDArray[np.float32]:
    """Running counts before each chunk."""
    return (np.cumsum(gained, axis=0) - gained).astype(np.float32)


def _misjudged(
    expected: npt.NDArray[np.float32],
    found: npt.NDArray[np.float32],
    gained: npt.NDArray[np.float64],
) -> float:
    """The part of all counts that was rounded to units of another binade than its own."""
    wrong = np.frexp(expected)[1] != np.frexp(found)[1]
    return float(gained[wrong].sum() / gained.sum())


def stack_basis(
    bases: list[AxisBasis], weights: Sequence[npt.NDArray[np.floating]]
) -> kernels.Basis:
    """``weights`` per axis (n, order + 1) in the form that the kernels take.

    All leading axes are one axis of planes.
    """
    *leading, y, x = bases
    control, product = _plane_terms(leading, weights[:-2])
    return kernels.Basis(
        control,
        product,
        y.first,
        np.ascontiguousarray(weights[-2], np.float32),
        np.ascontiguousarray(x.dense(weights[-1]), np.float64),
        _support(x),
    )


def _plane_terms(
    leading: list[AxisBasis], weights: Sequence[npt.NDArray[np.floating]]
) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.float64]]:
    """Per plane of the grid, the lattice planes it feels and the products of their weights."""
    control, product = np.zeros((1, 1), np.int64), np.ones((1, 1))
    for basis, weight in zip(leading, weights, strict=True):
        terms = basis.first[:, None] + np.arange(weight.shape[1])
        control = control[:, None, :, None] * basis.control_points + terms[None, :, None, :]
        product = product[:, None, :, None] * weight.astype(np.float64)[None, :, None, :]
        planes = control.shape[0] * control.shape[1]
        control, product = control.reshape(planes, -1), product.reshape(planes, -1)
    return np.ascontiguousarray(control), np.ascontiguousarray(product)


def _support(basis: AxisBasis) -> npt.NDArray[np.int64]:
    """Where each control point's weight may be other than 0 along the axis."""
    order = basis.weights.shape[1] - 1
    points = np.arange(basis.control_points)
    return np.stack(
        [
            np.searchsorted(basis.first, points - order, side="left"),
            np.searchsorted(basis.first, points, side="right"),
        ],
        axis=1,
    )


def _stacked(lattice: npt.NDArray[Any]) -> npt.NDArray[Any]:
    """The lattice with its leading axes as one, without a copy."""
    return lattice.reshape(-1, *lattice.shape[-2:])
