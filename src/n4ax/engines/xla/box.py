"""The box of voxels that the XLA engine works on: cropped, padded to a size in common, packed.

XLA compiles for fixed shapes. So the volume is cropped to the bounding box of the voxels that
count, and the box is made larger to the next of a few sizes, which subjects of one study share.
Where less than half of the box counts, what concerns single voxels is done on a packed list of
them, in image order (ITK's), and only spline sums on the whole box.
"""

from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array, lax

_TILE = 64


class Box(NamedTuple):
    """Where the box lies, its shape, and the room on the packed list (``None``: unpacked)."""

    first: tuple[int, ...]
    shape: tuple[int, ...]
    room: int | None


class Voxels(NamedTuple):
    """The voxels of a box, as a list in image order.

    ``log`` are log intensities and ``confidence`` weights of the fit, 0 at a voxel that does not
    count; both of shape (room,), or (voxels of the box,) where it is not packed. ``cell`` is
    where in the box each packed voxel lies, ``rank`` which packed voxel each voxel of the box is,
    or one of no confidence; both ``None`` where it is not packed.
    """

    log: Array
    confidence: Array
    cell: Array | None
    rank: Array | None
    number: Array
    """Voxels that count."""


def whole_box(shape: tuple[int, ...]) -> Box:
    """All of an image, unpacked: where the mask is not known when the program is made."""
    return Box((0,) * len(shape), shape, None)


def bounding_box(included: Array) -> Box:
    """The box for the voxels that count."""
    *lines, count = (np.asarray(part) for part in _extent(included))
    first, shape = [], []
    for line in lines:
        inside = np.flatnonzero(line)
        size = min(_next_size(int(inside[-1] - inside[0]) + 1, least=8), len(line))
        first.append(min(int(inside[0]), len(line) - size))
        shape.append(size)
    room = _next_size(int(count) + 1, least=1024)
    packed = 2 * room <= int(np.prod(shape))
    return Box(tuple(first), tuple(shape), room if packed else None)


def _next_size(count: int, least: int) -> int:
    """The next of four sizes per doubling."""
    step = max(least, 2 ** (max(count - 1, 1).bit_length() - 3))
    return -(-count // step) * step


@jax.jit
def _extent(included: Array) -> list[Array]:
    axes = range(included.ndim)
    lines = [included.any(axis=tuple(a for a in axes if a != axis)) for axis in axes]
    return [*lines, included.sum(dtype=jnp.int32)]


@partial(jax.jit, static_argnames=("shape", "room"))
def lay_voxels(
    intensities: Array,
    included: Array,
    weights: Array | None,
    tiny: Any,
    first: Any,
    *,
    shape: tuple[int, ...],
    room: int | None,
) -> Voxels:
    """Log intensities and confidences of a box.

    Parameters
    ----------
    intensities, included, weights
        Raw intensities, which of them count, and their confidence (``None``: 1), of any size.
    tiny
        Floor under the logarithm; NaN leaves an intensity that is not positive as it is (ITK).
    first, shape, room
        The box; where it lies is an argument of the program, its size is not.
    """

    def cropped(array: Array) -> Array:
        return lax.dynamic_slice(array, first, shape).reshape(-1)

    inside = cropped(included)
    value = cropped(intensities).astype(jnp.float32)
    value = jnp.where(value < tiny, tiny, value)
    log = jnp.where(value > 0, jnp.log(value.astype(jnp.float64)).astype(jnp.float32), value)
    log = jnp.where(inside, log, jnp.float32(0))
    weight = jnp.float32(1) if weights is None else cropped(weights)
    confidence = jnp.where(inside, weight, jnp.float32(0))
    if room is None:
        return Voxels(log, confidence, None, None, inside.sum(dtype=jnp.int32))
    count = running_count(inside)
    at = jnp.arange(len(inside), dtype=jnp.int32)
    cell = jnp.zeros(room, jnp.int32).at[jnp.where(inside, count - 1, room)].set(at, mode="drop")
    packed = jnp.where(jnp.arange(room) < count[-1], confidence[cell], jnp.float32(0))
    rank = jnp.where(inside, count - 1, room - 1)
    return Voxels(log[cell], packed, cell, rank, count[-1])


def running_count(flags: Array) -> Array:
    """Inclusive running count of flags, shape (n,), int32."""
    tiles = _tiled(flags.astype(jnp.float32))
    inner = jnp.dot(tiles, _upper_triangle(jnp.float32), precision=lax.Precision.HIGHEST)
    totals = inner[:, -1].astype(jnp.float64)
    before = running_sum(totals) - totals
    return (inner + before[:, None]).astype(jnp.int32).reshape(-1)[: len(flags)]


def running_sum(values: Array) -> Array:
    """Inclusive running sum of float64 values, shape (n,), by products with a triangle of ones.

    Much faster to compile and to run than a scan, and exact where no sum is longer than 53 bits.
    """
    inner = jnp.dot(_tiled(values), _upper_triangle(jnp.float64), precision=lax.Precision.HIGHEST)
    if len(inner) > 1:
        totals = inner[:, -1]
        inner = inner + (running_sum(totals) - totals)[:, None]
    return inner.reshape(-1)[: len(values)]


def _tiled(values: Array) -> Array:
    """Rows of one tile's length, the last one filled up with zeros."""
    return jnp.pad(values, (0, -len(values) % _TILE)).reshape(-1, _TILE)


def _upper_triangle(dtype: Any) -> Array:
    return jnp.triu(jnp.ones((_TILE, _TILE), dtype))
