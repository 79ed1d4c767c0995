"""An image packed for the CPU kernels: stretches of its rows, one after another.

A stretch covers voxels of one row that count, and the short gaps between them. A voxel of a gap
holds ``OUTSIDE`` in place of its log intensity. So the inner loops over a fragmented mask are
still long enough for vector instructions, and a solid mask has no gaps at all.

The stretches are cut into chunks of about ``CHUNK_VOXELS``. Where they are cut depends on the
mask alone, and never on the number of threads, so the sums do not depend on it either.
"""

from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from n4ax.engines.cpu.kernels.layout import LANES, Rows
from n4ax.engines.cpu.kernels.packing import pack_chunks
from n4ax.engines.cpu.threads import Threads

BRIDGED_GAP = 24
"""Gaps of up to this many voxels become part of a stretch instead of ending it."""

CHUNK_VOXELS = 1 << 15

SEARCHED_VOXELS = 1 << 18
"""This many voxels of the mask are searched at a time, since so many stay in the cache."""


def pack_rows(
    intensities: npt.NDArray[np.float32],
    included: npt.NDArray[np.bool_],
    weights: npt.NDArray[np.float32] | None,
    tiny: float | None,
    threads: Threads,
) -> Rows:
    """Pack the voxels that count of an image with any number of axes; the last axis is the rows.

    Parameters
    ----------
    intensities
        Raw intensities. Their logarithm is taken here.
    included
        Which voxels count.
    weights
        Confidence of each voxel, or ``None``.
    tiny
        Intensities are raised to this before the logarithm. ``None`` keeps an intensity that is
        not positive as it is.
    threads
        The threads that pack.
    """
    *leading, height, width = intensities.shape
    planes = int(np.prod(leading, dtype=np.int64))
    stack = (planes, height, width)
    mask = included.reshape(stack)
    stretches = _find_stretches(mask)
    start = np.concatenate([[0], np.cumsum(-(-stretches.length // LANES) * LANES)])
    log = np.empty(start[-1], np.float32)
    confidence = np.empty(0 if weights is None else len(log), np.float32)
    chunks = _cut_chunks(start, stretches.plane)
    rows = Rows(log=log, weights=confidence, start=start, **stretches._asdict(), **chunks._asdict())
    floor = np.float32(np.nan if tiny is None else tiny)
    given = np.ones((1, 1, 1), np.float32) if weights is None else weights.reshape(stack)
    threads.run(
        len(rows.chunk) - 1, pack_chunks, intensities.reshape(stack), mask, given, floor, rows
    )
    return rows


class _Stretches(NamedTuple):
    """Where the stretches lie; see :class:`~n4ax.engines.cpu.kernels.layout.Rows`."""

    x: npt.NDArray[np.int64]
    y: npt.NDArray[np.int64]
    plane: npt.NDArray[np.int64]
    length: npt.NDArray[np.int64]
    included: npt.NDArray[np.int64]


class _Chunks(NamedTuple):
    """How the stretches are cut; see :class:`~n4ax.engines.cpu.kernels.layout.Rows`."""

    chunk: npt.NDArray[np.int64]
    slot: npt.NDArray[np.int64]
    slot_plane: npt.NDArray[np.int64]


def _find_stretches(mask: npt.NDArray[np.bool_]) -> _Stretches:
    """Find the stretches of a mask (planes, height, width)."""
    _, height, width = mask.shape
    edges = find_edges(mask.reshape(-1, width))
    first, stop = edges[::2], edges[1::2]  # runs of included voxels
    row = first // (width + 1)
    begins = np.ones(len(first), bool)
    begins[1:] = (row[1:] != row[:-1]) | (first[1:] - stop[:-1] > BRIDGED_GAP)
    head = np.flatnonzero(begins)
    last = np.append(head[1:], len(first)) - 1
    row = row[head]
    voxels = np.concatenate([[0], np.cumsum(stop - first)])
    return _Stretches(
        x=first[head] - row * (width + 1),
        y=row % height,
        plane=row // height,
        length=stop[last] - first[head],
        included=np.append(voxels[head], voxels[-1]),
    )


def find_edges(rows: npt.NDArray[np.bool_]) -> npt.NDArray[np.int64]:
    """Find the columns where runs of included voxels begin and end, alternately.

    Columns are counted through all rows, as if each row had one column more than it has.
    """
    count, width = rows.shape
    step = max(1, SEARCHED_VOXELS // width)
    found: list[npt.NDArray[np.int64]] = []
    for first in range(0, count, step):
        part = rows[first : first + step]
        edged = np.zeros((len(part), width + 2), bool)
        edged[:, 1:-1] = part
        edges = np.flatnonzero(edged[:, 1:] != edged[:, :-1])
        found.append(edges + first * (width + 1))
    return np.concatenate(found)


def _cut_chunks(start: npt.NDArray[np.int64], plane: npt.NDArray[np.int64]) -> _Chunks:
    """Cut the stretches into chunks, between two planes if planes are small."""
    count = len(plane)
    ideal = np.searchsorted(start, np.arange(CHUNK_VOXELS, start[-1], CHUNK_VOXELS))
    next_plane = np.searchsorted(plane, plane[np.minimum(ideal, count - 1)], side="right")
    near = start[next_plane] - start[ideal] <= CHUNK_VOXELS
    cuts = np.unique(np.concatenate([[0], np.where(near, next_plane, ideal), [count]]))
    new_slot = np.zeros(count, bool)
    new_slot[cuts[:-1]] = True
    new_slot[1:] |= plane[1:] != plane[:-1]
    slot_of_stretch = np.cumsum(new_slot) - 1
    return _Chunks(cuts, slot_of_stretch[cuts[:-1]], plane[new_slot])
