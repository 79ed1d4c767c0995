"""Correct a large zarr array under a memory limit, and print the peak of the memory in MB.

Usage: python -m tests.support.large_zarr FOLDER SIDE [LIMIT_IN_MB]

A phantom of SIDE^3 float32 voxels is written to FOLDER, corrected, and written again. This runs
in a separate process, so that limit and peak belong to this job alone.
"""

import resource
import sys
from pathlib import Path

import dask
import dask.array
import numpy as np
import zarr

import n4ax

BLOCK = 128


def main(folder: Path, side: int, limit: int | None) -> None:
    if limit is not None:
        resource.setrlimit(resource.RLIMIT_DATA, (limit << 20, limit << 20))
    with dask.config.set(scheduler="threads", num_workers=2):
        source = write_phantom(folder / "image.zarr", side)
        corrected = n4ax.n4(source, shrink_factor=side // 64, iters=(10, 10), conv_threshold=0.0)
        target = zarr.create_array(
            folder / "corrected.zarr", shape=source.shape, chunks=source.chunks, dtype="float32",
            compressors=None,
        )  # fmt: skip
        dask.array.store(corrected, target, lock=False, compute=True)
    print(read_peak_memory())


def read_peak_memory() -> int:
    """The most memory that this process has held, in MB. (In rusage it includes the parent's.)"""
    status = Path("/proc/self/status").read_text()
    return int(status.split("VmHWM:")[1].split()[0]) // 1024


def write_phantom(path: Path, side: int) -> zarr.Array:
    """Write a sphere of two tissues in a smooth field, block by block."""
    array = zarr.create_array(
        path, shape=(side,) * 3, chunks=(BLOCK,) * 3, dtype="float32", compressors=None
    )
    at = np.linspace(-1, 1, side, dtype=np.float32)
    for start in range(0, side, BLOCK):
        z = at[start : start + BLOCK, None, None]
        for row in range(0, side, BLOCK):
            y = at[None, row : row + BLOCK, None]
            radius = np.sqrt(z * z + y * y + at * at)
            tissue = np.select([radius < 0.5, radius < 0.85], [300.0, 200.0], 5.0)
            wave = 1 + 0.02 * np.sin(40 * at) * np.cos(31 * y)
            array[start : start + BLOCK, row : row + BLOCK] = (
                tissue * wave * np.exp(0.4 * z + 0.2 * y * at)
            ).astype(np.float32)
    return array


if __name__ == "__main__":
    main(Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3]) if len(sys.argv) > 3 else None)
