"""The XLA engine: the solver's page traced into one program, for any device that JAX knows.

Numbers, basis tables and the place of the box are arguments of the program, and the levels run in
one loop over lattices padded to the finest mesh. So it is compiled once for a kind of volume and
mesh, whatever the parameters are. Spline sums are products with small dense matrices, in full
float32 along rows and in double beyond. Nothing is added in an order that may change.
"""

from collections.abc import Callable, Sequence
from functools import lru_cache, partial
from typing import Any, NamedTuple, TypeVar

import jax
import jax.numpy as jnp
import numpy as np
import numpy.typing as npt
from jax import Array, lax

from n4ax.engines.xla.box import Voxels
from n4ax.engines.xla.recurrence import exact_variation, itk_variation
from n4ax.itk.rounding import float32_product
from n4ax.method.bspline import AxisBasis, itk_refinement_matrix
from n4ax.method.convergence import may_decide
from n4ax.method.grid import Axis

S = TypeVar("S")

FULL = lax.Precision.HIGHEST
"""An accelerator would otherwise multiply with fewer digits than float32 has."""

SAMPLED, SAMPLE = 512, 256
"""The change of the field is judged from the first 256 voxels of each 512th of a packed list."""

REPLAYED, REPLAYED_IN_BURSTS = 1 << 12, 1 << 18
"""Voxels at once of the stopping measure, on the CPU and off it, where a step costs more."""

RISING = 1 << 12
"""Voxels over which a rising start of the image is followed."""

ROWS = 64
"""Into so many parts the packed list is divided evenly."""

CHUNK = 1 << 15
"""Voxels over which the counts of a histogram are taken to grow evenly, off the CPU."""

FIXED_POINT = 2.0**36
"""Units of a count, where counts are added as integers: 2^27 voxels fit."""


class Tables(NamedTuple):
    """Bases and knot halving of all levels, padded to the finest mesh; one array per axis.

    ``weights``, ``fit_weights`` and ``squares`` are as in
    :class:`n4ax.method.bspline.AxisBasis`, of shape (levels, control points, n); ``refinement``
    (levels, control points, control points) leads from the level before.
    """

    weights: tuple[Any, ...]
    fit_weights: tuple[Any, ...]
    squares: tuple[Any, ...]
    refinement: tuple[Any, ...]


class XlaMesh(NamedTuple):
    """The mesh of one level: one matrix (control points, n) per axis, and omega."""

    weights: tuple[Array, ...]
    fit_weights: tuple[Array, ...]
    omega: Array


@lru_cache(maxsize=16)
def level_tables(
    axes: tuple[Axis, ...], control_points: tuple[int, ...], order: int, levels: int
) -> Tables:
    """Tables for the samples of ``axes``, ``control_points`` at the first of ``levels``."""
    parts: tuple[list[Any], ...] = ([], [], [], [])
    for axis, count in zip(axes, control_points, strict=True):
        counts = [(count - order) * 2**level + order for level in range(levels)]
        bases = [axis.sample_basis(points, order) for points in counts]
        kinds: tuple[Callable[[AxisBasis], npt.NDArray[Any]], ...] = (
            lambda basis: basis.weights,
            lambda basis: basis.fit_weights,
            lambda basis: basis.squares,
        )
        for part, kind in zip(parts, kinds, strict=False):
            part.append(np.stack([_padded(b.dense(kind(b)), counts[-1]) for b in bases]))
        halvings = [np.eye(count), *(itk_refinement_matrix(n, order) for n in counts[:-1])]
        parts[-1].append(np.stack([_padded(m, counts[-1], counts[-1]) for m in halvings]))
    return Tables(*(tuple(part) for part in parts))


def _padded(matrix: npt.NDArray[Any], *shape: int) -> npt.NDArray[Any]:
    """The matrix in the first corner of a larger one; axes not named keep their length."""
    wanted = (*shape, *matrix.shape[len(shape) :])
    return np.pad(matrix, [(0, n - own) for n, own in zip(wanted, matrix.shape, strict=True)])


class XlaBinned(NamedTuple):
    """A field, and the position in bins of what it leaves of each voxel."""

    field: Array
    position: Array


