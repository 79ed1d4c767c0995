"""The field applied block by block to images that are larger than memory.

The blocks are dask's, and they are computed when they are asked for. One thread of the CPU engine
works on a block, and dask runs several of these at once.
"""

from typing import Any

import numpy as np
import numpy.typing as npt

from n4ax.engines.cpu import field
from n4ax.engines.cpu.kernels.layout import Lattice
from n4ax.engines.cpu.threads import Threads
from n4ax.method.bspline import AxisBasis


def evaluate(lattice: Lattice, bases: list[AxisBasis], like: Any) -> Any:
    """Evaluate the lattice's spline on the grid of ``bases``, in blocks like those of ``like``."""

    def evaluate_block(block_info: Any) -> npt.NDArray[np.float32]:
        with Threads(1) as threads:
            return field.evaluate(lattice, _cut_bases(bases, block_info[None]), threads)

    import dask.array

    return dask.array.map_blocks(
        evaluate_block, chunks=like.chunks, dtype=np.float32, meta=_no_voxels(like, np.float32)
    )


def divide(image: Any, lattice: Lattice, bases: list[AxisBasis]) -> Any:
    """Divide a dask array by exp(spline), as :func:`n4ax.engines.cpu.field.divide` does."""
    wide = image.dtype.kind == "f" and image.dtype.itemsize >= 8
    dtype = np.float64 if wide else np.float32

    def divide_block(block: npt.NDArray[Any], block_info: Any) -> npt.NDArray[Any]:
        with Threads(1) as threads:
            return field.divide(block, lattice, _cut_bases(bases, block_info[0]), threads)

    return image.map_blocks(divide_block, dtype=dtype, meta=_no_voxels(image, dtype))


def _cut_bases(bases: list[AxisBasis], block: dict[str, Any]) -> list[AxisBasis]:
    """The bases on the voxels of one block."""
    spans = block["array-location"]
    return [basis.part(slice(*span)) for basis, span in zip(bases, spans, strict=True)]


def _no_voxels(image: Any, dtype: npt.DTypeLike) -> npt.NDArray[Any]:
    """An empty array with as many axes as ``image``, which tells dask what its blocks are."""
    return np.empty((0,) * image.ndim, dtype)
