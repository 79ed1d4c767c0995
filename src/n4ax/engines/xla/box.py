"""The box of voxels that the XLA engine works on: cropped, enlarged to a common size, packed.

XLA compiles a program for fixed shapes. So the volume is cropped to the bounding box of the
voxels that count, and the box is enlarged to the next of a few sizes, which the subjects of one
study share. If less than half of the box counts, what concerns single voxels is computed on a
packed list of them, in image order (ITK's), and only the sums of the spline on the whole box.
"""

from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array, lax

_TILE = 64


class Box(NamedTuple):
    """A box within a volume.

    Attributes
    ----------
    first
        Index of its first voxel.
    shape
        Its voxels along each axis.
    room
        The room on the packed list of its voxels; ``None`` if they are not packed.
    """

    first: tuple[int, ...]
    shape: tuple[int, ...]
    room: int | None


class Voxels(NamedTuple):
    """The voxels of a box as a list in image order.

    Attributes
    ----------
    log, confidence
        Log intensities, and weights in the fit, which are 0 for a voxel that does not count. Both
        have shape (room,), or (voxels of the box,) if the voxels are not packed.
    cell
        The place in the box of each packed voxel; ``None`` if they are not packed.
    rank
        The place on the packed list of each voxel of the box. For a voxel that does not count it
        is a place of confidence 0. ``None`` if the voxels are not packed.
    number
        Number of voxels that count.
    """

    log: Array
    confidence: Array
    cell: Array | None
    rank: Array | None
    number: Array


def make_whole_box(shape: tuple[int, ...]) -> Box:
    """The whole volume, not packed, for a mask that is unknown while the program is traced."""
    return Box((0,) * len(shape), shape, None)


def find_bounding_box(included: Array) -> Box:
    """Find the box that holds all voxels that count, of one of the common sizes."""
    *lines, count = (np.asarray(part) for part in _project(included))
    first: list[int] = []
    shape: list[int] = []
    for line in lines:
        inside = np.flatnonzero(line)
        size = min(_round_up(int(inside[-1] - inside[0]) + 1, least=8), len(line))
        first.append(min(int(inside[0]), len(line) - size))
        shape.append(size)
    room = _round_up(int(count) + 1, least=1024)
    packed = 2 * room <= int(np.prod(shape))
    return Box(tuple(first), tuple(shape), room if packed else None)


def _round_up(count: int, least: int) -> int:
    """Round up to a common size: a multiple of ``least``, or one of four sizes per doubling."""
    step = max(least, 2 ** (max(count - 1, 1).bit_length() - 3))
    return -(-count // step) * step


@jax.jit
def _project(included: Array) -> list[Array]:
    """Where along each axis any voxel counts, and the number of voxels that count."""
    axes = range(included.ndim)
    lines = [included.any(axis=tuple(a for a in axes if a != axis)) for axis in axes]
    return [*lines, included.sum(dtype=jnp.int32)]


@partial(jax.jit, static_argnames=("shape", "room"))
def pack_voxels(
    intensities: Array,
    included: Array,
    weights: Array | None,
    tiny: Any,
    first: Any,
    *,
    shape: tuple[int, ...],
    room: int | None,
) -> Voxels:
    """Take the logarithm of the voxels of a box, and pack them if the box has a ``room``.

    Parameters
    ----------
    intensities, included, weights
        Raw intensities, which of them count, and their confidence (``None``: 1), of a whole
        volume.
    tiny
        Intensities are raised to this before the logarithm. NaN keeps an intensity that is not
        positive as it is, as in ITK.
    first, shape, room
        The box. Its place is an argument of the program; its size is not.
    """

    def crop(array: Array) -> Array:
        return lax.dynamic_slice(array, first, shape).reshape(-1)

    inside = crop(included)
    value = crop(intensities).astype(jnp.float32)
    value = jnp.where(value < tiny, tiny, value)
    log = jnp.where(value > 0, jnp.log(value.astype(jnp.float64)).astype(jnp.float32), value)
    log = jnp.where(inside, log, jnp.float32(0))
    weight = jnp.float32(1) if weights is None else crop(weights)
    confidence = jnp.where(inside, weight, jnp.float32(0))
    if room is None:
        return Voxels(log, confidence, None, None, inside.sum(dtype=jnp.int32))
    count = running_count(inside)
    at = jnp.arange(len(inside), dtype=jnp.int32)
    cell = jnp.zeros(room, jnp.int32).at[jnp.where(inside, count - 1, room)].set(at, mode="drop")
    packed = jnp.where(jnp.arange(room) < count[-1], confidence[cell], jnp.float32(0))
    rank = jnp.where(inside, count - 1, room - 1)
    return Voxels(log[cell], packed, cell, rank, count[-1])


def gather(values: Array, index: Array) -> Array:
    """``values[index]`` for indices known to be in range, which saves a test for negative ones."""
    single = lax.GatherDimensionNumbers(
        offset_dims=(), collapsed_slice_dims=(0,), start_index_map=(0,)
    )
    mode = lax.GatherScatterMode.PROMISE_IN_BOUNDS
    return lax.gather(values, index[:, None], single, slice_sizes=(1,), mode=mode)


def running_count(flags: Array) -> Array:
    """Running count of flags, each counted itself, shape (n,), int32."""
    tiles = _cut_tiles(flags.astype(jnp.float32))
    inner = jnp.dot(tiles, _upper_triangle(jnp.float32), precision=lax.Precision.HIGHEST)
    totals = inner[:, -1].astype(jnp.float64)
    before = running_sum(totals) - totals
    return (inner + before[:, None]).astype(jnp.int32).reshape(-1)[: len(flags)]


def running_sum(values: Array) -> Array:
    """Running sum of float64 values, each added itself, shape (n,).

    It is computed by products with a triangle of ones, which compile and run much faster than a
    scan. It is exact if no sum needs more than 53 bits.
    """
    tiles = _cut_tiles(values)
    inner = jnp.dot(tiles, _upper_triangle(jnp.float64), precision=lax.Precision.HIGHEST)
    if len(inner) > 1:
        totals = inner[:, -1]
        inner = inner + (running_sum(totals) - totals)[:, None]
    return inner.reshape(-1)[: len(values)]


def _cut_tiles(values: Array) -> Array:
    """Cut values into rows of one tile each; the last row is filled up with zeros."""
    return jnp.pad(values, (0, -len(values) % _TILE)).reshape(-1, _TILE)


def _upper_triangle(dtype: Any) -> Array:
    """A square matrix of ones on and above the diagonal, for running sums within a tile."""
    return jnp.triu(jnp.ones((_TILE, _TILE), dtype))