class XlaEngine:
    """The primitives of :mod:`n4ax.method.solver` for one box of voxels, while it is traced.

    Parameters
    ----------
    voxels
        The voxels of the box.
    tables
        Of the box's samples.
    shape
        Of the box.
    nbins
        Histogram bins.
    exact
        Stop by the true coefficient of variation rather than by ITK's.
    burst
        Iterations between two looks at whether a level has ended. On a GPU a look costs as much
        as an iteration; those that a level does not need are thrown away.
    """

    def __init__(
        self,
        voxels: Voxels,
        tables: Tables,
        shape: tuple[int, ...],
        nbins: int,
        exact: bool,
        burst: int,
    ) -> None:
        self.nbins = nbins
        self._voxels = voxels
        self._tables = tables
        self._shape = shape
        self._exact = exact
        self._burst = burst
        if voxels.rank is None:
            self._counted = voxels.confidence > 0
            self._rows = (shape[0], -1)
        else:  # cheaper to tell
            self._counted = jnp.arange(len(voxels.log)) < voxels.number
            self._rows = (ROWS, -1)

    def for_each_level(self, levels: int, body: Callable[[Any, S], S], state: S) -> S:
        """``body(level, state)`` for levels 0, 1, ..., compiled once."""
        return lax.fori_loop(0, levels, body, state)

    def repeat(self, goes_on: Callable[[S], Any], step: Callable[[S], S], state: S) -> S:
        """``step(state)`` while ``goes_on(state)``, without a look at it every time."""

        def frozen(_: Any, state: S) -> S:
            keep = goes_on(state)
            return jax.tree.map(partial(jnp.where, keep), step(state), state)

        if self._burst == 1:
            return lax.while_loop(goes_on, step, state)
        return lax.while_loop(goes_on, lambda s: lax.fori_loop(0, self._burst, frozen, s), state)

    def mesh(self, level: Any) -> XlaMesh:
        """The tables of a level, and its omega."""
        weights, fit_weights, squares = (
            tuple(table[level] for table in tables) for tables in self._tables[:3]
        )
        omega = self._contract(self._voxels.confidence, squares)
        return XlaMesh(weights, fit_weights, omega)

    def refine(self, level: Any, lattice: Array) -> Array:
        """The lattice of the level before on the mesh of ``level``; as it is at level 0."""
        finer = lattice.astype(jnp.float64)
        for axis, halving in enumerate(self._tables.refinement):
            finer = _along(halving[level], finer, axis)
        return finer.astype(jnp.float32)

    def no_lattice(self) -> Array:
        """Zeros, on the finest mesh."""
        shape = [halving.shape[-1] for halving in self._tables.refinement]
        return jnp.zeros(shape, jnp.float32)

    def expand(self, mesh: XlaMesh, lattice: Array) -> Array:
        """The field on the voxels of the list, float32."""
        dense = evaluate_spline(lattice, mesh.weights).reshape(-1)
        return dense if self._voxels.cell is None else _take(dense, self._voxels.cell)

    def channels(self, mesh: Any, field: Any) -> list[tuple[Any, Any, Any]]:
        """The image alone: it shares its field with no other."""
        return [(self, mesh, field)]

    def extremes(self, field: Array) -> tuple[Array, Array]:
        """Range of the corrected log intensities, as ITK's scan finds it.

        A voxel that raises the maximum is not looked at for the minimum, so the strictly rising
        run that an image begins with never sets it.
        """
        corrected = self._voxels.log - field
        rising = _rising_start(jnp.where(self._counted, corrected, -jnp.inf)[:RISING])
        from_there = self._counted & (jnp.arange(len(corrected), dtype=jnp.int32) >= rising)
        low = jnp.where(from_there, corrected, jnp.inf).reshape(self._rows)
        high = jnp.where(self._counted, corrected, -jnp.inf).reshape(self._rows)
        # By rows, which the CPU reduces in parallel.
        return low.min(axis=1).min(), high.max(axis=1).max()

    def binned(self, field: Array, lowest: Array, width: Array) -> XlaBinned:
        """Where every voxel lies on the axis of bins.

        ``nbins`` is the place of what ITK drops from the histogram and maps to the last bin.
        """
        corrected = self._voxels.log - field
        # XLA takes a quotient by one number for a product with its inverse. In double that rounds
        # to the float32 quotient all the same; whether the brightest voxel counts hangs on it.
        per_bin = 1.0 / width.astype(jnp.float64)
        position = ((corrected - lowest).astype(jnp.float64) * per_bin).astype(jnp.float32)
        inside = (position >= 0) & (position <= self.nbins - 1) & self._counted
        return XlaBinned(field, jnp.where(inside, position, jnp.float32(self.nbins)))

    def histogram(self, binned: XlaBinned) -> Array:
        """Corrected log intensities per bin, each shared between the two nearest centres."""
        counts = lax.platform_dependent(
            binned.position,
            cpu=partial(count_in_order, bins=self.nbins + 2),
            default=partial(count_by_chunks, bins=self.nbins + 2),
        )
        return counts[: self.nbins]

    def residual_fit(self, mesh: XlaMesh, binned: XlaBinned, expected: Array) -> Array:
        """Delta of the fit to measured less expected log intensities (E at the bin centres)."""
        levels = jnp.append(expected, expected[-1])
        rise = jnp.pad(jnp.diff(expected), (0, 2))

        def residual() -> Array:
            below, part = _split(binned.position)
            mapped = _take(levels, below) + float32_product(_take(rise, below), part)
            return (self._voxels.log - binned.field - mapped) * self._voxels.confidence

        return self._contract(self._once(residual, levels[0]), mesh.fit_weights)

    def _once(self, compute: Callable[[], Array], number: Array) -> Array:
        """What ``compute`` gives, not computed anew for every voxel of the box that uses it.

        XLA drops its barriers on the CPU before it fuses. A branch that it cannot look through,
        on some number that is never infinite, remains; elsewhere a branch would be dear.
        """
        if self._burst > 1:
            return lax.optimization_barrier(compute())
        nothing = jax.eval_shape(compute)
        return lax.cond(number < jnp.inf, compute, lambda: jnp.zeros_like(nothing))

    def _contract(self, values: Array, weights: Sequence[Array]) -> Array:
        """Sums of the voxels of the list over the box, weighted along every axis, float64."""
        rank = self._voxels.rank
        dense = values if rank is None else _take(values, rank)
        rows = dense.reshape(-1, self._shape[-1])
        along_rows = jnp.dot(rows, weights[-1].astype(jnp.float32).T, precision=FULL)
        sums = along_rows.astype(jnp.float64).reshape(*self._shape[:-1], -1)
        for axis, weight in enumerate(weights[:-1]):
            sums = _along(weight, sums, axis)
        return sums

    def change(self, field: Array, before: Array, threshold: Array, every_measure: Array) -> Array:
        """The convergence measure, or infinity where it is surely above the threshold."""

        def measure() -> Array:
            if self._exact:
                return exact_variation(before - field, self._counted)
            packed = self._voxels.rank is not None
            block = REPLAYED if self._burst == 1 else REPLAYED_IN_BURSTS
            return itk_variation(before - field, self._counted, packed, block)

        variation = self._variation(field, before)
        needed = every_measure | may_decide(variation, threshold, self._voxels.number)
        return lax.cond(needed, measure, lambda: jnp.full((), jnp.inf, jnp.float64))

    def _variation(self, field: Array, before: Array) -> Array:
        """About the coefficient of variation of exp(change of the field), from some voxels."""

        def some(values: Array) -> Array:
            if self._voxels.rank is None or len(values) < SAMPLED:
                return values
            length = len(values) // SAMPLED * SAMPLED
            return values[:length].reshape(SAMPLED, -1)[:, :SAMPLE]

        counted = some(self._counted)
        step = jnp.where(counted, some(before) - some(field), jnp.float32(0)).astype(jnp.float64)
        count = counted.sum(dtype=jnp.float64)
        mean = step.sum() / count
        return jnp.sqrt(jnp.maximum((step * step).sum() / count - mean * mean, 0.0))


