"""The XLA engine: the page of the solver traced into one program, for any device of JAX.

Parameters, basis tables and the place of the box are arguments of the program, and the levels run
in one loop over lattices that are padded to the finest mesh. So a program is compiled once for a
kind of volume and mesh, whatever the parameters are. Sums over the spline are products with small
dense matrices, in full float32 along rows and in double beyond. No numbers are added in an order
that may change.
"""

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any, NamedTuple, TypeVar

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array, lax

from n4ax.engines.xla.box import Voxels, gather
from n4ax.engines.xla.histogram import count_by_chunks, count_in_order, split_position
from n4ax.engines.xla.prediction import predict
from n4ax.engines.xla.recurrence import exact_variation, itk_variation
from n4ax.engines.xla.spline import FULL, apply_along, evaluate_spline
from n4ax.engines.xla.tables import Tables
from n4ax.itk.rounding import float32_product
from n4ax.method.convergence import Prediction, choose_samples, is_above
from n4ax.method.sharpening import sharpened_intensities
from n4ax.method.solver import ChannelState, Parameters

S = TypeVar("S")

SAMPLES = 8192
"""The convergence measure is predicted from about this many voxels of the list."""

REPLAYED, REPLAYED_OFF_CPU = 1 << 12, 1 << 18
"""The stopping measure takes this many voxels at once, on the CPU and off it. Off the CPU a step
costs more."""

RISING = 1 << 12
"""A rising start of the image is followed over this many voxels."""

ROWS = 64
"""A packed list is divided evenly into this many parts."""


class XlaMesh(NamedTuple):
    """The mesh of one level: matrices (control points, n) for each axis, and omega."""

    weights: tuple[Array, ...]
    fit_weights: tuple[Array, ...]
    omega: Array


class XlaBinned(NamedTuple):
    """A field, and the position in bins of each corrected log intensity that it leaves."""

    field: Array
    position: Array


