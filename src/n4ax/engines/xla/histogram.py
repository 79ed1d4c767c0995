"""Voxels per bin, rounded as ITK rounds them, on the CPU and on accelerators."""

import jax.numpy as jnp
from jax import Array, lax

from n4ax.engines.xla.box import gather
from n4ax.engines.xla.rounding import binade

CHUNK = 1 << 10
"""Off the CPU, the counts are taken to grow evenly over this many voxels. Very many bins need
longer chunks, or the table of chunks would outgrow the image."""

_HALF = 32
"""Bits of each of the two numbers that one integer holds."""


def split_position(position: Array) -> tuple[Array, Array]:
    """Split a position into the bin at or below it, and the part of a bin beyond that."""
    below = position.astype(jnp.int32)
    return below, position - below.astype(jnp.float32)


def count_in_order(position: Array, *, bins: int) -> Array:
    """Count voxels per bin one after the other in float32, as ITK does; for the CPU."""
    below, part = split_position(position)
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
    """Count voxels per bin with ITK's rounding, but add integers; for accelerators.

    Each addition to ITK's float32 count rounds to an ulp of the count so far. So the voxels are
    counted twice. The first count, per chunk and without rounding, tells how large ITK's count is
    at each voxel. The second one rounds. Integers may be added in any order. An addition to memory
    is what takes the time, so that what a voxel adds to its two bins is added at once, as the two
    halves of one integer.
    """
    length = max(CHUNK, 1 << (bins // 2).bit_length())
    chunks = -(-len(position) // length)
    units = 2.0 ** (_HALF - 2) / length  # the sum of a chunk fits into one half
    at = jnp.arange(len(position), dtype=jnp.int32)
    below, part = split_position(position)
    cell = at // length * bins + below

    def count(lower: Array, upper: Array) -> Array:
        """Add ``lower`` to the bin below each voxel and ``upper`` to the next, for each chunk."""
        halves = [jnp.rint(value * units).astype(jnp.int64) for value in (lower, upper)]
        sums = _scatter_add((halves[0] << _HALF) + halves[1], cell, chunks * bins)
        sums = sums.reshape(chunks, bins)
        to_lower, to_upper = sums >> _HALF, sums & (2**_HALF - 1)
        return (to_lower + jnp.pad(to_upper, ((0, 0), (1, 0)))[:, :-1]) / units

    gained = count(1 - part, part)
    before = jnp.cumsum(gained, axis=0) - gained
    share = (at % length).astype(jnp.float32) / length

    def round_to_ulp(value: Array, where: Array) -> Array:
        first, gain = (gather(a.astype(jnp.float32).reshape(-1), where) for a in (before, gained))
        ulp = binade(jnp.maximum(first + share * gain, 1)) * 2.0**-23
        return jnp.rint(value / ulp) * ulp

    last = chunks * bins - 1  # of a voxel that no bin counts, the next bin may not exist
    rounded = round_to_ulp(1 - part, cell), round_to_ulp(part, jnp.minimum(cell + 1, last))
    return count(*rounded).sum(axis=0)


def _scatter_add(values: Array, index: Array, size: int) -> Array:
    """Add values to an array of zeros at indices that are known to be in range."""
    single = lax.ScatterDimensionNumbers(
        update_window_dims=(), inserted_window_dims=(0,), scatter_dims_to_operand_dims=(0,)
    )
    return lax.scatter_add(
        jnp.zeros(size, values.dtype), index[:, None], values, single,
        mode=lax.GatherScatterMode.PROMISE_IN_BOUNDS,
    )  # fmt: skip