def evaluate_spline(lattice: Array, weights: Sequence[Array]) -> Array:
    """A lattice's spline on a grid, float32, shape (planes and rows, n of the last axis)."""
    rows = lattice
    for axis, weight in enumerate(weights[:-1]):
        rows = _along(weight.T, rows, axis)
    return jnp.dot(rows.reshape(-1, lattice.shape[-1]), weights[-1], precision=FULL)


def _along(matrix: Array, array: Array, axis: int) -> Array:
    """``matrix`` (m, n) applied to ``axis`` (of length n) of ``array``."""
    product = jnp.tensordot(matrix, array, axes=(1, axis), precision=FULL)
    return jnp.moveaxis(product, 0, axis)


def _split(position: Array) -> tuple[Array, Array]:
    """The bin at or below each position, and the part of a bin beyond it."""
    below = position.astype(jnp.int32)
    return below, position - below.astype(jnp.float32)


def _take(values: Array, index: Array) -> Array:
    """``values[index]`` for indices known to be right, which need no care for negative ones."""
    single = lax.GatherDimensionNumbers(
        offset_dims=(), collapsed_slice_dims=(0,), start_index_map=(0,)
    )
    mode = lax.GatherScatterMode.PROMISE_IN_BOUNDS
    return lax.gather(values, index[:, None], single, slice_sizes=(1,), mode=mode)


