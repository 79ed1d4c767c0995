"""Voxels per bin, rounded as ITK rounds them, on the CPU and on accelerators."""

import jax.numpy as jnp
from jax import Array, lax

from n4ax.engines.xla.box import gather

CHUNK = 1 << 15
"""Off the CPU, the counts are taken to grow evenly over this many voxels."""

FIXED_POINT = 2.0**36
"""Units of one voxel, when counts are added as integers. 2^27 voxels fit."""


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
    at each voxel. The second one rounds. Integers may be added in any order.
    """
    below, part = split_position(position)
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

    def round_to_ulp(value: Array, bin_: Array) -> Array:
        where = chunk * bins + jnp.minimum(bin_, bins - 1)
        first, gain = (gather(a.astype(jnp.float32).reshape(-1), where) for a in (before, gained))
        ulp = jnp.exp2(jnp.floor(jnp.log2(jnp.maximum(first + share * gain, 1))) - 23)
        return jnp.rint(value / ulp) * ulp

    return count((round_to_ulp(1 - part, below), round_to_ulp(part, below + 1))).sum(axis=0)
