"""The field applied block by block to images that are larger than memory.

The blocks are dask's, and they are computed when they are asked for. One thread of the CPU engine
works on a block, and dask runs several of these at once.
"""

from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt

from n4ax.engines.cpu.threads import Threads

Bases = list[Any]
"""The spline on each axis of a grid; the ``part`` of each is that of some of its voxels."""


def evaluate(
    compute: Callable[[Bases, Threads], npt.NDArray[np.float32]], bases: Bases, like: Any
) -> Any:
    """Evaluate a field on the grid of ``bases``, in blocks like those of ``like``.

    Parameters
    ----------
    compute
        Evaluates the field on the part of the grid that some bases are for.
    bases
        The spline on each axis of the grid.
    like
        A dask array on the grid.
    """

    def evaluate_block(block_info: Any) -> npt.NDArray[np.float32]:
        with Threads(1) as threads:
            return compute(_cut_bases(bases, block_info[None]), threads)

    import dask.array

    return dask.array.map_blocks(
        evaluate_block, chunks=like.chunks, dtype=np.float32, meta=_no_voxels(like, np.float32)
    )


def divide(
    compute: Callable[[npt.NDArray[Any], Bases, Threads], npt.NDArray[Any]],
    bases: Bases,
    image: Any,
) -> Any:
    """Divide a dask array by exp(field); ``compute`` divides the part that some bases are for."""
    wide = image.dtype.kind == "f" and image.dtype.itemsize >= 8
    dtype = np.float64 if wide else np.float32

    def divide_block(block: npt.NDArray[Any], block_info: Any) -> npt.NDArray[Any]:
        with Threads(1) as threads:
            return compute(block, _cut_bases(bases, block_info[0]), threads)

    return image.map_blocks(divide_block, dtype=dtype, meta=_no_voxels(image, dtype))


def _cut_bases(bases: Bases, block: dict[str, Any]) -> Bases:
    """The bases on the voxels of one block."""
    spans = block["array-location"]
    return [basis.part(slice(*span)) for basis, span in zip(bases, spans, strict=True)]


def _no_voxels(image: Any, dtype: npt.DTypeLike) -> npt.NDArray[Any]:
    """An empty array with as many axes as ``image``, which tells dask what its blocks are."""
    return np.empty((0,) * image.ndim, dtype)