def _rising_start(values: Array) -> Array:
    """How many values each exceed all before them and follow on no other; -inf is no value."""
    before = lax.cummax(jnp.concatenate([jnp.full(1, -jnp.inf, values.dtype), values[:-1]]))
    falls = (values > -jnp.inf) & ~(values > before)
    return jnp.where(falls.any(), lax.argmax(falls, 0, jnp.int32), len(values))


def count_in_order(position: Array, *, bins: int) -> Array:
    """Voxels per bin, added one after the other in float32 as ITK adds them: on the CPU."""
    below, part = _split(position)
    pairs = jnp.stack([1 - part, part], axis=1)
    neighbours = lax.ScatterDimensionNumbers(
        update_window_dims=(1,), inserted_window_dims=(), scatter_dims_to_operand_dims=(0,)
    )
    counts = lax.scatter_add(
        jnp.zeros(bins, jnp.float32), below[:, None], pairs, neighbours,
        mode=lax.GatherScatterMode.PROMISE_IN_BOUNDS,
    )  # fmt: skip
    return counts.astype(jnp.float64)


def count_by_chunks(position: Array, *, bins: int) -> Array:
    """Voxels per bin, rounded as ITK rounds them but added as integers: off the CPU.

    An addition to ITK's float32 count rounds to the ulp of the count so far. The voxels are
    counted twice: per chunk without rounding, which tells what the count is at each voxel, and
    with it. Integers may be added in any order.
    """
    below, part = _split(position)
    at = jnp.arange(len(position), dtype=jnp.int32)
    chunk, chunks = at // CHUNK, -(-len(position) // CHUNK)

    def count(pairs: tuple[Array, Array]) -> Array:
        sums = jnp.zeros((chunks, bins), jnp.int64)
        for bin_, value in zip((below, below + 1), pairs, strict=True):
            units = jnp.rint(value.astype(jnp.float64) * FIXED_POINT).astype(jnp.int64)
            sums = sums.at[chunk, jnp.minimum(bin_, bins - 1)].add(units)
        return sums.astype(jnp.float64) / FIXED_POINT

    gained = count((1 - part, part))
    before = jnp.cumsum(gained, axis=0) - gained
    share = (at % CHUNK).astype(jnp.float32) / CHUNK

    def rounded(value: Array, bin_: Array) -> Array:
        where = chunk * bins + jnp.minimum(bin_, bins - 1)
        first, gain = (_take(a.astype(jnp.float32).reshape(-1), where) for a in (before, gained))
        ulp = jnp.exp2(jnp.floor(jnp.log2(jnp.maximum(first + share * gain, 1))) - 23)
        return jnp.rint(value / ulp) * ulp

    return count((rounded(1 - part, below), rounded(part, below + 1))).sum(axis=0)
