"""The layout that the CPU kernels walk: stretches of image rows, packed one after another.

A stretch covers included voxels of one row and the short gaps between them; a gap voxel holds
``OUTSIDE`` in place of its log intensity. So a fragmented mask still gives inner loops long
enough for vector instructions, and a solid one has no gaps at all.

The stretches are cut into chunks of about ``CHUNK_VOXELS``. The cut depends on the mask alone,
never on the number of threads, and so do all sums.
"""

from collections.abc import Callable
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from n4ax.engines.cpu.kernels import LANES, pack_chunks

BRIDGED_GAP = 24
"""Gaps of up to this many voxels are carried along rather than end a stretch."""

CHUNK_VOXELS = 1 << 15

SEARCHED_VOXELS = 1 << 18
"""So many voxels of the mask are searched at a time, which stay in the cache."""


class Rows(NamedTuple):
    """Packed stretches of rows; see the module's text.

    ``log`` and ``weights`` hold the packed voxels (``weights`` is empty where every voxel
    counts fully). Stretch ``i`` is ``log[start[i]:]``, ``length[i]`` voxels from column
    ``x[i]``, padded to the next stretch with ``OUTSIDE``. It lies in row ``y[i]`` of plane
    ``plane[i]``, where a plane is one combination of indices of the leading axes, and
    ``included[i]`` voxels count before it. Chunk ``c`` is the stretches
    ``chunk[c]:chunk[c + 1]``; its planes are numbered from ``slot[c]`` on, and ``slot_plane``
    tells which plane a slot is.
    """

    log: npt.NDArray[np.float32]
    weights: npt.NDArray[np.float32]
    start: npt.NDArray[np.int64]
    length: npt.NDArray[np.int64]
    x: npt.NDArray[np.int64]
    y: npt.NDArray[np.int64]
    plane: npt.NDArray[np.int64]
    included: npt.NDArray[np.int64]
    chunk: npt.NDArray[np.int64]
    slot: npt.NDArray[np.int64]
    slot_plane: npt.NDArray[np.int64]


def pack_rows(
    intensities: npt.NDArray[np.float32],
    included: npt.NDArray[np.bool_],
    weights: npt.NDArray[np.float32] | None,
    tiny: float | None,
    in_parts: Callable[..., None],
) -> Rows:
    """Pack the included voxels of an image of any number of axes, the last one as rows.

    Parameters
    ----------
    intensities
        Raw intensities; their logarithm is taken here.
    included
        Which voxels count.
    weights
        Confidence per voxel, or ``None``.
    tiny
        Floor under the logarithm; ``None`` keeps an intensity that is not positive as it is.
    in_parts
        Runs a kernel over a number of chunks: :meth:`n4ax.engines.cpu.engine.Threads.run`.
    """
    *leading, height, width = intensities.shape
    planes = int(np.prod(leading, dtype=np.int64))
    stack = (planes, height, width)
    mask = included.reshape(stack)
    x, y, plane, length, before = _stretches(mask)
    start = np.concatenate([[0], np.cumsum(-(-length // LANES) * LANES)])
    log = np.empty(start[-1], np.float32)
    confidence = np.empty(0 if weights is None else len(log), np.float32)
    chunk, slot, slot_plane = _cut(start, plane)
    rows = Rows(log, confidence, start, length, x, y, plane, before, chunk, slot, slot_plane)
    floor = np.float32(np.nan if tiny is None else tiny)
    given = np.ones((1, 1, 1), np.float32) if weights is None else weights.reshape(stack)
    in_parts(len(chunk) - 1, pack_chunks, intensities.reshape(stack), mask, given, floor, rows)
    return rows


def _stretches(mask: npt.NDArray[np.bool_]) -> tuple[npt.NDArray[np.int64], ...]:
    """Where the stretches lie: first column, row, plane and length of each, voxels before it."""
    _, height, width = mask.shape
    turns = _turns(mask.reshape(-1, width))
    first, stop = turns[::2], turns[1::2]  # runs of included voxels
    row = first // (width + 1)
    begins = np.ones(len(first), bool)
    begins[1:] = (row[1:] != row[:-1]) | (first[1:] - stop[:-1] > BRIDGED_GAP)
    head = np.flatnonzero(begins)
    last = np.append(head[1:], len(first)) - 1
    row = row[head]
    voxels = np.concatenate([[0], np.cumsum(stop - first)])
    before = np.append(voxels[head], voxels[-1])
    x = first[head] - row * (width + 1)
    return x, row % height, row // height, stop[last] - first[head], before


def _turns(rows: npt.NDArray[np.bool_]) -> npt.NDArray[np.int64]:
    """Where a row of the mask begins or ends to be included, in rows of one place more."""
    count, width = rows.shape
    step = max(1, SEARCHED_VOXELS // width)
    found = []
    for first in range(0, count, step):
        part = rows[first : first + step]
        edged = np.zeros((len(part), width + 2), bool)
        edged[:, 1:-1] = part
        turns = np.flatnonzero(edged[:, 1:] != edged[:, :-1])
        found.append(turns + first * (width + 1))
    return np.concatenate(found)


def _cut(
    start: npt.NDArray[np.int64], plane: npt.NDArray[np.int64]
) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64], npt.NDArray[np.int64]]:
    """Chunks of stretches, between planes where planes are small, and their planes' slots."""
    count = len(plane)
    ideal = np.searchsorted(start, np.arange(CHUNK_VOXELS, start[-1], CHUNK_VOXELS))
    next_plane = np.searchsorted(plane, plane[np.minimum(ideal, count - 1)], side="right")
    near = start[next_plane] - start[ideal] <= CHUNK_VOXELS
    cuts = np.unique(np.concatenate([[0], np.where(near, next_plane, ideal), [count]]))
    new_slot = np.zeros(count, bool)
    new_slot[cuts[:-1]] = True
    new_slot[1:] |= plane[1:] != plane[:-1]
    slot_of_stretch = np.cumsum(new_slot) - 1
    return cuts, slot_of_stretch[cuts[:-1]], plane[new_slot]