class XlaEngine:
    """Both roles of :mod:`n4ax.method.solver` for one box of voxels, while it is traced.

    Parameters
    ----------
    voxels
        The voxels of the box.
    tables
        The spline tables for the samples of the box.
    shape
        Shape of the box.
    nbins
        Number of histogram bins.
    exact
        Whether levels end by the true coefficient of variation, and not by ITK's measure.
    tests_both_ends
        Whether every voxel is tested for the least and the greatest, as in ITK 6.
    on_cpu
        Whether the program is for the CPU. On other devices it has barriers, and the stopping
        measure takes more voxels at once.
    """

    def __init__(
        self,
        voxels: Voxels,
        tables: Tables,
        shape: tuple[int, ...],
        nbins: int,
        exact: bool,
        tests_both_ends: bool,
        on_cpu: bool,
    ) -> None:
        self.nbins = nbins
        self.keeps_constants = True
        self._voxels = voxels
        self._tables = tables
        self._shape = shape
        self._exact = exact
        self._tests_both_ends = tests_both_ends
        self._on_cpu = on_cpu
        if voxels.rank is None:
            self._counted = voxels.confidence > 0
            self._rows = (shape[0], -1)
        else:  # the voxels that count come first, which is cheaper to test
            self._counted = jnp.arange(len(voxels.log)) < voxels.number
            self._rows = (ROWS, -1)

    def for_each_level(self, levels: int, body: Callable[[Any, S], S], state: S) -> S:
        """Apply ``body(level, state)`` for the levels 0, 1, ...; it is compiled once."""
        return lax.fori_loop(0, levels, body, state)

    def repeat(self, goes_on: Callable[[S], Any], step: Callable[[S], S], state: S) -> S:
        """Apply ``step(state)`` as long as ``goes_on(state)``."""
        return lax.while_loop(goes_on, step, state)

    def mesh(self, level: Any) -> XlaMesh:
        """The tables of a level, and its omega."""
        weights, fit_weights, squares = (
            tuple(table[level] for table in tables) for tables in self._tables[:3]
        )
        omega = self._contract(self._voxels.confidence, squares)
        return XlaMesh(weights, fit_weights, omega)

    def refine(self, level: Any, lattice: Array) -> Array:
        """The lattice of the previous level on the mesh of ``level``; unchanged at level 0."""
        finer = lattice.astype(jnp.float64)
        for axis, halving in enumerate(self._tables.refinement):
            finer = apply_along(halving[level], finer, axis)
        return finer.astype(jnp.float32)

    def no_lattice(self) -> Array:
        """A lattice of zeros, on the finest mesh."""
        shape = [halving.shape[-1] for halving in self._tables.refinement]
        return jnp.zeros(shape, jnp.float32)

    def expand(self, mesh: XlaMesh, lattice: Array) -> Array:
        """The field on the voxels of the list, float32."""
        dense = evaluate_spline(lattice, mesh.weights).reshape(-1)
        return dense if self._voxels.cell is None else gather(dense, self._voxels.cell)

    def channels(
        self, mesh: XlaMesh, field: Array
    ) -> list[ChannelState[XlaMesh, Array, XlaBinned]]:
        """The image alone, since it shares its field with no other image."""
        return [ChannelState(self, mesh, field)]

    def extremes(self, field: Array) -> tuple[Array, Array]:
        """The range of the corrected log intensities, as ITK's scan finds it.

        In ITK 5, a voxel that raises the maximum is not tested for the minimum. So the strictly
        rising run of voxels at the start of an image never sets the minimum.
        """
        corrected = self._voxels.log - field
        tested = self._counted
        if not self._tests_both_ends:
            rising = _count_rising(jnp.where(self._counted, corrected, -jnp.inf)[:RISING])
            tested = tested & (jnp.arange(len(corrected), dtype=jnp.int32) >= rising)
        # The CPU reduces rows in parallel.
        low = jnp.where(tested, corrected, jnp.inf).reshape(self._rows)
        high = jnp.where(self._counted, corrected, -jnp.inf).reshape(self._rows)
        return low.min(axis=1).min(), high.max(axis=1).max()

    def binned(self, field: Array, lowest: Array, width: Array) -> XlaBinned:
        """The field with the position of every voxel on the axis of bins.

        Voxels that ITK drops from the histogram get position ``nbins``; these are the voxels that
        its map sends to the last bin.
        """
        corrected = self._voxels.log - field
        # XLA replaces a division by one number by a product with its inverse. In double, the
        # product still rounds to the float32 quotient, which decides whether the brightest voxel
        # counts.
        per_bin = 1.0 / width.astype(jnp.float64)
        position = ((corrected - lowest).astype(jnp.float64) * per_bin).astype(jnp.float32)
        inside = (position >= 0) & (position <= self.nbins - 1) & self._counted
        return XlaBinned(field, jnp.where(inside, position, jnp.float32(self.nbins)))

    def histogram(self, binned: XlaBinned) -> Array:
        """Corrected log intensities per bin, each shared between the two nearest centres."""
        # A traced program may run on another device than JAX's default one.
        counts = lax.platform_dependent(
            binned.position,
            cpu=partial(count_in_order, bins=self.nbins + 2),
            default=partial(count_by_chunks, bins=self.nbins + 2),
        )
        return counts[: self.nbins]

    def sharpen(self, histogram: Array, bins: tuple[Array, Array], parameters: Parameters) -> Array:
        """The expected log intensity at each bin centre."""
        return sharpened_intensities(histogram, *bins, parameters.fwhm, parameters.wiener)

    def residual_fit(self, mesh: XlaMesh, binned: XlaBinned, expected: Array) -> Array:
        """Delta of the fit to corrected less expected log intensities (E at the bin centres)."""
        levels = jnp.append(expected, expected[-1])
        rise = jnp.pad(jnp.diff(expected), (0, 2))

        def compute_residuals() -> Array:
            below, part = split_position(binned.position)
            mapped = gather(levels, below) + float32_product(gather(rise, below), part)
            return (self._voxels.log - binned.field - mapped) * self._voxels.confidence

        residuals = self._compute_once(compute_residuals, levels[0])
        return self._contract(residuals, mesh.fit_weights)

    def _compute_once(self, compute: Callable[[], Array], number: Array) -> Array:
        """The result of ``compute``, which XLA may not recompute for every voxel that uses it.

        On the CPU, XLA drops its barriers before it fuses operations. What remains is a branch
        that it cannot see through, here on a ``number`` that is never infinite. Elsewhere a
        branch would be expensive, and a barrier does.
        """
        if not self._on_cpu:
            return lax.optimization_barrier(compute())
        nothing = jax.eval_shape(compute)
        return lax.cond(number != jnp.inf, compute, lambda: jnp.zeros_like(nothing))

    def _contract(self, values: Array, weights: Sequence[Array]) -> Array:
        """Sum the voxels of the list over the box, weighted along every axis, float64."""
        rank = self._voxels.rank
        dense = values if rank is None else gather(values, rank)
        rows = dense.reshape(-1, self._shape[-1])
        along_rows = jnp.dot(rows, weights[-1].astype(jnp.float32).T, precision=FULL)
        sums = along_rows.astype(jnp.float64).reshape(*self._shape[:-1], -1)
        for axis, weight in enumerate(weights[:-1]):
            sums = apply_along(weight, sums, axis)
        return sums

    def change(self, field: Array, before: Array, threshold: Array) -> Array:
        """The convergence measure, or infinity if it is certainly above the threshold."""

        def measure() -> Array:
            if self._exact:
                return exact_variation(before - field, self._counted)
            packed = self._voxels.rank is not None
            block = REPLAYED if self._on_cpu else REPLAYED_OFF_CPU
            return itk_variation(before - field, self._counted, packed, block)

        prediction = self._predict(field, before)
        needed = ~is_above(prediction, threshold, self._voxels.number)
        return lax.cond(needed, measure, lambda: jnp.full((), jnp.inf, jnp.float64))

    def _predict(self, field: Array, before: Array) -> Prediction:
        """Predict the convergence measure from a part of the voxels."""
        samples = choose_samples(len(field), SAMPLES)
        step = before[samples.voxel] - field[samples.voxel]
        weight = jnp.where(self._counted[samples.voxel], samples.weight.astype(np.float64), 0.0)
        return predict(step, weight, self._exact)


def _count_rising(values: Array) -> Array:
    """Count the values at the start that each exceed all before them; -inf stands for no value."""
    before = lax.cummax(jnp.concatenate([jnp.full(1, -jnp.inf, values.dtype), values[:-1]]))
    falls = (values > -jnp.inf) & ~(values > before)
    return jnp.where(falls.any(), lax.argmax(falls, 0, jnp.int32), len(values))
