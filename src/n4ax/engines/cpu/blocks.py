"""The field applied to images that do not fit into memory: block by block, when they are asked for.

Blocks are dask's; each is worked on by one thread of the CPU engine, several at once by dask.
"""

from typing import Any

import numpy as np
import numpy.typing as npt

from n4ax.engines.cpu import engine as cpu
from n4ax.method.bspline import AxisBasis


def evaluate(lattice: npt.NDArray[np.float32], bases: list[AxisBasis], like: Any) -> Any:
    """The lattice's spline on the grid that ``bases`` describe, in the blocks of ``like``."""

    def part(block_info: Any) -> npt.NDArray[np.float32]:
        with cpu.Threads(1) as threads:
            return cpu.evaluate(lattice, _of_block(bases, block_info[None]), threads)

    import dask.array

    return dask.array.map_blocks(
        part, chunks=like.chunks, dtype=np.float32, meta=_no_voxels(like, np.float32)
    )


def divide(image: Any, lattice: npt.NDArray[np.float32], bases: list[AxisBasis]) -> Any:
    """``image / exp(spline)`` of a dask array, as :func:`~n4ax.engines.cpu.engine.divide` does."""
    wide = image.dtype.kind == "f" and image.dtype.itemsize >= 8
    kind = np.float64 if wide else np.float32

    def part(block: npt.NDArray[Any], block_info: Any) -> npt.NDArray[Any]:
        with cpu.Threads(1) as threads:
            return cpu.divide(block, lattice, _of_block(bases, block_info[0]), threads)

    return image.map_blocks(part, dtype=kind, meta=_no_voxels(image, kind))


def _of_block(bases: list[AxisBasis], where: dict[str, Any]) -> list[AxisBasis]:
    spans = where["array-location"]
    return [basis.part(slice(*span)) for basis, span in zip(bases, spans, strict=True)]


def _no_voxels(image: Any, kind: Any) -> npt.NDArray[Any]:
    return np.empty((0,) * image.ndim, kind)
