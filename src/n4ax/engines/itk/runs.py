"""The voxels that count of an image, in ITK's order: x varies fastest."""

from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from n4ax.engines.cpu.rows import find_edges
from n4ax.engines.cpu.threads import Threads
from n4ax.engines.itk.kernels.layout import Runs
from n4ax.engines.itk.kernels.libm import take_logarithms
from n4ax.method.problem import Problem

CHUNK_VOXELS = 1 << 14


class PackedVoxels(NamedTuple):
    """The voxels that count, one after another.

    Attributes
    ----------
    runs
        Where they lie.
    log
        Log intensities, float32. An intensity that is not positive is kept as it is.
    confidence
        Confidence of each voxel, float32; empty if every voxel counts fully.
    """

    runs: Runs
    log: npt.NDArray[np.float32]
    confidence: npt.NDArray[np.float32]


def pack_voxels(problem: Problem, tiny: float | None, threads: Threads) -> PackedVoxels:
    """Pack the voxels that count; intensities are raised to ``tiny`` before the logarithm."""
    included = np.ascontiguousarray(problem.included)
    log = np.asarray(problem.intensities)[included].astype(np.float32)
    if tiny is not None:
        log = np.maximum(log, np.float32(tiny))
    threads.run(len(log), take_logarithms, log)
    weights = problem.weights
    confidence = np.empty(0) if weights is None else np.asarray(weights)[included]
    return PackedVoxels(_find_runs(included), log, confidence.astype(np.float32))


def _find_runs(included: npt.NDArray[np.bool_]) -> Runs:
    rows = included.reshape(-1, included.shape[-1])
    width = rows.shape[1] + 1  # the edges are counted as if a row had one column more
    edges = find_edges(rows)
    first, stop = edges[::2], edges[1::2]
    start = np.concatenate([[0], np.cumsum(stop - first)])
    ideal = np.searchsorted(start, np.arange(CHUNK_VOXELS, start[-1], CHUNK_VOXELS))
    chunk = np.unique(np.concatenate([[0], ideal, [len(first)]]))
    return Runs(start, first % width, first // width, chunk)
